import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { hostname, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import request from 'supertest'
import { describe, expect, it, onTestFinished } from 'vitest'

import { users } from '../../examples/demo/users.ts'
import { runShop } from '../browser/shop.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const passwordOf = (name: string) => users.find((user) => user.name === name)?.shownPassword ?? ''

/** The client as a program, with its own folder. */
function install(url: string) {
  const home = mkdtempSync(join(tmpdir(), 'remote-client-'))
  onTestFinished(() => rmSync(home, { recursive: true }))
  const run = async (args: string, input = '', env: Record<string, string> = {}) => {
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', 'examples/remote-client.ts', ...args.split(' ')],
      {
        cwd: root,
        env: {
          PATH: process.env['PATH'],
          HOME: home,
          TSX_TSCONFIG_PATH: 'test/tsconfig.json',
          XDG_STATE_HOME: join(home, 'state'),
          SHOP_URL: url,
          ...env,
        },
      },
    )
    onTestFinished(() => void child.kill('SIGKILL'))
    let [out, error] = ['', '']
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (error += chunk.toString()))
    child.stdin.end(input)
    await once(child, 'close')
    return { code: child.exitCode, out, error }
  }
  const signIn = (name: string, password = passwordOf(name)) =>
    run(`sign-in ${name}`, `${password}\n`)
  return { home, file: join(home, 'state/lantern-and-rope/session.json'), run, signIn }
}

async function openShop(): Promise<string> {
  const shop = await runShop()
  onTestFinished(() => shop.close())
  return shop.url
}

async function browserOf(url: string, name: string) {
  const browser = request.agent(url)
  await browser
    .post('/sign-in')
    .type('form')
    .send({ name, password: passwordOf(name), next: '/' })
  return browser
}

const modeOf = (path: string) => (statSync(path).mode & 0o777).toString(8)

describe('examples/remote-client.ts', { timeout: 60_000 }, () => {
  it('M7: signs in, says who the user is, and signs out', async () => {
    const { file, run, signIn } = install(await openShop())

    const signedIn = await signIn('manager')
    expect(signedIn).toMatchObject({ code: 0, error: '' })
    expect(signedIn.out).toMatch(/^Signed in as manager until \d{4}-.*Z\.\n$/)
    expect(modeOf(file)).toBe('600')
    expect(modeOf(dirname(file))).toBe('700')
    expect(readdirSync(dirname(file))).toEqual(['session.json'])

    const me = await run('me')
    expect(me).toMatchObject({ code: 0, error: '' })
    expect(me.out).toMatch(/^manager may editStock, .* until /)
    expect(JSON.parse(me.out.slice(me.out.indexOf('\n')))).toMatchObject({
      type: 'remote',
      userName: 'manager',
      machineName: hostname().slice(0, 64),
      hostType: 'linux',
      state: 'active',
    })

    expect(await run('sign-out')).toEqual({ code: 0, out: 'Signed out.\n', error: '' })
    expect(existsSync(file)).toBe(false)
    const signedOut = { code: 1, out: '', error: 'You are signed out: sign in first.\n' }
    expect(await run('me')).toEqual(signedOut)
    expect(await run('sign-out')).toEqual(signedOut)
  })

  it('M3: appears on the devices page beside a browser, and ends with its button there', async () => {
    const url = await openShop()
    const { file, run, signIn } = install(url)
    await signIn('clerk')
    const browser = await browserOf(url, 'clerk')

    const { text } = await browser.get('/devices').expect(200)
    const device = `Lantern &amp; Rope on the command line 1.0 on Linux, ${hostname()}`
    expect(text).toContain('Signed in on 2 devices')
    expect(text).toContain(`<h3>${device}</h3>`)
    const [, end] = /<h3>Lantern.*?value="([0-9a-f-]{36})"/s.exec(text) ?? []
    await browser
      .post('/devices')
      .type('form')
      .send({ end: end ?? '' })
      .expect(303)
    expect((await browser.get('/devices')).text).toContain(`Ended: ${device}.`)

    const gone = { code: 1, out: '', error: 'You are signed out: the session has ended.\n' }
    expect(await run('me')).toEqual(gone)
    expect(existsSync(file)).toBe(false)
  })

  it('makes a readable file private again, and ends the previous session', async () => {
    const url = await openShop()
    const { file, signIn } = install(url)
    await signIn('clerk')
    chmodSync(file, 0o644)
    const { token: before }: { token: string } = JSON.parse(readFileSync(file, 'utf8'))

    await signIn('clerk')

    expect(modeOf(file)).toBe('600')
    expect(readdirSync(dirname(file))).toEqual(['session.json'])
    expect(readFileSync(file, 'utf8')).not.toContain(before)
    await request(url).get('/api/me').set('Authorization', `Bearer ${before}`).expect(401)
  })

  it('prints one line for a wrong password, a missing one, and a wrong command', async () => {
    const { file, run, signIn } = install(await openShop())
    const wrong = 'That name and password do not belong together.\n'

    expect(await signIn('clerk', 'wrong')).toEqual({ code: 1, out: '', error: wrong })
    expect(await signIn('nobody')).toEqual({ code: 1, out: '', error: wrong })
    const none = { code: 1, out: '', error: 'There was no password.\n' }
    expect(await run('sign-in clerk')).toEqual(none)
    const usage = 'usage: remote-client.ts sign-in <name> | me | sign-out\n'
    for (const args of ['help', 'sign-in', 'me too', 'sign-in a b']) {
      expect(await run(args)).toEqual({ code: 1, out: '', error: usage })
    }
    expect(existsSync(file)).toBe(false)
  })

  it('prints one line while the shop is away, and sends its token to no other server', async () => {
    const shop = await runShop()
    const { file, run, signIn } = install(shop.url)
    await signIn('clerk')
    const other = createServer((_req, res) => res.end('hello')).listen(0, '127.0.0.1')
    onTestFinished(() => void other.close())
    let asked = 0
    other.on('request', () => (asked += 1))
    await shop.close()

    const away = { code: 1, out: '', error: `The shop at ${shop.url} does not answer.\n` }
    expect(await run('me')).toEqual(away)
    const address = other.address()
    const SHOP_URL = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
    expect(await run('sign-out', '', { SHOP_URL })).toEqual(away)
    expect(asked).toBe(0)
    expect(existsSync(file)).toBe(true)
    expect(await run('sign-in clerk', 'x\n', { SHOP_URL })).toMatchObject({
      code: 1,
      error: 'That is not the shop: it answers something else.\n',
    })
    expect((await run('sign-in clerk', 'x\n', { SHOP_URL: 'nowhere' })).error).toBe(
      'The shop at nowhere does not answer.\n',
    )
  })

  it('treats a damaged file as missing', async () => {
    const { file, run } = install(await openShop())
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, '{"url":')

    expect(await run('me')).toMatchObject({
      code: 1,
      error: 'You are signed out: sign in first.\n',
    })
  })

  it('keeps its file in ~/.local/state when XDG_STATE_HOME is unset or relative', async () => {
    const { home, run } = install(await openShop())
    const file = join(home, '.local/state/lantern-and-rope/session.json')
    const password = `${passwordOf('clerk')}\n`

    for (const XDG_STATE_HOME of ['', 'state']) {
      await run('sign-in clerk', password, { XDG_STATE_HOME })
      expect(modeOf(file)).toBe('600')
      rmSync(file)
    }
  })
})
