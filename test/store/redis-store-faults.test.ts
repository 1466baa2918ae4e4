import { inspect } from 'node:util'

import type { Redis } from 'ioredis'
import { RedisStore, SessionStoreError } from 'koa-user-sessions'
import type { RedisClient, SessionStore } from 'koa-user-sessions'
import type { NewSession, SessionCommit } from 'koa-user-sessions/store'
import { describe, expect, it, onTestFinished } from 'vitest'

import { newSessionId } from '../../src/cookie/cookie.ts'
import { sessionKey } from '../../src/store/redis/keys.ts'
import { encodeSession } from '../../src/store/session-text.ts'
import { newSession as newStoredSession } from '../../src/store/stored-session.ts'
import type { StoredSession } from '../../src/store/stored-session.ts'
import {
  created,
  dumpOf,
  emptyCommit,
  grantsOf,
  isJustUnder,
  makeStore,
  minute,
  newSession,
  policy,
  redis,
  signIn,
  storageIn,
  storageOf,
} from '../support/bare-redis-store.ts'
import { connectRedis } from '../support/redis-client.ts'
import { startRedisServer } from '../support/redis-server.ts'
import type { TestRedisOptions } from '../support/redis-server.ts'
import { backgroundIsDone } from '../support/time.ts'
import { describeById, destroyAll, grant, newHash, read, touch } from './contract-parts.ts'
import { idle, rewrite, sessionAt } from './redis/stored-texts.ts'

// A stored text that must never appear in an error.
const marker = 'TOP-SECRET'

describe('RedisStore', () => {
  it.each([
    ['a word', (key) => redis.set(key, 'k:abc')],
    ['an empty text', (key) => redis.set(key, '')],
    ['a hash, as rc.1 stored it', (key) => redis.hset(key, { v: '1 web', u: 'ann', i: '1' })],
    ['a list', (key) => redis.rpush(key, 'a', 'b')],
    ['a set', (key) => redis.sadd(key, 'a', 'b')],
    ['a sorted set', (key) => redis.zadd(key, 1, 'a')],
    ['a stream', (key) => redis.xadd(key, '*', 'a', 'b')],
  ] satisfies [string, (key: string) => Promise<unknown>][])(
    'F6: reads %s under the key of a session as unreadable and does not change it',
    async (_, put) => {
      const { store, keyOf } = makeStore()
      const { credential } = newSession()
      await put(keyOf(credential))
      const before = await dumpOf(keyOf(credential))

      const loaded = await store.load(credential, policy, true)
      const touched = await touch(store, credential, policy)
      const committed = await store.commit(credential, signIn(), policy)
      const createdAgain = await store.create({ ...newSession(), credential }, policy)

      expect(loaded).toEqual({ status: 'unreadable' })
      expect(touched).toBeUndefined()
      expect(committed).toEqual({ status: 'ended' })
      expect(await store.lock(credential, { token: 'a', leaseMs: minute })).toBeUndefined()
      expect(createdAgain).toEqual({ status: 'exists' })
      expect(await dumpOf(keyOf(credential))).toEqual(before)
      expect(await redis.pttl(keyOf(credential))).toBe(-1)
    },
  )

  it.each([
    ['a later version', (text) => `3${text.slice(1)}`],
    ['an unknown type', (text) => text.replace('\tw', '\tx')],
    ['no number as creation time', (text) => text.replace(/\tw(...)\w/, '\tw$1-')],
    ['no number as idle timeout', (text) => text.replace('\ti255s0', '\tilong')],
    ['an empty idle timeout', (text) => text.replace('\ti255s0', '\ti')],
    ['no idle timeout', (text) => text.replace('\ti255s0', '')],
    ['another user name', (text) => text.replace('\tuann', '\tueve')],
    ['a privilege more', (text) => text.replace('\tuann', '\tuann\tpWebAdmin')],
    ['a secret that is cut', (text) => text.replace(/\ts./, '\ts')],
    ['a line break in a value', (text) => text.replace('\ta192', '\ta192\npWebAdmin\t')],
    ['a head that ends early', (text) => text.slice(0, 60)],
    ['a BOM', (text) => `\uFEFF${text}`],
  ] satisfies [string, (text: string) => string][])(
    'F6: reads a session with %s as unreadable, repeatedly, and changes nothing',
    async (_, damage) => {
      const { store, keyOf } = makeStore()
      const credential = await created(store, { userName: 'ann', privileges: ['a'] })
      const key = keyOf(credential)
      const before = (await redis.get(key)) ?? ''
      const text = damage(before)
      expect(text).not.toBe(before)
      await redis.set(key, text, 'PX', minute)

      const first = await store.load(credential, policy, true)
      const again = await store.load({ ...credential }, policy, true)
      const touched = await touch(store, credential, policy)
      const committed = await store.commit(credential, signIn(), policy)
      const locked = await store.lock(credential, { token: 'a', leaseMs: minute })

      expect([first, again]).toEqual([{ status: 'unreadable' }, { status: 'unreadable' }])
      expect([touched, locked]).toEqual([undefined, undefined])
      expect(committed).toEqual({ status: 'ended' })
      expect(await redis.get(key)).toBe(text)
      expect(await redis.pttl(key)).toSatisfy(isJustUnder(minute))
      expect(await redis.exists(`${key}:lock`)).toBe(0)
    },
  )

  it('F6: does not list a damaged session, and ends it', async () => {
    const { store, keyOf } = makeStore()
    const credential = await created(store, { userName: 'ann' })
    const key = keyOf(credential)
    const text = (await redis.get(key)) ?? ''
    await redis.set(key, text.replace('\tuann', String.raw`${'\t'}ua\u12`))

    expect(await describeById(store, credential.id, policy)).toBeUndefined()
    expect(await store.list('ann')).toEqual([])
    expect(await store.destroy(credential.id)).toBe(false)
    expect(await redis.exists(key)).toBe(0)
  })

  it.each([
    ['more names than there are', '99'],
    ['fewer', '0'],
  ])('F6: opens and changes a session whose text counts %s', async (_, count) => {
    const { store, keyOf } = makeStore()
    const storage = new Map(Object.entries({ a: '1', b: '2' }))
    const credential = await created(store, { storage })
    const text = (await redis.get(keyOf(credential))) ?? ''
    await redis.set(keyOf(credential), text.slice(0, 14) + text.slice(14).replace('2', count))

    const commit = { ...signIn(), storage: storageOf({ c: '3' }, ['a']) }
    const outcome = await store.commit(credential, commit, policy)

    expect(outcome).toMatchObject({ status: 'committed' })
    expect([...(await storageIn(store, { ...credential, secretHash: '' }))]).toEqual([
      ['b', '2'],
      ['c', '3'],
    ])
  })

  it('F6: works after SCRIPT FLUSH, whatever the call', async () => {
    const { client } = await startServer()
    const store = new RedisStore(client)
    const session = newSession()
    const { credential } = session

    const outcomes: unknown[] = []
    for (const call of [
      () => store.create(session, policy),
      () => store.load(credential, policy, true),
      () => store.commit(credential, { ...emptyCommit, storage: storageOf({ a: '1' }) }, policy),
      () => touch(store, credential, policy),
      () => store.commit(credential, signIn(), policy),
      () => describeById(store, credential.id, policy),
      () => store.list('ann'),
      () => grant(store, credential.id, 'ann', signIn().grants!, policy),
      () => read(store, credential.id),
      () => store.destroy(credential.id),
      () => destroyAll(store, 'ann'),
    ]) {
      await client.script('FLUSH')
      outcomes.push(await call())
    }

    expect(outcomes).toEqual([
      expect.objectContaining({ status: 'created' }),
      expect.objectContaining({ status: 'live' }),
      expect.objectContaining({ status: 'committed' }),
      expect.any(Number),
      expect.objectContaining({ status: 'committed' }),
      expect.objectContaining({ userName: 'ann' }),
      [expect.objectContaining({ id: credential.id })],
      true,
      expect.objectContaining({ userName: 'ann', privileges: ['a'] }),
      true,
      [],
    ])
  })

  it('F6: stores each of 50 parallel commits once when SCRIPT FLUSH comes in between', async () => {
    const { client } = await startServer()
    const store = new RedisStore(client)
    const credential = await created(store)

    const commits = Array.from({ length: 50 }, async (_, index) => {
      const storage = storageOf({ [`key ${index}`]: '1' })
      if (index % 10 === 0) await client.script('FLUSH')
      return store.commit(credential, { ...emptyCommit, storage }, policy)
    })
    const outcomes = await Promise.all(commits)

    expect(outcomes.map(({ status }) => status)).toEqual(Array(50).fill('committed'))
    expect((await storageIn(store, credential)).size).toBe(50)
  })

  it('F7: keeps sessions working on a full Redis, including their refresh', async () => {
    const { client } = await startServer()
    const store = new RedisStore(client)
    const credential = await created(store, { userName: 'ann', storage: new Map([['a', '1']]) })
    const other = await created(store)
    const key = sessionKey('sess:', credential.id)
    await idle(client, key, 2 * minute)
    const before = await store.load(credential, policy, false)
    await fill(client)
    await client.pexpire(key, minute)

    const loaded = await store.load(credential, policy, true)
    await backgroundIsDone(client)
    const destroyed = await store.destroy(other.id)

    expect(loaded).toMatchObject({ status: 'live', refreshed: true, record: recordIn(before) })
    expect(await client.pttl(key)).toSatisfy(isJustUnder(61 * minute))
    expect((await sessionAt(client, key)).activeAt).toSatisfy(isJustUnder(Date.now() + 1000))
    expect(destroyed).toBe(true)
    expect(await store.load(other, policy, true)).toBeUndefined()
    await expect(store.create(newSession(), policy)).rejects.toBeInstanceOf(SessionStoreError)
  })

  it('F7: removes names and takes rights away on a full Redis', async () => {
    const { client } = await startServer()
    const store = new RedisStore(client)
    const credential = await created(store, {
      userName: 'ann',
      privileges: ['a'],
      storage: new Map(Object.entries({ a: '1', b: '2', passport: '{}' })),
    })
    const key = sessionKey('sess:', credential.id)
    await fill(client)

    const removing = { ...emptyCommit, storage: storageOf({ b: '3' }, ['a']) }
    const removed = await store.commit(credential, removing, policy)
    const nothing = { ...grantsOf(), clears: true, userName: '' }
    const clearing = {
      ...emptyCommit,
      grants: nothing,
      // Longer than before: the replaced secret is remembered for a while.
      newSecretHash: newHash(),
      asksFor: 'secret',
      storage: storageOf({}, ['passport']),
    } as const
    const cleared = await store.commit(credential, clearing, policy)

    expect([removed.status, cleared.status]).toEqual(['committed', 'committed'])
    expect(await read(store, credential.id)).toMatchObject({
      userName: '',
      privileges: [],
      storage: new Map([['b', '3']]),
    })
    expect(await client.pttl(key)).toSatisfy(isJustUnder(61 * minute))
  })

  it('F7: stores nothing of a commit that does not fit into a full Redis', async () => {
    const { client } = await startServer()
    const store = new RedisStore(client)
    const credential = await created(store, {
      storage: new Map(Object.entries({ a: '1', b: '2' })),
    })
    const before = await dumpOf(sessionKey('sess:', credential.id), client)
    await fill(client)

    const storage = storageOf({ a: '3', c: JSON.stringify('x'.repeat(1000)) }, ['b'])
    const commit = { ...signIn(), storage, idleTimeoutMs: minute }
    const outcome = store.commit(credential, commit, policy)

    await expect(outcome).rejects.toMatchObject({ code: 'ERR_SESSION_STORE', status: 503 })
    expect(await dumpOf(sessionKey('sess:', credential.id), client)).toEqual(before)
    expect(await client.pttl(sessionKey('sess:', credential.id))).toSatisfy(
      isJustUnder(61 * minute),
    )
  })

  it('F7: reads sessions on a read-only Redis, even when a refresh is due', async () => {
    const { client } = await startServer()
    const store = new RedisStore(client)
    const credential = await created(store, { userName: 'ann' })
    const over = await created(store)
    await rewrite(client, sessionKey('sess:', over.id), (session) => ({
      ...session,
      record: { ...session.record, endsAt: Date.now() - 1 },
    }))
    const key = sessionKey('sess:', credential.id)
    await idle(client, key, 2 * minute)
    const before = await store.load(credential, policy, false)
    await makeReadOnly(client)

    const loaded = await store.load(credential, policy, true)
    await backgroundIsDone(client)

    expect(loaded).toMatchObject({ status: 'live', record: recordIn(before) })
    expect(await client.pttl(key)).toSatisfy(isJustUnder(59 * minute))
    expect(await store.load(over, policy, true)).toBeUndefined()
    await expect(store.destroy(credential.id)).rejects.toBeInstanceOf(SessionStoreError)
    await expect(store.create(newSession(), policy)).rejects.toBeInstanceOf(SessionStoreError)
    await expect(store.commit(credential, signIn(), policy)).rejects.toBeInstanceOf(
      SessionStoreError,
    )
  })

  it.each([
    [
      'is a replica that lost its master and must not serve stale data',
      async (client: Redis) => {
        await client.config('SET', 'replica-serve-stale-data', 'no')
        await makeReadOnly(client)
      },
    ],
    [
      'forbids the client to read texts',
      (client: Redis) => client.call('ACL', 'SETUSER', 'default', '-get', '-getrange'),
    ],
  ])('F1: never treats a session as absent when Redis %s', async (_, breakIt) => {
    const { client } = await startServer()
    const store = new RedisStore(client)
    const credential = await created(store)
    await breakIt(client)

    const errors = await rejectionsOf([
      store.load(credential, policy, true),
      touch(store, credential, policy),
      // This one has not loaded anything yet.
      store.commit({ ...credential }, signIn(), policy),
    ])

    expect(errors).toEqual(
      Array(3).fill(expect.objectContaining({ code: 'ERR_SESSION_STORE', status: 503 })),
    )
  })

  it.each([
    ['is full', [], fill],
    ['is read-only', [], makeReadOnly],
    [
      'quotes the arguments of a command that it does not know',
      ['--rename-command', 'EVALSHA', ''],
      undefined,
    ],
    ['has been stopped', [], stop],
  ])('H2: reveals nothing stored when Redis %s', async (_, args, breakIt) => {
    const { client } = await startServer({ args })
    const store = new RedisStore(client)
    const session = secretSession()
    const { credential } = session
    // For a server that cannot run a script, the session is stored beforehand.
    if (breakIt) await store.create(session, policy)
    else await client.set(sessionKey('sess:', credential.id), encodeSession(storedFor(session)))
    await breakIt?.(client)

    const errors = await rejectionsOf([
      store.create(secretSession(), policy),
      store.commit(credential, secretCommit(), policy),
    ])
    if (!breakIt) errors.push(...(await rejectionsOf([store.destroy(credential.id, marker)])))

    for (const error of errors) {
      expect(error).toBeInstanceOf(SessionStoreError)
      expect(error).toMatchObject({ code: 'ERR_SESSION_STORE', status: 503, expose: false })
      expect(textsIn(error).filter((text) => text.includes(marker))).toEqual([])
    }
  })

  it('H2: proves the need: Redis quotes the arguments of an unknown command', async () => {
    const { client } = await startServer({ args: ['--rename-command', 'EVALSHA', ''] })

    const [error] = await rejectionsOf([client.evalsha('0'.repeat(40), 1, 'key', marker)])

    expect(error).toMatchObject({ message: expect.stringContaining(marker) })
  })

  it.each([
    ['an error with arguments', Object.assign(new Error('Command timed out'), { args: [marker] })],
    ['an error with a cause', new Error('no connection', { cause: new Error(marker) })],
    ['a reply without a code', Object.assign(new Error(marker), { name: 'ReplyError' })],
    ['text', marker],
    ['nothing', undefined],
  ])('H2: reveals nothing that a client adds to %s', async (_, reason) => {
    const fail = (): Promise<never> => Promise.reject(reason)
    const client: RedisClient = { get: fail, getrange: fail, evalsha: fail, eval: fail }
    const store = new RedisStore(client)

    const errors = await rejectionsOf([
      store.destroy(newSessionId()),
      store.load(newSession().credential, policy, true),
      store.commit(newSession().credential, emptyCommit, policy),
    ])

    for (const error of errors) {
      expect(error).toBeInstanceOf(SessionStoreError)
      expect(textsIn(error).filter((text) => text.includes(marker))).toEqual([])
    }
  })

  it.each([
    ['create', (store: SessionStore) => store.create(newSession(), policy)],
    ['commit', (store: SessionStore) => commitOf(store, { storage: storageOf({ a: '1' }) })],
    ['a lock', (store: SessionStore) => commitOf(store, { lock: { token: 'a', leaseMs: 0 } })],
    [
      'lock',
      (store: SessionStore) => store.lock(newSession().credential, { token: 'a', leaseMs: 1 }),
    ],
    ['list', (store: SessionStore) => store.list('ann', policy)],
    ['destroy', (store: SessionStore) => store.destroy(newSessionId())],
  ])('F1: rejects when %s gets a reply that no script sends', async (_, call) => {
    const text = encodeSession(storedFor(newSession()))
    const client: RedisClient = {
      get: () => Promise.resolve(text),
      getrange: () => Promise.resolve(text),
      evalsha: () => Promise.resolve('OK'),
      eval: () => Promise.resolve('OK'),
    }

    await expect(call(new RedisStore(client))).rejects.toMatchObject({ code: 'ERR_SESSION_STORE' })
  })
})

function commitOf(store: SessionStore, commit: SessionCommit): Promise<unknown> {
  return store.commit({ id: newSessionId(), secretHash: '' }, commit, policy)
}

/** In its stored form. */
function storedFor(session: NewSession): StoredSession {
  const stored = newStoredSession(session, Date.now(), policy)
  if (!stored) throw new Error('too large')
  return stored
}

/** The test's own server. */
async function startServer(options?: TestRedisOptions): Promise<{ readonly client: Redis }> {
  const server = await startRedisServer(options)
  onTestFinished(() => server.stop())
  return { client: connectRedis(server.url) }
}

/** Leaves no memory for anything new. */
async function fill(client: Redis): Promise<void> {
  await client.config('SET', 'maxmemory-policy', 'noeviction')
  await client.config('SET', 'maxmemory', '1')
}

/** Ends the connection permanently. */
async function stop(client: Redis): Promise<void> {
  client.disconnect()
}

/** Makes the server a replica of a missing master: it still answers with what it has. */
async function makeReadOnly(client: Redis): Promise<void> {
  await client.replicaof('127.0.0.1', 1)
}

/** A session in which everything is secret. */
function secretSession(): NewSession {
  const session = newSession({
    userName: marker,
    privileges: [marker],
    roles: [marker],
    storage: new Map([[marker, JSON.stringify(marker)]]),
  })
  return { ...session, credential: { ...session.credential, secretHash: marker.padEnd(43, '-') } }
}

function secretCommit(): SessionCommit {
  return {
    ...signIn(),
    storage: storageOf({ [marker]: JSON.stringify(`${marker}!`) }),
    userName: marker,
    newSecretHash: `${marker}-2`.padEnd(43, '-'),
  }
}

async function rejectionsOf(calls: readonly Promise<unknown>[]): Promise<unknown[]> {
  const results = await Promise.allSettled(calls)
  return results.map((result) => {
    if (result.status === 'rejected') return result.reason as unknown
    throw new Error('not rejected')
  })
}

/** Everything printable of a value: its properties, including hidden ones and those of its cause. */
function textsIn(value: unknown, seen = new Set<unknown>()): string[] {
  if (typeof value !== 'object' || value === null) return [String(value)]
  if (seen.has(value)) return []
  seen.add(value)
  const texts = [inspect(value, { depth: Infinity, showHidden: true })]
  for (const name of Reflect.ownKeys(value)) {
    texts.push(String(name), ...textsIn(Reflect.get(value, name), seen))
  }
  return texts
}

function recordIn(outcome: Awaited<ReturnType<SessionStore['load']>>): object {
  if (outcome?.status !== 'live') throw new Error('no live session')
  return outcome.record
}
