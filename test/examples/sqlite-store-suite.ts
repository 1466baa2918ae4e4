import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'

import { describeSessionStore } from 'koa-user-sessions/store-contract'
import request from 'supertest'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { newSession, policy } from '../store/contract-parts.ts'

process.env['SESSIONS_FILE'] = ':memory:'
const { app, SQLiteStore } = await import('../../examples/sqlite-store.ts')

describeSessionStore(
  'SQLiteStore',
  () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    onTestFinished(() => {
      vi.useRealTimers()
    })
    return {
      store: new SQLiteStore(new DatabaseSync(newFile())),
      async passTime(ms) {
        vi.setSystemTime(Date.now() + ms)
      },
    }
  },
  { describe, expect, it },
)

describe('SQLiteStore', () => {
  it('removes the rows of expired sessions', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    onTestFinished(() => {
      vi.useRealTimers()
    })
    const database = new DatabaseSync(':memory:')
    const store = new SQLiteStore(database)
    for (let count = 0; count < 3; count++) await store.create(newSession(), policy)

    vi.setSystemTime(Date.now() + 62 * 60_000)
    const last = newSession()
    await store.create(last, policy)

    expect(database.prepare('SELECT id FROM sessions').all()).toMatchObject([
      { id: last.credential.id },
    ])
  })

  it('F6: reads a damaged text as unreadable', async () => {
    const database = new DatabaseSync(':memory:')
    const store = new SQLiteStore(database)
    const { credential, draft } = newSession({ userName: 'ann' })
    await store.create({ credential, draft, signsIn: true }, policy)

    database.exec(`UPDATE sessions SET text = 'something else'`)

    expect(await store.load(credential, policy, true)).toEqual({ status: 'unreadable' })
    expect(await store.commit(credential, {}, policy)).toEqual({ status: 'ended' })
    expect(await store.list('ann', policy)).toEqual([])
  })

  it('F7: loads a session from a read-only file without refreshing it', async () => {
    const database = new DatabaseSync(newFile())
    const store = new SQLiteStore(database)
    const { credential, draft } = newSession()
    await store.create({ credential, draft, signsIn: false }, policy)
    const eager = { ...policy, expiry: { ...policy.expiry, refreshMs: -1 } }
    expect(await store.load(credential, eager, true)).toMatchObject({ refreshed: true })

    database.exec('PRAGMA query_only = ON')

    const outcome = await store.load(credential, eager, true)
    expect(outcome).toMatchObject({ status: 'live', refreshed: false })
    await expect(store.destroy(credential.id)).rejects.toThrow('readonly')
  })
})

describe('examples/sqlite-store.ts', () => {
  it('counts visits', async () => {
    const agent = request.agent(app.callback())

    await agent.post('/visits').expect(200, '1')
    await agent.post('/visits').expect(200, '2')
    await request(app.callback()).post('/visits').expect(200, '1')
  })
})

describe('processes that share a file', () => {
  it('T2: keep the sessions of a killed process', { timeout: 60_000 }, async () => {
    const file = newFile()
    const first = await startWorker(file)
    const cookie = await first.ask('POST', '/visits').then(({ cookie }) => cookie)
    await first.ask('PUT', '/last', cookie)

    await first.kill()
    const second = await startWorker(file)

    expect((await second.ask('POST', '/visits', cookie)).storage).toEqual({ visits: 2, last: 1 })
  })

  it('T3: lose none of 200 parallel changes of different names', { timeout: 120_000 }, async () => {
    const file = newFile()
    const workers = await Promise.all([startWorker(file), startWorker(file)])
    const { cookie } = await workers[0].ask('PUT', '/first')
    const names = Array.from({ length: 200 }, (_, index) => `name${index}`)

    await inLanes(names, (name, index) => workers[index % 2]!.ask('PUT', `/${name}`, cookie))

    const { storage } = await workers[1].ask('GET', '/', cookie)
    expect(storage).toEqual(Object.fromEntries(['first', ...names].map((name) => [name, 1])))
  })

  it('T4: lose none of 200 parallel increments by use()', { timeout: 120_000 }, async () => {
    const file = newFile()
    const workers = await Promise.all([startWorker(file), startWorker(file)])
    const { cookie } = await workers[0].ask('PUT', '/first')

    await inLanes(Array<string>(200).fill('count'), (name, index) =>
      workers[index % 2]!.ask('POST', `/${name}`, cookie),
    )

    const { storage } = await workers[1].ask('GET', '/', cookie)
    expect(storage).toEqual({ first: 1, count: 200 })
  })
})

/** A path for a file, which is removed after the test. */
function newFile(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sqlite-store-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return join(folder, 'sessions.db')
}

/** Twenty at a time. */
async function inLanes(
  names: readonly string[],
  ask: (name: string, index: number) => Promise<unknown>,
): Promise<void> {
  const entries = names.entries()
  const lane = async (): Promise<void> => {
    for (const [index, name] of entries) await ask(name, index)
  }
  await Promise.all(Array.from({ length: 20 }, lane))
}

interface Answer {
  readonly cookie: string
  readonly storage: unknown
}

interface Worker {
  readonly ask: (method: string, path: string, cookie?: string) => Promise<Answer>
  /** As the system does when memory is short. */
  readonly kill: () => Promise<void>
}

async function startWorker(file: string): Promise<Worker> {
  const child = fork(fileURLToPath(new URL('sqlite-worker.ts', import.meta.url)), {
    execArgv: ['--import', 'tsx'],
    env: {
      ...process.env,
      TSX_TSCONFIG_PATH: fileURLToPath(new URL('../tsconfig.json', import.meta.url)),
      SESSIONS_FILE: file,
    },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const ended = once(child, 'exit')
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL')
    await ended
  }
  onTestFinished(kill)
  const early = ended.then(() => Promise.reject(new Error('a worker has ended')))
  const [{ port }] = await Promise.race([once(child, 'message'), early])
  return {
    kill,
    async ask(method, path, cookie = '') {
      const headers = cookie === '' ? {} : { cookie }
      const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method, headers })
      const text = await answer.text()
      if (!answer.ok) throw new Error(`${answer.status} ${text}`)
      const [set = cookie] = answer.headers.getSetCookie()
      return { cookie: set.split(';', 1)[0]!, storage: JSON.parse(text) }
    },
  }
}
