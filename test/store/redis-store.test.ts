import { inspect } from 'node:util'

import type { Redis } from 'ioredis'
import { MemoryStore, RedisStore, SessionStoreError } from 'koa-user-sessions'
import type {
  NewSession,
  RecordDraft,
  RedisClient,
  SessionCommit,
  SessionCredential,
  SessionStore,
  StorageChanges,
  StorePolicy,
} from 'koa-user-sessions'
import { describe, expect, it, onTestFinished } from 'vitest'

import { newSecret, newSessionId } from '../../src/core/secret.ts'
import { sessionKey } from '../../src/store/redis/keys.ts'
import { countCommands } from '../support/command-count.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'
import { startRedisServer } from '../support/redis-server.ts'
import type { TestRedisOptions } from '../support/redis-server.ts'
import { passRedisTime } from '../support/time.ts'
import { draftOf } from './contract-parts.ts'
import { describeSessionStore } from './session-store-contract.ts'

const minute = 60_000

const policy: StorePolicy = {
  expiry: { refreshMs: minute, absoluteTimeoutMs: 120 * minute },
  limits: { storageBytes: 262_144, storageKeys: 256 },
  maxSessions: undefined,
  timeoutMs: 1000,
}

const emptyCommit: SessionCommit = {
  storage: undefined,
  idleTimeoutMs: undefined,
  grants: undefined,
  userName: '',
  presentIdleTimeoutMs: 3_600_000,
  newSecretHash: undefined,
  asksFor: undefined,
}

// A stored text that must never be seen in an error.
const marker = 'TOP-SECRET'

const redis = connectRedis()

describeSessionStore('RedisStore', () => {
  const prefix = uniquePrefix()
  return {
    store: new RedisStore(redis, { prefix }),
    passTime: (ms) => passRedisTime(redis, prefix, ms),
  }
})

describe('RedisStore', () => {
  it('T2: keeps a session in one hash under its prefix and id, and nothing else', async () => {
    const { store, prefix } = makeStore()

    const { id } = await created(store)
    const keys = await redis.keys(`${prefix}*`)
    await store.destroy(id)

    expect(keys).toEqual([sessionKey(prefix, id)])
    expect(await redis.keys(`${prefix}*`)).toEqual([])
  })

  it('starts keys with "sess:" by default', async () => {
    const store = new RedisStore(redis)

    const { id } = await created(store)

    expect(await redis.type(sessionKey('sess:', id))).toBe('hash')
    await store.destroy(id)
  })

  it.each(['a{b', 'a}', '{', 5, null])('refuses %j as prefix', (prefix) => {
    expect(() => Reflect.construct(RedisStore, [redis, { prefix }])).toThrow(
      expect.objectContaining({
        code: 'ERR_SESSION_OPTION',
        message: '"prefix" option must be text without braces',
      }),
    )
  })

  it('M11: leaves the client to the app when it is closed', async () => {
    const { store } = makeStore()

    await store.close()

    expect(await redis.ping()).toBe('PONG')
  })

  it('L3: sends one command for each call', async () => {
    const { store, prefix } = makeStore()
    // So that Redis knows the scripts.
    const first = await created(store)
    await callAll(store, first)
    const session = newSession()
    const { credential } = session

    const commands = await countCommands({ client: redis }, async () => {
      await store.create(session, policy)
      await callAll(store, credential)
    })

    expect(commands).toEqual(Array(5).fill(`EVALSHA ${sessionKey(prefix, credential.id)}`))
  })

  it('L4: lets Redis expire a session after its idle timeout and the refresh time', async () => {
    const { store, keyOf } = makeStore()
    const credential = await created(store, { idleTimeoutMs: 90 * minute })
    const key = keyOf(credential)

    const atFirst = await redis.pttl(key)
    await redis.pexpire(key, 90 * minute - 1)
    await store.load(credential, policy, false)
    const unrefreshed = await redis.pttl(key)
    await store.load(credential, policy, true)
    const refreshed = await redis.pttl(key)

    expect(atFirst).toSatisfy(isJustUnder(91 * minute))
    expect(unrefreshed).toSatisfy(isJustUnder(90 * minute))
    expect(refreshed).toSatisfy(isJustUnder(91 * minute))
  })

  it('L4: writes nothing for a request while the idle timeout is still covered', async () => {
    const { store, keyOf } = makeStore()
    const credential = await created(store)
    await redis.pexpire(keyOf(credential), 60 * minute + 20_000)
    const before = await dumpOf(keyOf(credential))

    await store.load(credential, policy, true)
    await store.touch(credential, policy)

    expect(await dumpOf(keyOf(credential))).toEqual(before)
    expect(await redis.pttl(keyOf(credential))).toSatisfy(isJustUnder(60 * minute + 20_000))
  })

  it('L4: writes no field for a refresh', async () => {
    const { store, keyOf } = makeStore()
    const credential = await created(store)
    await redis.pexpire(keyOf(credential), minute)
    const before = await dumpOf(keyOf(credential))

    const loaded = await store.load(credential, policy, true)
    await redis.pexpire(keyOf(credential), minute)
    await store.touch(credential, policy)

    expect(loaded).toMatchObject({ refreshed: true })
    expect(await dumpOf(keyOf(credential))).toEqual(before)
    expect(await redis.pttl(keyOf(credential))).toSatisfy(isJustUnder(61 * minute))
  })

  it('S4: moves the time to live with the idle timeout, and with nothing else', async () => {
    const { store, keyOf } = makeStore()
    const credential = await created(store)
    const key = keyOf(credential)

    await store.commit(credential, { ...emptyCommit, idleTimeoutMs: 5 * minute }, policy)
    const shorter = await redis.pttl(key)
    await store.commit(credential, { ...emptyCommit, idleTimeoutMs: 300 * minute }, policy)
    const longer = await redis.pttl(key)
    await redis.pexpire(key, 10 * minute)
    await store.commit(credential, { ...emptyCommit, storage: storageOf({ a: '1' }) }, policy)

    expect(shorter).toSatisfy(isJustUnder(6 * minute))
    expect(longer).toSatisfy(isJustUnder(301 * minute))
    expect(await redis.pttl(key)).toSatisfy(isJustUnder(10 * minute))
  })

  it('L5: follows the idle timeout alone, not the absolute end', async () => {
    const { store, keyOf } = makeStore()
    const session = newSession({ idleTimeoutMs: 60 * minute })
    const expiry = { ...policy.expiry, absoluteTimeoutMs: minute }

    await store.create(session, { ...policy, expiry })

    expect(await redis.pttl(keyOf(session.credential))).toSatisfy(isJustUnder(61 * minute))
  })

  it('C1: keeps the SHA-256 of the secret, and neither the secret nor the cookie value', async () => {
    const { store, prefix, keyOf } = makeStore()
    const id = newSessionId()
    const first = newSecret(id)
    const next = newSecret(id)
    const credential = { id, secretHash: first.secretHash }
    await store.create({ ...newSession(), credential }, policy)
    const { secretHash: newSecretHash } = next

    await store.commit(credential, { ...emptyCommit, newSecretHash, asksFor: 'secret' }, policy)
    await store.load({ id, secretHash: newSecretHash }, policy, true)

    const fields = await redis.hgetall(keyOf(credential))
    const text = JSON.stringify([await redis.keys(`${prefix}*`), fields])
    expect(fields).toMatchObject({
      [`k:${first.secretHash}`]: expect.stringMatching(/^\d{13}$/),
      [`k:${next.secretHash}`]: '0',
    })
    for (const { value } of [first, next]) {
      const secret = Buffer.from(value, 'base64url').subarray(16)
      for (const encoding of ['base64url', 'base64', 'hex', 'latin1'] as const) {
        expect(text).not.toContain(secret.toString(encoding))
      }
      expect(text).not.toContain(value)
    }
  })

  it('H1: keeps every field and value on one line', async () => {
    const { store, keyOf } = makeStore()
    const text = '\n__proto__\r\n\0"\u2028\n'
    const names = { userName: text, privileges: [text], roles: [text] }
    const credential = await created(store, {
      ...names,
      storage: new Map([[text, JSON.stringify(text)]]),
    })

    await store.commit(
      credential,
      {
        ...emptyCommit,
        grants: { ...names, clears: true, userName: `${text}2`, signsIn: true },
        storage: storageOf({ [`${text}2`]: JSON.stringify(text) }),
      },
      policy,
    )

    const fields = await redis.hgetall(keyOf(credential))
    const lines = Object.entries(fields).flat()
    expect(lines.filter((line) => /[\n\r\0]/.test(line))).toEqual([])
    expect(Object.keys(fields)).toEqual(
      expect.arrayContaining([
        String.raw`p:\n__proto__\r\n\u0000\"` + '\u2028' + String.raw`\n`,
        String.raw`r:\n__proto__\r\n\u0000\"` + '\u2028' + String.raw`\n`,
        String.raw`s:\n__proto__\r\n\u0000\"` + '\u2028' + String.raw`\n`,
      ]),
    )
  })

  it('T7: counts keys and bytes as MemoryStore does, over 400 commits by chance', async () => {
    const { store, keyOf } = makeStore()
    const memory = new MemoryStore()
    const session = newSession()
    const { credential } = session
    const limited = { ...policy, limits: { storageBytes: 120, storageKeys: 6 } }
    await store.create(session, limited)
    await memory.create(session, limited)
    const chance = randomNumbers(20_261_122)

    const outcomes: string[] = []
    const outcomesInMemory: string[] = []
    for (let index = 0; index < 400; index += 1) {
      const commit = { ...emptyCommit, storage: randomChanges(chance) }
      const [outcome, outcomeInMemory] = await Promise.all([
        store.commit(credential, commit, limited),
        memory.commit(credential, commit, limited),
      ])
      outcomes.push(outcome.status)
      outcomesInMemory.push(outcomeInMemory.status)
    }

    const fields = await redis.hgetall(keyOf(credential))
    const stored = Object.entries(fields).filter(([field]) => field.startsWith('s:'))
    const sizes = stored.map(([field, value]) => Buffer.byteLength(field + value) - 2)
    expect(outcomes).toEqual(outcomesInMemory)
    expect(new Set(outcomes)).toEqual(new Set(['committed', 'tooLarge']))
    expect(fields).toMatchObject({
      n: String(stored.length),
      m: String(sizes.reduce((sum, size) => sum + size, 0)),
    })
    expect(await store.load(credential, limited, true)).toMatchObject({
      record: { storage: await storageIn(memory, credential) },
    })
  })

  it.each([
    ['a string', (key) => redis.set(key, 'k:abc')],
    ['a list', (key) => redis.rpush(key, 'a', 'b')],
    ['a set', (key) => redis.sadd(key, 'a', 'b')],
    ['a sorted set', (key) => redis.zadd(key, 1, 'a')],
    ['a stream', (key) => redis.xadd(key, '*', 'a', 'b')],
  ] satisfies [string, (key: string) => Promise<unknown>][])(
    'F6: reads %s under the key of a session as unreadable and leaves it alone',
    async (_, put) => {
      const { store, keyOf } = makeStore()
      const { credential } = newSession()
      await put(keyOf(credential))
      const before = await dumpOf(keyOf(credential))

      const loaded = await store.load(credential, policy, true)
      const touched = await store.touch(credential, policy)
      const committed = await store.commit(credential, signIn(), policy)
      const createdAgain = await store.create({ ...newSession(), credential }, policy)

      expect(loaded).toEqual({ status: 'unreadable' })
      expect(touched).toBeUndefined()
      expect(committed).toEqual({ status: 'ended' })
      expect(createdAgain).toEqual({ status: 'exists' })
      expect(await dumpOf(keyOf(credential))).toEqual(before)
      expect(await redis.pttl(keyOf(credential))).toBe(-1)
    },
  )

  it('F6: finds no session in a hash of something else', async () => {
    const { store, keyOf } = makeStore()
    const { credential } = newSession()
    await redis.hset(keyOf(credential), {
      v: '1 web',
      u: 'ann',
      i: '1',
    })
    const before = await dumpOf(keyOf(credential))

    const loaded = await store.load(credential, policy, true)
    const touched = await store.touch(credential, policy)
    const committed = await store.commit(credential, signIn(), policy)

    expect([loaded, touched, committed]).toEqual([undefined, undefined, { status: 'ended' }])
    expect(await dumpOf(keyOf(credential))).toEqual(before)
    expect(await redis.pttl(keyOf(credential))).toBe(-1)
  })

  it.each([
    ['a later version', { v: '2 web' }],
    ['an unknown type', { v: '1 admin' }],
    ['no number as creation time', { b: 'yesterday' }],
    ['no number as idle timeout', { i: 'long' }],
    ['an empty idle timeout', { i: '' }],
    ['no number as end', { e: 'never' }],
    ['a user name with a broken escape', { u: String.raw`a\u12` }],
    ['a storage name with a broken escape', { [String.raw`s:\x`]: '1' }],
    ['a line break in a value', { a: '192.0.2.1\np:WebAdmin' }],
  ])('F6: reads a session with %s as unreadable, again and again', async (_, fields) => {
    const { store, keyOf } = makeStore()
    const credential = await created(store)
    await redis.hset(keyOf(credential), fields)

    const first = await store.load(credential, policy, true)
    const again = await store.load(credential, policy, true)

    expect([first, again]).toEqual([{ status: 'unreadable' }, { status: 'unreadable' }])
  })

  it('F6: reads a session without an idle timeout as unreadable, and touches it not', async () => {
    const { store, keyOf } = makeStore()
    const credential = await created(store)
    await redis.hdel(keyOf(credential), 'i')
    await redis.pexpire(keyOf(credential), minute)

    const loaded = await store.load(credential, policy, true)
    const touched = await store.touch(credential, policy)

    expect(loaded).toEqual({ status: 'unreadable' })
    expect(touched).toBeUndefined()
    expect(await redis.pttl(keyOf(credential))).toSatisfy(isJustUnder(minute))
  })

  it('F6: reads a session whose secret has a corrupt state as unreadable', async () => {
    const { store, keyOf } = makeStore()
    const credential = await created(store)
    await redis.hset(keyOf(credential), `k:${credential.secretHash}`, 'good')

    const loaded = await store.load(credential, policy, true)
    const touched = await store.touch(credential, policy)
    const committed = await store.commit(credential, signIn(), policy)

    expect(loaded).toEqual({ status: 'unreadable' })
    expect(touched).toBeUndefined()
    expect(committed).toEqual({ status: 'ended' })
  })

  it('F6: ends and touches a session whose user name is corrupt', async () => {
    const { store, keyOf } = makeStore()
    const credential = await created(store, { userName: 'ann' })
    await redis.hset(keyOf(credential), 'u', String.raw`a\u12`)
    await redis.pexpire(keyOf(credential), minute)

    expect(await store.touch(credential, policy)).toBeGreaterThan(0)
    expect(await store.describe(credential.id, policy)).toBeUndefined()
    expect(await store.list('ann', policy)).toEqual([])
    expect(await store.destroy(credential.id)).toBe(true)
  })

  it('F6: signs in where the state of another secret and the counts are corrupt', async () => {
    const { store, keyOf } = makeStore()
    const credential = await created(store, { storage: new Map([['a', '1']]) })
    await redis.hset(keyOf(credential), { 'k:other': 'bad', n: 'some', m: 'few' })

    const commit = { ...signIn(), storage: storageOf({ b: '2' }) }
    const outcome = await store.commit(credential, commit, policy)

    expect(outcome).toMatchObject({ status: 'committed' })
    expect(await redis.hexists(keyOf(credential), 'k:other')).toBe(0)
  })

  it('F6: works after SCRIPT FLUSH, whatever the call is', async () => {
    const { client } = await startServer()
    const store = new RedisStore(client)
    const session = newSession()
    const { credential } = session

    const outcomes: unknown[] = []
    for (const call of [
      () => store.create(session, policy),
      () => store.load(credential, policy, true),
      () => store.commit(credential, { ...emptyCommit, storage: storageOf({ a: '1' }) }, policy),
      () => store.touch(credential, policy),
      () => store.commit(credential, signIn(), policy),
      () => store.describe(credential.id, policy),
      () => store.list('ann', policy),
      () => store.grant(credential.id, 'ann', signIn().grants!, policy),
      () => store.read(credential.id),
      () => store.destroy(credential.id),
      () => store.destroyAll('ann'),
    ]) {
      await client.script('FLUSH')
      outcomes.push(await call())
    }

    expect(outcomes).toEqual([
      { status: 'created', now: expect.any(Number) },
      expect.objectContaining({ status: 'live' }),
      { status: 'committed', now: expect.any(Number) },
      expect.any(Number),
      { status: 'committed', now: expect.any(Number) },
      expect.objectContaining({ userName: 'ann' }),
      [expect.objectContaining({ id: credential.id })],
      true,
      expect.objectContaining({ userName: 'ann', privileges: ['a'] }),
      true,
      [],
    ])
  })

  it('F6: stores each of 50 parallel commits once when SCRIPT FLUSH comes between', async () => {
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

  it('F7: keeps sessions working on a Redis that is full', async () => {
    const { client } = await startServer()
    const store = new RedisStore(client)
    const credential = await created(store, { userName: 'ann', storage: new Map([['a', '1']]) })
    const other = await created(store)
    const before = await store.load(credential, policy, false)
    await fill(client)
    await client.pexpire(sessionKey('sess:', credential.id), minute)

    const loaded = await store.load(credential, policy, true)
    const destroyed = await store.destroy(other.id)

    expect(loaded).toMatchObject({ status: 'live', record: recordIn(before) })
    expect(destroyed).toBe(true)
    expect(await store.load(other, policy, true)).toBeUndefined()
    await expect(store.create(newSession(), policy)).rejects.toBeInstanceOf(SessionStoreError)
  })

  it('F7: stores nothing of a commit that does not fit into a Redis that is full', async () => {
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

  it('F7: reads sessions on a Redis that is read-only, a refresh that is due included', async () => {
    const { client } = await startServer()
    const store = new RedisStore(client)
    const credential = await created(store, { userName: 'ann' })
    const over = await created(store)
    await client.hset(sessionKey('sess:', over.id), 'e', Date.now() - 1)
    const before = await store.load(credential, policy, false)
    await client.pexpire(sessionKey('sess:', credential.id), minute)
    await makeReadOnly(client)

    const loaded = await store.load(credential, policy, true)

    expect(loaded).toMatchObject({ status: 'live', refreshed: false, record: recordIn(before) })
    expect(await store.load(over, policy, true)).toBeUndefined()
    await expect(store.destroy(credential.id)).rejects.toBeInstanceOf(SessionStoreError)
    await expect(store.create(newSession(), policy)).rejects.toBeInstanceOf(SessionStoreError)
    await expect(store.commit(credential, signIn(), policy)).rejects.toBeInstanceOf(
      SessionStoreError,
    )
  })

  it.each([
    [
      'is a replica that lost its master and must not answer with what it has',
      async (client: Redis) => {
        await client.config('SET', 'replica-serve-stale-data', 'no')
        await makeReadOnly(client)
      },
    ],
    [
      'forbids the client to read hashes',
      (client: Redis) => client.call('ACL', 'SETUSER', 'default', '-hmget'),
    ],
  ])('F1: takes no session for absent when Redis %s', async (_, breakIt) => {
    const { client } = await startServer()
    const store = new RedisStore(client)
    const credential = await created(store)
    await breakIt(client)

    const errors = await rejectionsOf([
      store.load(credential, policy, true),
      store.touch(credential, policy),
      store.commit(credential, signIn(), policy),
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
  ])('H2: tells nothing of what was stored when Redis %s', async (_, args, breakIt) => {
    const { client } = await startServer({ args })
    const store = new RedisStore(client)
    const session = secretSession()
    const { credential } = session
    if (breakIt) await store.create(session, policy)
    await breakIt?.(client)

    const errors = await rejectionsOf([
      store.create(secretSession(), policy),
      store.commit(credential, secretCommit(), policy),
    ])
    if (!breakIt) errors.push(...(await rejectionsOf([store.load(credential, policy, true)])))

    for (const error of errors) {
      expect(error).toBeInstanceOf(SessionStoreError)
      expect(error).toMatchObject({ code: 'ERR_SESSION_STORE', status: 503, expose: false })
      expect(textsIn(error).filter((text) => text.includes(marker))).toEqual([])
    }
  })

  it('H2: is needed: Redis does quote the arguments of a command that it does not know', async () => {
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
  ])('H2: tells nothing of what a client adds to %s', async (_, reason) => {
    const client: RedisClient = {
      evalsha: () => Promise.reject(reason),
      eval: () => Promise.reject(reason),
    }

    const [error] = await rejectionsOf([new RedisStore(client).destroy(newSessionId())])

    expect(error).toBeInstanceOf(SessionStoreError)
    expect(textsIn(error).filter((text) => text.includes(marker))).toEqual([])
  })

  it.each([
    ['create', (store: SessionStore) => store.create(newSession(), policy)],
    ['commit', (store: SessionStore) => store.commit(newSession().credential, emptyCommit, policy)],
    ['touch', (store: SessionStore) => store.touch(newSession().credential, policy)],
    ['describe', (store: SessionStore) => store.describe(newSessionId(), policy)],
    ['list', (store: SessionStore) => store.list('ann', policy)],
    ['destroyAll', (store: SessionStore) => store.destroyAll('ann')],
  ])('rejects when %s gets an answer that no script gives', async (_, call) => {
    const client: RedisClient = {
      evalsha: () => Promise.resolve('OK'),
      eval: () => Promise.resolve('OK'),
    }

    await expect(call(new RedisStore(client))).rejects.toMatchObject({ code: 'ERR_SESSION_STORE' })
  })
})

/** A store on the shared server. */
function makeStore(): {
  readonly store: RedisStore
  readonly prefix: string
  readonly keyOf: (credential: SessionCredential) => string
} {
  const prefix = uniquePrefix()
  return {
    store: new RedisStore(redis, { prefix }),
    prefix,
    keyOf: ({ id }) => sessionKey(prefix, id),
  }
}

/** A server of the test's own. */
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

/** Ends the connection for good. */
async function stop(client: Redis): Promise<void> {
  client.disconnect()
}

/** Makes the server a replica of one that is not there: it still answers with what it has. */
async function makeReadOnly(client: Redis): Promise<void> {
  await client.replicaof('127.0.0.1', 1)
}

function newSession(parts: Partial<RecordDraft> = {}): NewSession {
  const id = newSessionId()
  return {
    credential: { id, secretHash: newSecret(id).secretHash },
    draft: draftOf(parts),
    signsIn: false,
  }
}

async function created(
  store: SessionStore,
  parts: Partial<RecordDraft> = {},
): Promise<SessionCredential> {
  const session = newSession(parts)
  const outcome = await store.create(session, policy)
  if (outcome.status !== 'created') throw new Error(`not created but ${outcome.status}`)
  return session.credential
}

/** Calls all methods but create, the one that ends the session last. */
async function callAll(store: SessionStore, credential: SessionCredential): Promise<void> {
  await store.load(credential, policy, true)
  await store.commit(credential, { ...emptyCommit, storage: storageOf({ a: '1' }) }, policy)
  await store.touch(credential, policy)
  await store.destroy(credential.id)
}

function storageOf(
  set: Readonly<Record<string, string>>,
  removed: readonly string[] = [],
): StorageChanges {
  return { set: new Map(Object.entries(set)), removed }
}

function signIn(): SessionCommit {
  return {
    ...emptyCommit,
    grants: { clears: false, userName: 'ann', privileges: ['a'], roles: [], signsIn: true },
    userName: 'ann',
    newSecretHash: newSecret(newSessionId()).secretHash,
    asksFor: 'rights',
  }
}

/** A session of which everything is secret. */
function secretSession(): NewSession {
  const session = newSession({
    userName: marker,
    privileges: [marker],
    roles: [marker],
    storage: new Map([[marker, JSON.stringify(marker)]]),
  })
  return { ...session, credential: { ...session.credential, secretHash: marker } }
}

function secretCommit(): SessionCommit {
  return {
    ...signIn(),
    storage: storageOf({ [marker]: JSON.stringify(`${marker}!`) }),
    userName: marker,
    newSecretHash: `${marker}-2`,
  }
}

async function rejectionsOf(calls: readonly Promise<unknown>[]): Promise<unknown[]> {
  const results = await Promise.allSettled(calls)
  return results.map((result) => {
    if (result.status === 'rejected') return result.reason as unknown
    throw new Error('not rejected')
  })
}

/** All that anybody could print of a value: its properties, hidden ones and those of its cause too. */
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

async function dumpOf(key: string, client: Redis = redis): Promise<Buffer | null> {
  return client.dumpBuffer(key)
}

function isJustUnder(limit: number): (ms: number) => boolean {
  return (ms) => ms <= limit && ms > limit - 10_000
}

function recordIn(outcome: Awaited<ReturnType<SessionStore['load']>>): object {
  if (outcome?.status !== 'live') throw new Error('no live session')
  return outcome.record
}

async function storageIn(
  store: SessionStore,
  credential: SessionCredential,
): Promise<ReadonlyMap<string, string>> {
  const outcome = await store.load(credential, policy, false)
  if (outcome?.status !== 'live') throw new Error('no live session')
  return outcome.record.storage
}

/** The same numbers each time, from 0 to 1. */
function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    // The constants of Numerical Recipes.
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

/** Sets some of a dozen names and removes others. */
function randomChanges(chance: () => number): StorageChanges {
  const set = new Map<string, string>()
  const removed: string[] = []
  for (const name of ['a', 'b', 'c', 'aa', 'bb', 'é', '\n', '\0', '__proto__', '漢', '"', '']) {
    const lot = chance()
    if (lot < 0.15) set.set(name, JSON.stringify('ž'.repeat(chance() * 12)))
    else if (lot > 0.8) removed.push(name)
  }
  return { set, removed }
}
