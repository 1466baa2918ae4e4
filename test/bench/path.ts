// How many files and named functions of `src` one warmed request enters, by V8's precise coverage, on a
// real Redis. The exit code is 1 when a path is longer than allowed.
//
//   npm run bench -- path           the numbers
//   npm run bench -- path --list    the files and functions too

import { once } from 'node:events'
import { get } from 'node:http'
import type { Profiler } from 'node:inspector'
import { Session } from 'node:inspector/promises'
import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'

import { Redis } from 'ioredis'
import Koa from 'koa'
import { session, Sessions } from 'koa-user-sessions'

import { startRedisServer } from '../support/redis-server.ts'

interface Way {
  readonly name: string
  readonly path?: string
  /** What is called in place of a request. */
  readonly call?: () => Promise<unknown>
  readonly maxFiles?: number
  readonly maxFunctions?: number
}

const src = fileURLToPath(new URL('../../src', import.meta.url))
const lists = process.argv.includes('--list')
const warmUps = 50

const server = await startRedisServer()
const redis = new Redis(server.url)
const sessions = new Sessions({ redis, maxSessions: { perUser: 10, onExceed: 'terminateOldest' } })
const app = new Koa()
app.use(session(sessions))
app.use(async (ctx) => {
  if (ctx.path === '/read') ctx.body = ctx.session.storage['color'] ?? 'none'
  else if (ctx.path === '/write') ctx.session.storage['count'] = process.hrtime.bigint().toString()
  else if (ctx.path === '/sign-in') ctx.session.setPrivileges({ userName: 'ann' })
  else if (ctx.path === '/use') await ctx.session.use((storage) => (storage['used'] = Date.now()))
  ctx.body ??= 'ok'
})
const listening = app.listen(0, '127.0.0.1')
await once(listening, 'listening')
const address = listening.address()
const port = typeof address === 'object' ? address?.port : undefined

async function ask(path: string, cookie = ''): Promise<string> {
  const outgoing = get({ host: '127.0.0.1', port, path, headers: cookie ? { cookie } : {} })
  const [response] = await once(outgoing, 'response')
  response.resume()
  await once(response, 'end')
  if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`)
  return String(response.headers['set-cookie']?.[0] ?? '').split(';', 1)[0] ?? ''
}

const cookie = await ask('/sign-in')
let next = await openSession()

/** The id of a session that may be ended. */
async function openSession(): Promise<string> {
  const opened = await ask('/sign-in')
  return idIn(opened)
}

function idIn(given: string): string {
  const bytes = Buffer.from(given.split('=', 2)[1] ?? '', 'base64url')
    .subarray(0, 16)
    .toString('hex')
  return bytes.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}

const ways: readonly Way[] = [
  { name: 'a guest who touches nothing', path: '/' },
  { name: 'read one value', path: '/read', maxFiles: 15, maxFunctions: 70 },
  { name: 'write one value', path: '/write', maxFiles: 18, maxFunctions: 100 },
  { name: 'a block of use()', path: '/use' },
  { name: 'terminate(id)', call: () => sessions.terminate(next), maxFiles: 9 },
]

const inspector = new Session()
inspector.connect()
await inspector.post('Profiler.enable')
let failed = 0
for (const { name, path = '', call, maxFiles = Infinity, maxFunctions = Infinity } of ways) {
  const go = call ?? (() => ask(path, path === '/' ? '' : cookie))
  for (let index = 0; index < warmUps; index++) {
    await go()
    if (call) next = await openSession()
  }
  // No earlier request is still in progress.
  await new Promise((resolve) => setTimeout(resolve, 50))
  await inspector.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false })
  await inspector.post('Profiler.takePreciseCoverage')
  const done = await go()
  const { result } = await inspector.post('Profiler.takePreciseCoverage')
  await inspector.post('Profiler.stopPreciseCoverage')
  if (call && done !== true) throw new Error(`${name} has done nothing`)
  const entered = enteredIn(result)
  const functions = [...entered.values()].flat()
  const isOver = entered.size > maxFiles || functions.length > maxFunctions
  if (isOver) failed = 1
  const most = maxFiles < Infinity ? `  at most ${maxFiles} and ${maxFunctions}` : ''
  console.log(
    `${name.padEnd(30)} ${entered.size} files, ${functions.length} functions${most}` +
      (isOver ? '  MISSED' : ''),
  )
  if (lists) for (const [file, names] of entered) console.log(`    ${file}: ${names.join(' ')}`)
}
inspector.disconnect()
listening.close()
listening.closeAllConnections()
redis.disconnect()
await server.stop()
process.exitCode = failed

/** The functions that were called, by file of `src`. */
function enteredIn(scripts: readonly Profiler.ScriptCoverage[]): ReadonlyMap<string, string[]> {
  const entered = new Map<string, string[]>()
  for (const { url, functions } of scripts) {
    const file = url.startsWith('file:') ? fileURLToPath(url) : url
    if (!file.startsWith(`${src}/`)) continue
    const names = functions
      .filter(({ functionName, ranges }) => functionName !== '' && (ranges[0]?.count ?? 0) > 0)
      // Neither code that the loader has added nor what V8 names the fields of a class.
      .filter(
        ({ functionName }) => !/^(?:__name|<instance_members_initializer>)$/.test(functionName),
      )
      .map(({ functionName }) => functionName)
    if (names.length > 0) entered.set(relative(src, file), names)
  }
  return entered
}
