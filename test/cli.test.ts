import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { fileURLToPath } from 'node:url'

import { Cluster } from 'ioredis'
import { recommendedClusterOptions, RedisStore, Sessions } from 'koa-user-sessions'
import type { SessionsOptions } from 'koa-user-sessions'
import { describe, expect, inject, it, onTestFinished } from 'vitest'

import { main } from '../src/cli/main.ts'
import type { Terminal } from '../src/cli/terminal.ts'
import { connectRedis, uniquePrefix } from './support/redis-client.ts'
import { startRedisCluster } from './support/redis-cluster.ts'
import { startRedisServer } from './support/redis-server.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const unknownId = '5f0c1c0e-7d3b-4a53-9d5a-3f6d1f0a7b11'

const tokens: Pick<SessionsOptions, 'tokens'> = {
  tokens: {
    keys: [{ kid: '1', alg: 'HS256', secret: 'a secret of at least thirty-two bytes' }],
    issuer: 'https://shop.example',
    audience: 'https://shop.example',
  },
}

interface Ended {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** Runs the command as a process of its own. */
function runProcess(args: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ['--import', 'tsx', 'src/cli.ts', ...args],
      { cwd: root },
      (error, out, err) => resolve({ code: Number(error?.code ?? 0), out, err }),
    )
  })
}

/** Runs the command in this process, without a terminal. */
async function run(args: readonly string[], env: Terminal['env'] = {}): Promise<Ended> {
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()]
  const code = await main(args, { stdin, stdout, stderr, env }, '1.2.3')
  return { code, out: textOf(stdout), err: textOf(stderr) }
}

/** Runs it at a terminal, with an answer to its question. */
async function runAtTerminal(args: readonly string[], answer: string): Promise<Ended> {
  const stdin = Object.assign(new PassThrough(), { isTTY: true })
  const stdout = new PassThrough()
  const stderr = Object.assign(new PassThrough(), { isTTY: true })
  stderr.once('readable', () => stdin.end(answer))
  const code = await main(args, { stdin, stdout, stderr, env: {} }, '1.2.3')
  return { code, out: textOf(stdout), err: textOf(stderr) }
}

function textOf(stream: PassThrough): string {
  return String(stream.read() ?? '')
}

/**
 * Sessions of a user in the Redis of the test run, and the options with which the command finds
 * them.
 */
async function openSessions(userName: string, count: number) {
  const prefix = uniquePrefix()
  const redis = connectRedis()
  const sessions = new Sessions({
    store: new RedisStore(redis, { prefix }),
    ...tokens,
  })
  const ids: string[] = []
  for (let index = 0; index < count; index++) {
    const client = { appVersion: '1.2', platform: 'Linux', ip: '203.0.113.7' }
    const { session } = await sessions.open({ userName, applicationId: 'cli', client })
    ids.push(session.id)
  }
  return { ids, sessions, where: ['--redis', inject('redisUrl'), '--prefix', prefix] }
}

async function writeRoles(text: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'koa-user-sessions-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const path = join(folder, 'roles.json')
  await writeFile(path, text)
  return path
}

describe('koa-user-sessions roles check', () => {
  it('R2: finds nothing in a good file', async () => {
    const { code, out, err } = await run(['roles', 'check', 'examples/roles.json'])

    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(out).toBe('examples/roles.json: 5 privileges, 3 roles, no problems\n')
  })

  it('R2: reports every problem with its path, as a table and as JSON', async () => {
    const path = await writeRoles(
      '{ "privileges": [{ "privilege": "a", "includes": ["b"] }, { "privilege": "A" }] }',
    )

    const table = await run(['roles', 'check', path])
    const json = await run(['roles', 'check', path, '--json'])

    expect([table.code, json.code]).toEqual([1, 1])
    expect(table.out).toMatch(/^PATH +PROBLEM\n/)
    expect(table.out).toContain('$.privileges[0].includes[0]')
    const { problems }: { problems: { path: string; problem: string }[] } = JSON.parse(json.out)
    expect(problems.length).toBeGreaterThan(1)
    for (const { path: place, problem } of problems) {
      expect(table.out).toContain(place)
      expect(table.out).toContain(problem)
    }
  })

  it('R2: refuses settings that are not enforced, unless told to ignore them', async () => {
    const path = await writeRoles('{ "privileges": [], "forceLogin": true }')

    expect((await run(['roles', 'check', path])).code).toBe(1)
    expect((await run(['roles', 'check', path, '--ignore-permissions'])).code).toBe(0)
  })
})

describe('koa-user-sessions list and info', () => {
  it('M2: lists the sessions of a user as a table and as JSON', async () => {
    const { ids, where } = await openSessions('ann', 2)

    const table = await run(['list', 'ann', ...where])
    const json = await run(['list', 'ann', ...where, '--json'])

    expect([table.code, table.err, json.code, json.err]).toEqual([0, '', 0, ''])
    const [head, ...rows] = table.out.trimEnd().split('\n')
    expect(head).toMatch(/^ID +SIGNED IN +LAST USED +APPLICATION +DEVICE +ADDRESS +PLACE$/)
    expect(rows).toHaveLength(2)
    expect(rows[0]).toMatch(
      /^[0-9a-f-]{36}  \d{4}-\S+Z  \d{4}-\S+Z  cli 1\.2 +Linux +203\.0\.113\.7$/,
    )
    const listed: { id: string }[] = JSON.parse(json.out)
    expect(listed.map(({ id }) => id).toSorted()).toEqual(ids.toSorted())
  })

  it('M2: says that a user has no sessions', async () => {
    const { where } = await openSessions('ann', 0)

    expect(await run(['list', 'bob', ...where])).toEqual({
      code: 0,
      out: '"bob" has no sessions\n',
      err: '',
    })
    expect((await run(['list', 'bob', ...where, '--json'])).out).toBe('[]\n')
  })

  it('M1: shows what is known about a session', async () => {
    const { ids, where } = await openSessions('ann', 1)
    const [id = ''] = ids

    const table = await run(['info', id, ...where])
    const json = await run(['info', id, ...where, '--json'])

    expect(table.out).toMatch(/^userName +ann$/m)
    expect(table.out).toMatch(/^state +active$/m)
    expect(JSON.parse(json.out)).toMatchObject({ ID: id, type: 'remote', userName: 'ann' })
  })

  it('H1: shows hostile names without characters that move the cursor or reorder the line', async () => {
    const name = 'ann\u001B[2J\u202Enna\u2028'
    const { ids, where } = await openSessions(name, 1)

    const table = await run(['info', ids[0] ?? '', ...where])
    const json = await run(['info', ids[0] ?? '', ...where, '--json'])
    const none = await run(['list', `${name}x`, ...where])

    for (const { out } of [table, json, none]) {
      expect(out.replaceAll('\n', '')).not.toMatch(/[\p{C}\p{Zl}\p{Zp}]/u)
    }
    expect(table.out).toContain(String.raw`ann\u{1b}[2J\u{202e}nna\u{2028}`)
    expect(JSON.parse(json.out)).toMatchObject({ userName: name })
  })

  it.each(['info', 'end'])(
    'M1, M3: %s finds no session for an unknown or malformed id',
    async (command) => {
      const { where } = await openSessions('ann', 0)

      for (const id of [unknownId, 'not an id']) {
        const { code, out, err } = await run([command, id, ...where])
        expect({ code, out, err }).toEqual({
          code: 1,
          out: '',
          err: 'koa-user-sessions: there is no such session\n',
        })
      }
    },
  )
})

describe('koa-user-sessions end and end-all', () => {
  it('M3: ends one session and no other', async () => {
    const { ids, sessions, where } = await openSessions('ann', 2)
    const [first = '', second = ''] = ids

    const ended = await run(['end', first, ...where])

    expect(ended).toEqual({ code: 0, out: 'ended\n', err: '' })
    expect(await sessions.info(first)).toBeNull()
    expect(await sessions.info(second)).not.toBeNull()
    expect((await run(['end', second, ...where, '--json'])).out).toBe('{\n  "ended": 1\n}\n')
  })

  it('M5: ends the only session of a user without asking', async () => {
    const { sessions, where } = await openSessions('ann', 1)

    expect((await run(['end-all', 'ann', ...where])).out).toBe('1 session ended\n')
    expect(await sessions.list('ann')).toEqual([])
    expect((await run(['end-all', 'ann', ...where])).code).toBe(1)
  })

  it('M5: ends several sessions without asking only when told to', async () => {
    const { sessions, where } = await openSessions('ann', 3)

    const refused = await run(['end-all', 'ann', ...where])
    expect(refused).toMatchObject({ code: 2, out: '', err: expect.stringContaining('--yes') })
    expect(await sessions.list('ann')).toHaveLength(3)

    const ended = await run(['end-all', 'ann', ...where, '--yes', '--json'])
    expect(ended).toMatchObject({ code: 0, out: '{\n  "ended": 3\n}\n' })
    expect(await sessions.list('ann')).toEqual([])
  })

  it.each([
    ['y\n', 0, 'sessions ended', 0],
    ['Yes\n', 0, 'sessions ended', 0],
    ['\n', 1, 'nothing ended', 2],
    ['n\n', 1, 'nothing ended', 2],
    ['yesterday\n', 1, 'nothing ended', 2],
    ['', 1, 'nothing ended', 2],
  ])('M5: asks first, and reads %j as the answer', async (answer, code, says, left) => {
    const { sessions, where } = await openSessions('ann', 2)

    const ended = await runAtTerminal(['end-all', 'ann', ...where], answer)

    expect(ended.err).toContain('End 2 sessions of "ann"? [y/N]')
    expect(ended).toMatchObject({ code, out: expect.stringContaining(says) })
    expect(await sessions.list('ann')).toHaveLength(left)
  })
})

describe('koa-user-sessions', { timeout: 60_000 }, () => {
  it('prints its help and its version', async () => {
    const { version }: { version: string } = JSON.parse(
      await readFile(join(root, 'package.json'), 'utf8'),
    )

    const helped = await Promise.all([
      run(['--help']),
      run(['list', '-h']),
      runProcess(['--version']),
    ])

    expect(helped.map(({ code, err }) => [code, err])).toEqual([
      [0, ''],
      [0, ''],
      [0, ''],
    ])
    expect(helped[0]?.out).toMatch(/^Usage: /)
    expect(helped[1]?.out).toBe(helped[0]?.out)
    expect(helped[2]?.out).toBe(`${version}\n`)
  })

  it('takes the address of Redis from the environment when no option gives it', async () => {
    const { where } = await openSessions('ann', 1)
    const [, url = '', ...prefix] = where

    const { code, out } = await run(['list', 'ann', ...prefix], { REDIS_URL: url })

    expect(code).toBe(0)
    expect(out.split('\n')).toHaveLength(3)
  })

  it.each([
    [[], 'a command is missing'],
    [['frob'], 'there is no such command "frob"'],
    [['redis://:hidden@host'], 'there is no such command'],
    [['roles'], 'there is no such command "roles"'],
    [['roles', 'check'], 'roles check takes a FILE'],
    [['list'], 'list takes a USER'],
    [['list', ''], 'list takes a USER'],
    [['list', 'ann', 'hidden'], 'list takes one USER only'],
    [['list', 'ann', '--frob'], 'there is no option --frob'],
    [['list', 'ann', '-x'], 'there is no option -x'],
    [['list', 'ann', '--redis'], '--redis takes a value'],
    [['list', 'ann', '--json=hidden'], '--json takes no value'],
    [['list', 'ann', '--prefix', 'a{b}'], '--prefix takes non-empty text without braces'],
    [
      ['list', 'ann', '--refresh-seconds', 'soon'],
      '--refresh-seconds takes a number from 0 to 3600',
    ],
    [['list', 'ann', '--redis', 'http://u:hidden@host'], 'the URL of Redis starts with redis://'],
    [['list', 'ann', '--redis', 'redis://host/hidden'], 'the URL of Redis starts with redis://'],
    [['list', 'ann', '--redis', 'redis://:a%zz@host'], 'the URL of Redis starts with redis://'],
    [['list', 'ann', '--redis', 'redis://host?db=3'], 'the URL of Redis starts with redis://'],
    [['list', 'ann', '--redis', 'hidden'], 'the URL of Redis starts with redis://'],
    [['roles', 'check', 'nowhere.json'], 'cannot read nowhere.json: ENOENT'],
    [['roles', 'check', 'src'], 'cannot read src: EISDIR'],
  ])('prints one line and exits with 2 for %j', async (args, says) => {
    const { code, out, err } = await run(args)

    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(err).toMatch(/^koa-user-sessions: [^\n]+\n$/)
    expect(err).toContain(says)
    expect(err).not.toContain('hidden')
  })

  it('F1: prints one line and exits with 3 when Redis is not there', async () => {
    const { code, out, err } = await run([
      'list',
      'ann',
      '--redis',
      'redis://u:hidden@127.0.0.1:1/2',
    ])

    expect({ code, out }).toEqual({ code: 3, out: '' })
    expect(err).toBe(
      'koa-user-sessions: cannot use Redis at redis://127.0.0.1:1/2: it refuses connections (ECONNREFUSED)\n',
    )
  })

  it('F6: finds the sessions of a Cluster, and names the missing --cluster', async () => {
    const cluster = await startRedisCluster()
    onTestFinished(() => cluster.stop())
    const redis = new Cluster([...cluster.addresses], recommendedClusterOptions)
    onTestFinished(() => redis.disconnect())
    await once(redis, 'ready')
    const sessions = new Sessions({ redis, ...tokens })
    for (let index = 0; index < 4; index++) {
      await sessions.open({ userName: 'ann', applicationId: 'cli' })
    }
    const [{ port } = { port: 0 }] = cluster.addresses
    const where = ['--redis', `redis://127.0.0.1:${port}`]

    const listed = await run(['list', 'ann', ...where, '--cluster'])
    const untold = await Promise.all(
      (await sessions.list('ann')).map(({ id }) => run(['info', id, ...where])),
    )
    const ended = await run(['end-all', 'ann', ...where, '--cluster', '--yes'])
    const alone = await run(['list', 'ann', '--redis', inject('redisUrl'), '--cluster'])

    expect(listed.out.trimEnd().split('\n')).toHaveLength(5)
    expect(ended).toMatchObject({ code: 0, out: '4 sessions ended\n', err: '' })
    const moved = untold.filter(({ code }) => code !== 0)
    expect(moved.length).toBeGreaterThan(0)
    for (const { code, err } of moved) {
      expect(code).toBe(3)
      expect(err).toMatch(
        /^koa-user-sessions: [^\n]+ MOVED: a node of a Cluster needs --cluster\n$/,
      )
    }
    expect(alone).toMatchObject({ code: 3, err: expect.stringMatching(/it is not a Cluster\n$/) })
  })

  it('M5: ends nothing in a database other than the given one', async () => {
    const { sessions, where } = await openSessions('ann', 2)
    const [, url = '', ...others] = where

    const ended = await run(['end-all', 'ann', '--redis', `${url}/9999`, ...others, '--yes'])

    expect(ended).toMatchObject({ code: 3, out: '', err: expect.stringContaining('database') })
    expect(await sessions.list('ann')).toHaveLength(2)
  })

  it('F1: exits with its code as a process, and leaves nothing open', async () => {
    const { ids, where } = await openSessions('ann', 1)

    const [listed, unknown, wrong, away] = await Promise.all([
      runProcess(['list', 'ann', ...where]),
      runProcess(['info', unknownId, ...where]),
      runProcess(['list']),
      runProcess(['list', 'ann', '--redis', 'redis://127.0.0.1:1']),
    ])

    expect(listed).toMatchObject({ code: 0, out: expect.stringContaining(ids[0] ?? ''), err: '' })
    expect([unknown, wrong, away].map(({ code, out }) => [code, out])).toEqual([
      [1, ''],
      [2, ''],
      [3, ''],
    ])
  })

  it('F1: prints one line and exits with 3 when the server never replies', async () => {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void server.close())
    const address = server.address()
    const port = typeof address === 'object' ? address?.port : undefined

    const { code, out, err } = await run(['list', 'ann', '--redis', `redis://127.0.0.1:${port}`])

    expect({ code, out }).toEqual({ code: 3, out: '' })
    expect(err).toMatch(
      /^koa-user-sessions: cannot use Redis at redis:\/\/127\.0\.0\.1:\d+: [^\n]+\n$/,
    )
  })

  it('H2: prints one line and exits with 3 for a wrong password, and never shows a password', async () => {
    const server = await startRedisServer()
    onTestFinished(() => server.stop())
    await connectRedis(server.url).config('SET', 'requirepass', 'right')
    const { port } = new URL(server.url)
    const runWith = (password: string): Promise<Ended> =>
      run(['list', 'ann'], { REDIS_URL: `redis://${password}127.0.0.1:${port}` })

    const wrong = await runWith(':hidden@')
    const none = await runWith('')
    const right = await runWith(':right@')

    expect([wrong.code, none.code, right.code]).toEqual([3, 3, 0])
    expect(wrong.err).toBe(
      `koa-user-sessions: cannot use Redis at redis://127.0.0.1:${port}: the user name or the password is wrong (WRONGPASS)\n`,
    )
    expect(none.err).toMatch(/^koa-user-sessions: [^\n]+: it requires a password \(NOAUTH\)\n$/)
  })
})
