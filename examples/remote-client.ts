// The demo on the command line: a client that is not a browser, and its token.
//
//   npm start                                                                 (in another terminal)
//   alias shop='npx tsx --tsconfig test/tsconfig.json examples/remote-client.ts'
//
//   shop sign-in clerk        Password of clerk:
//                             Signed in as clerk until 2026-11-22T08:24:46.270Z.
//   shop me                   clerk may seePrices, browse until 2026-11-22T08:24:46.936Z
//                             { "type": "remote", "userName": "clerk", …
//   shop sign-out             Signed out.
//   shop me                   You are signed out: sign in first.
//
// SHOP_URL says where the shop is; for a shop on another machine use https.

import { randomUUID } from 'node:crypto'
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { homedir, hostname, platform, userInfo } from 'node:os'
import { dirname, isAbsolute, join } from 'node:path'
import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'

/** What is kept: the token, and where it is good, so that no other server ever sees it. */
interface Saved {
  readonly url: string
  readonly token: string
}

/** Told to the user in one line. */
class Problem extends Error {}

const stranger = 'That is not the shop: it answers something else.'
const systems: Partial<Record<NodeJS.Platform, string>> = { darwin: 'macOS', win32: 'Windows' }

// XDG Base Directory Specification: relative paths are ignored.
const { XDG_STATE_HOME: given = '' } = process.env
const folder = isAbsolute(given) ? given : join(homedir(), '.local', 'state')
const file = join(folder, 'lantern-and-rope', 'session.json')

async function main([command, name, ...rest]: readonly string[]): Promise<string> {
  if (command === 'sign-in' && name !== undefined && rest.length === 0) return signIn(name)
  if (command === 'me' && name === undefined) return showMe(await readSaved())
  if (command === 'sign-out' && name === undefined) return signOut(await readSaved())
  throw new Problem('usage: remote-client.ts sign-in <name> | me | sign-out')
}

async function signIn(name: string): Promise<string> {
  const url = process.env['SHOP_URL'] || 'http://localhost:3000'
  const fields = JSON.stringify({
    name,
    password: await askPassword(name),
    appVersion: '1.0',
    machineName: hostname(),
    systemUserName: userInfo().username,
    platform: systems[platform()] ?? 'Linux',
  })
  const headers = { 'Content-Type': 'application/json' }
  const response = await ask(url, '/api/sessions', { method: 'POST', headers, body: fields })
  if (response.status === 401) throw new Problem('That name and password do not belong together.')
  const { token, expires } = await bodyOf(response)
  const before = await readSaved().catch(() => undefined)
  await save({ url, token: String(token) })
  // One sign-in on this machine is enough. When it does not work, that session ends by itself.
  if (before) await call(before, 'DELETE', '/api/sessions/current').catch(() => undefined)
  return `Signed in as ${name} until ${String(expires)}.`
}

async function showMe(saved: Saved): Promise<string> {
  const { userName, privileges, until, info } = await bodyOf(await call(saved, 'GET', '/api/me'))
  const may = [privileges].flat().join(', ') || 'nothing'
  return `${String(userName)} may ${may} until ${String(until)}\n${JSON.stringify(info, null, 2)}`
}

async function signOut(saved: Saved): Promise<string> {
  await call(saved, 'DELETE', '/api/sessions/current')
  await rm(file, { force: true })
  return 'Signed out.'
}

/** Calls the API with the token. One that is no longer good is thrown away. */
async function call({ url, token }: Saved, method: string, path: string): Promise<Response> {
  const response = await ask(url, path, { method, headers: { Authorization: `Bearer ${token}` } })
  if (response.status !== 401) return response
  // RFC 6750 section 3.1: the token is expired, revoked or wrong.
  const challenge = response.headers.get('WWW-Authenticate') ?? ''
  if (!challenge.includes('error="invalid_token"')) throw new Problem(stranger)
  // Another sign-in may have saved a new one meanwhile.
  const present = await readSaved().catch(() => undefined)
  if (present?.token === token) await rm(file, { force: true })
  throw new Problem('You are signed out: the session has ended.')
}

async function ask(url: string, path: string, init: RequestInit): Promise<Response> {
  const response = await answerOf(url, path, init)
  if (response.ok || response.status === 401) return response
  throw new Problem(`The shop at ${url} answers ${response.status}: try again later.`)
}

async function answerOf(url: string, path: string, init: RequestInit): Promise<Response> {
  const signal = AbortSignal.timeout(10_000)
  try {
    return await fetch(new URL(path, url), { redirect: 'error', signal, ...init })
  } catch {
    throw new Problem(`The shop at ${url} does not answer.`)
  }
}

async function bodyOf(response: Response): Promise<Record<string, unknown>> {
  const body: unknown = await response.json().catch(() => undefined)
  if (response.ok && typeof body === 'object' && body !== null) return { ...body }
  throw new Problem(stranger)
}

async function readSaved(): Promise<Saved> {
  try {
    return JSON.parse(await readFile(file, 'utf8'))
  } catch {
    throw new Problem('You are signed out: sign in first.')
  }
}

/** Writes the file anew, so that nobody but its owner can read it at any moment. */
async function save(saved: Saved): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  const fresh = `${file}.${randomUUID()}`
  await writeFile(fresh, JSON.stringify(saved), { flag: 'wx', mode: 0o600 })
  await rename(fresh, file)
}

/** Reads a line from the terminal without showing it, or from what is piped in. */
async function askPassword(name: string): Promise<string> {
  const terminal = process.stdin.isTTY
  if (terminal) process.stderr.write(`Password of ${name}: `)
  const output = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = createInterface({ input: process.stdin, output, terminal })
  try {
    for await (const line of lines) return line
    throw new Problem('There was no password.')
  } finally {
    lines.close()
    if (terminal) process.stderr.write('\n')
  }
}

try {
  console.log(await main(process.argv.slice(2)))
} catch (error) {
  if (!(error instanceof Problem)) throw error
  console.error(error.message)
  process.exitCode = 1
}
