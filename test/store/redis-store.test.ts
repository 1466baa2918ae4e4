import { inspect } from 'node:util'

import type { Redis } from 'ioredis'
import { MemoryStore, RedisStore, SessionStoreError } from 'koa-user-sessions'
import type { RedisClient, SessionStore } from 'koa-user-sessions'
import type {
  GrantChanges,
  NewSession,
  RecordDraft,
  SessionCommit,
  SessionCredential,
  StorageChanges,
  StorePolicy,
} from 'koa-user-sessions/store'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { newSecret, newSessionId } from '../../src/cookie/cookie.ts'
import { sessionKey } from '../../src/store/redis/keys.ts'
import { encodeSession } from '../../src/store/session-text.ts'
import { storedSize } from '../../src/store/storage-texts.ts'
import { newSession as newStoredSession } from '../../src/store/stored-session.ts'
import type { StoredSession } from '../../src/store/stored-session.ts'
import { countCommands } from '../support/command-count.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'
import { startRedisServer } from '../support/redis-server.ts'
import type { TestRedisOptions } from '../support/redis-server.ts'
import { SteppedRedis } from '../support/round-trips.ts'
import { backgroundIsDone, passRedisTime } from '../support/time.ts'
import { describeById, destroyAll, draftOf, grant, newHash, read, touch } from './contract-parts.ts'
import { idle, rewrite, sessionAt } from './redis/stored-texts.ts'
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
  newSecretHash: undefined,
  asksFor: undefined,
}

// A stored text that must never be seen in an error.
const marker = 'TOP-SECRET'

const redis = connectRedis()

describeSessionStore(
  'RedisStore',
  () => {
    const prefix = uniquePrefix()
    return {
      store: new RedisStore(redis, { prefix }),
      passTime: (ms) => passRedisTime(redis, prefix, ms),
    }
  },
  { describe, expect, it },
)

describe('RedisStore', () => {
  it('T2: keeps a session in one string under its prefix and id, and nothing else', async () => {
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

    expect(await redis.type(sessionKey('sess:', id))).toBe('string')
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

  it('L3: sends one command for each call, a plain GET for a read', async () => {
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

    const key = sessionKey(prefix, credential.id)
    const names = ['EVALSHA', 'GET', 'EVALSHA', 'GET', 'EVALSHA']
    expect(commands).toEqual(names.map((name) => `${name} ${key}`))
  })

  it('L3: changes what a request has not loaded by one more read, that of the head', async () => {
    const stepped = new SteppedRedis(redis)
    const store = new RedisStore(stepped, { prefix: uniquePrefix() })
    const { id, secretHash } = await created(store)

    const first = await stepped.roundTrips(() =>
      store.commit({ id, secretHash }, { ...emptyCommit, storage: storageOf({ a: '1' }) }, policy),
    )

    expect(first.trips).toEqual([['getrange'], ['commit']])
  })

  it('C5, L3: works a change out again, by one more script, when another one came before', async () => {
    const stepped = new SteppedRedis(redis)
    const store = new RedisStore(stepped, { prefix: uniquePrefix() })
    const credential = await created(store)
    const { id } = credential
    const loaded = await store.load(credential, policy, false)
    const seen = loaded?.status === 'live' ? loaded.seen : undefined
    await store.commit(credential, { ...emptyCommit, grants: grantsOf('a') }, policy)

    const asked = await stepped.roundTrips(() =>
      store.commit(credential, { ...emptyCommit, seen, grants: grantsOf('b') }, policy),
    )

    expect(asked.trips).toEqual([['commit'], ['commit']])
    expect(await read(store, id)).toMatchObject({ privileges: ['a', 'b'] })
  })

  it('C1, C5: never takes an old secret for a good one, whatever the request has seen', async () => {
    const { store } = makeStore()
    const credential = await created(store)
    const [seen, other] = [{ ...credential }, { ...credential }]
    await Promise.all([store.load(seen, policy, true), store.load(other, policy, true)])
    await store.commit(other, { ...signIn(), userName: 'ann' }, policy)

    const grants = { ...grantsOf('WebAdmin'), userName: 'eve', signsIn: true }
    const asks = { newSecretHash: newHash(), asksFor: 'rights' } as const
    const outcome = await store.commit(seen, { ...emptyCommit, ...asks, grants }, policy)

    expect(outcome).toEqual({ status: 'rotated' })
    expect(await read(store, seen.id)).toMatchObject({ userName: 'ann', privileges: ['a'] })
  })

  it('L8, C1: takes a session for no other one of the same id', async () => {
    const { store } = makeStore()
    const credential = await created(store, { userName: 'ann' })
    const since = Date.now()
    await store.load(credential, policy, true)
    await store.destroy(credential.id)
    // Their instants tell them apart.
    await vi.waitUntil(() => Date.now() > since + 5)
    const session = { ...newSession(), credential: { ...credential, secretHash: newHash() } }
    await store.create(session, policy)

    const outcome = await store.commit(
      credential,
      { ...emptyCommit, grants: grantsOf('a') },
      policy,
    )

    expect(outcome).toEqual({ status: 'ended' })
    expect(await read(store, credential.id)).toMatchObject({ userName: '', privileges: [] })
  })

  it('L4: lets Redis expire a session after its idle timeout and the refresh time', async () => {
    const { store, keyOf } = makeStore()
    const credential = await created(store, { idleTimeoutMs: 90 * minute })
    const key = keyOf(credential)

    const atFirst = await redis.pttl(key)
    await idle(redis, key, 2 * minute)
    await store.load(credential, policy, false)
    await backgroundIsDone(redis)
    const unrefreshed = await redis.pttl(key)
    await store.load(credential, policy, true)
    await backgroundIsDone(redis)
    const refreshed = await redis.pttl(key)

    expect(atFirst).toSatisfy(isJustUnder(91 * minute))
    expect(unrefreshed).toSatisfy(isJustUnder(89 * minute))
    expect(refreshed).toSatisfy(isJustUnder(91 * minute))
  })

  it('L4: writes nothing for a request while the idle timeout is still covered', async () => {
    const { store, keyOf } = makeStore()
    const credential = await created(store)
    await redis.pexpire(keyOf(credential), 60 * minute + 20_000)
    const before = await dumpOf(keyOf(credential))

    await store.load(credential, policy, true)
    await touch(store, credential, policy)

    expect(await dumpOf(keyOf(credential))).toEqual(before)
    expect(await redis.pttl(keyOf(credential))).toSatisfy(isJustUnder(60 * minute + 20_000))
  })

  it('L4: sends a refresh as one script behind the load, and waits for none of it', async () => {
    const stepped = new SteppedRedis(redis)
    const prefix = uniquePrefix()
    const store = new RedisStore(stepped, { prefix })
    const credential = await created(store)
    const key = sessionKey(prefix, credential.id)
    await idle(redis, key, 2 * minute)

    const asked = await stepped.roundTrips(() => store.load(credential, policy, true))

    expect(asked).toEqual({ trips: [['get']], unanswered: ['refresh'] })
  })

  it('L4: writes nothing but the activity and the time to live for a refresh', async () => {
    const { store, keyOf } = makeStore()
    const credential = await created(store, { storage: new Map([['a', '1']]) })
    const key = keyOf(credential)
    await idle(redis, key, 2 * minute)
    const before = await redis.get(key)
    const { activeAt } = await sessionAt(redis, key)

    const loaded = await store.load(credential, policy, true)
    await backgroundIsDone(redis)

    const after = await redis.get(key)
    expect(loaded).toMatchObject({ refreshed: true, activeAt })
    expect((await sessionAt(redis, key)).activeAt).toSatisfy(isJustUnder(Date.now() + 1000))
    expect(after?.slice(0, 2) + after!.slice(11)).toBe(before?.slice(0, 2) + before!.slice(11))
    expect(after).not.toBe(before)
    expect(await redis.pttl(key)).toSatisfy(isJustUnder(61 * minute))
  })

  it('L4: refreshes once for many requests, as the first has written the activity', async () => {
    const { store, keyOf } = makeStore()
    const credential = await created(store)
    await idle(redis, keyOf(credential), 2 * minute)

    const first = await store.load(credential, policy, true)
    await backgroundIsDone(redis)
    const next = await Promise.all([1, 2, 3].map(() => store.load(credential, policy, true)))

    expect(first).toMatchObject({ refreshed: true })
    expect(next.map((outcome) => outcome?.status === 'live' && outcome.refreshed)).toEqual([
      false,
      false,
      false,
    ])
  })

  it.each([
    ['a wrong secret', newHash()],
    ['a secret of another length', 'wrong'],
  ])('C1, L4: refreshes nothing for %s', async (_, secretHash) => {
    const { store, keyOf } = makeStore()
    const credential = await created(store)
    const key = keyOf(credential)
    await idle(redis, key, 2 * minute)
    const before = await redis.get(key)

    const commands = await countCommands({ client: redis }, async () => {
      const loaded = await store.load({ ...credential, secretHash }, policy, true)
      await backgroundIsDone(redis)
      expect(loaded).toBeUndefined()
    })

    expect(commands.filter((command) => !command.startsWith('PING'))).toEqual([`GET ${key}`])
    expect(await redis.get(key)).toBe(before)
    expect(await redis.pttl(key)).toSatisfy(isJustUnder(59 * minute))
  })

  it('L4, L10: refreshes nothing for a secret that was rotated out', async () => {
    const { store, keyOf } = makeStore()
    const credential = await created(store)
    const rotates = { newSecretHash: newHash(), asksFor: 'secret' } as const
    await store.commit(credential, { ...emptyCommit, ...rotates }, policy)
    await idle(redis, keyOf(credential), 2 * minute)
    const before = await redis.get(keyOf(credential))

    expect(await store.load({ ...credential }, policy, true)).toEqual({ status: 'rotated' })
    await backgroundIsDone(redis)

    expect(await redis.get(keyOf(credential))).toBe(before)
  })

  it('L4: refreshes by what the session is now, where it has changed since the load', async () => {
    const gate = new Gate()
    const { prefix, keyOf, store: other } = makeStore()
    const store = new RedisStore(gate.client, { prefix })
    const credential = await created(store)
    await idle(redis, keyOf(credential), 2 * minute)

    gate.hold()
    await store.load(credential, policy, true)
    await gate.reached
    await other.commit({ ...credential }, { ...emptyCommit, idleTimeoutMs: 5 * minute }, policy)
    await gate.open()

    await vi.waitFor(() => expect(gate.sent.slice(-2)).toEqual(['getrange', 'evalsha']))
    await backgroundIsDone(redis)
    expect(await redis.pttl(keyOf(credential))).toSatisfy(isJustUnder(6 * minute))
  })

  it('L8: brings no session back by a refresh that comes after its end', async () => {
    const gate = new Gate()
    const { prefix, store: other } = makeStore()
    const store = new RedisStore(gate.client, { prefix })
    const credential = await created(store)
    await idle(redis, sessionKey(prefix, credential.id), 2 * minute)

    gate.hold()
    await store.load(credential, policy, true)
    await gate.reached
    await other.destroy(credential.id)
    await gate.open()
    await backgroundIsDone(redis)

    expect(await redis.keys(`${prefix}*`)).toEqual([])
  })

  it('S4: moves the time to live with the idle timeout, and with nothing else', async () => {
    const { store, keyOf } = makeStore()
    const credential = await created(store)
    const key = keyOf(credential)

    await store.commit(credential, { ...emptyCommit, idleTimeoutMs: 5 * minute }, policy)
    const shorter = await redis.pttl(key)
    await store.commit(credential, { ...emptyCommit, idleTimeoutMs: 100 * minute }, policy)
    const longer = await redis.pttl(key)
    await redis.pexpire(key, 10 * minute)
    await store.commit(credential, { ...emptyCommit, storage: storageOf({ a: '1' }) }, policy)
    await store.commit(credential, { ...emptyCommit, grants: grantsOf('a') }, policy)

    expect(shorter).toSatisfy(isJustUnder(6 * minute))
    expect(longer).toSatisfy(isJustUnder(101 * minute))
    expect(await redis.pttl(key)).toSatisfy(isJustUnder(10 * minute))
  })

  it('L5: lets Redis end a session at its absolute end, whatever keeps it alive', async () => {
    const { store, keyOf } = makeStore()
    const session = newSession({ idleTimeoutMs: 60 * minute })
    const { credential } = session
    const key = keyOf(credential)
    const expiry = { ...policy.expiry, absoluteTimeoutMs: 20 * minute }
    const short = { ...policy, expiry }
    const leftMs: number[] = []
    const note = async (): Promise<void> => {
      await backgroundIsDone(redis)
      leftMs.push((await redis.pttl(key)) + Date.now())
    }

    await store.create(session, short)
    const { endsAt } = (await sessionAt(redis, key)).record
    await note()
    await idle(redis, key, 2 * minute)
    await redis.pexpire(key, minute)
    await store.load(credential, short, true)
    await note()
    const longer = { ...emptyCommit, idleTimeoutMs: 90 * minute }
    await store.commit(credential, longer, short)
    await note()
    const otp = newHash()
    await store.commit(credential, { newOTP: { hash: otp, lifespanMs: minute } }, short)
    await store.commit(
      { id: credential.id, secretHash: '' },
      { redeemsOTP: otp, newSecretHash: newHash() },
      short,
    )
    await note()

    // The clocks of Redis and of this test are the same, but for the way.
    for (const at of leftMs) expect(Math.abs(at - endsAt)).toBeLessThan(1000)
    expect(leftMs).toHaveLength(4)
  })

  it('L5: counts the end anew from a sign-in, and the time to live with it', async () => {
    const { store, keyOf } = makeStore()
    const session = newSession({ idleTimeoutMs: 60 * minute })
    const key = keyOf(session.credential)
    await store.create(session, policy)
    await rewrite(redis, key, (before) => ({
      ...before,
      record: { ...before.record, endsAt: Date.now() + minute },
    }))
    await redis.pexpire(key, minute)

    await store.commit(session.credential, signIn(), policy)

    expect(await redis.pttl(key)).toSatisfy(isJustUnder(61 * minute))
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

    const { secrets } = await sessionAt(redis, keyOf(credential))
    const text = JSON.stringify([
      await redis.keys(`${prefix}*`),
      await redis.get(keyOf(credential)),
    ])
    expect(secrets.map(({ hash, rotatedAt }) => [hash, rotatedAt > 0])).toEqual([
      [first.secretHash, true],
      [next.secretHash, false],
    ])
    expect(text).toContain(next.secretHash)
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

    const stored = (await redis.get(keyOf(credential))) ?? ''
    const lines = stored.split('\n')
    const escaped = String.raw`\n__proto__\r\n\u0000\"` + '\u2028' + String.raw`\n`
    expect(stored).not.toMatch(/[\r\0]/)
    expect(lines.slice(1)).toEqual([
      `${escaped}\t${JSON.stringify(text)}`,
      `${escaped}2\t${JSON.stringify(text)}`,
    ])
    expect(lines[0]?.split('\t')).toEqual(
      expect.arrayContaining([`u${escaped}2`, `p${escaped}`, `r${escaped}`]),
    )
    expect(await read(store, credential.id)).toMatchObject({
      userName: `${text}2`,
      privileges: [text],
      roles: [text],
    })
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

    const stored = await sessionAt(redis, keyOf(credential))
    const { storage } = stored.record
    expect(outcomes).toEqual(outcomesInMemory)
    expect(new Set(outcomes)).toEqual(new Set(['committed', 'tooLarge']))
    expect(storage.size).toBe([...storage].length)
    expect(storedSize(storage)).toBeLessThanOrEqual(120)
    const loaded = await store.load(credential, limited, true)
    expect(new Map(loaded?.status === 'live' ? loaded.record.storage : [])).toEqual(
      new Map(await storageIn(memory, credential)),
    )
  })

  it.each([
    ['a word', (key) => redis.set(key, 'k:abc')],
    ['an empty text', (key) => redis.set(key, '')],
    ['a hash, as rc.1 stored it', (key) => redis.hset(key, { v: '1 web', u: 'ann', i: '1' })],
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
    'F6: reads a session with %s as unreadable, again and again, and changes nothing',
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

  it('F6: lists no session that is damaged, and ends it', async () => {
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

  it('F7: keeps sessions working on a Redis that is full, their refresh too', async () => {
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

  it('F7: removes names and takes rights away on a Redis that is full', async () => {
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
      // Longer than before: the secret that goes is remembered for a while.
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
      'is a replica that lost its master and must not answer with what it has',
      async (client: Redis) => {
        await client.config('SET', 'replica-serve-stale-data', 'no')
        await makeReadOnly(client)
      },
    ],
    [
      'forbids the client to read texts',
      (client: Redis) => client.call('ACL', 'SETUSER', 'default', '-get', '-getrange'),
    ],
  ])('F1: takes no session for absent when Redis %s', async (_, breakIt) => {
    const { client } = await startServer()
    const store = new RedisStore(client)
    const credential = await created(store)
    await breakIt(client)

    const errors = await rejectionsOf([
      store.load(credential, policy, true),
      touch(store, credential, policy),
      // This one has seen nothing yet.
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
  ])('H2: tells nothing of what was stored when Redis %s', async (_, args, breakIt) => {
    const { client } = await startServer({ args })
    const store = new RedisStore(client)
    const session = secretSession()
    const { credential } = session
    // One that cannot run a script has it from before.
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
  ])('F1: rejects when %s gets an answer that no script gives', async (_, call) => {
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

/** A client that can hold back what it is asked for by a script. */
class Gate {
  readonly sent: string[] = []
  readonly client: RedisClient
  reached: Promise<void> = Promise.resolve()
  open: () => Promise<void> = () => Promise.resolve()
  #held: Promise<void> | undefined
  #reach = (): void => {}

  constructor() {
    this.client = {
      get: (key) => this.#send('get', () => redis.get(key)),
      getrange: (...args) => this.#send('getrange', () => redis.getrange(...args)),
      evalsha: (...args) => this.#send('evalsha', () => redis.evalsha(...args)),
      eval: (...args) => this.#send('eval', () => redis.eval(...args)),
    }
  }

  /** From now on scripts wait until it is opened. */
  hold(): void {
    this.reached = new Promise((resolve) => {
      this.#reach = resolve
    })
    this.#held = new Promise((resolve) => {
      this.open = async () => {
        this.#held = undefined
        resolve()
      }
    })
  }

  async #send<T>(name: string, send: () => Promise<T>): Promise<T> {
    if (this.#held && name === 'evalsha') {
      this.#reach()
      await this.#held
    }
    this.sent.push(name)
    return send()
  }
}

function commitOf(store: SessionStore, commit: SessionCommit): Promise<unknown> {
  return store.commit({ id: newSessionId(), secretHash: '' }, commit, policy)
}

/** As it is stored. */
function storedFor(session: NewSession): StoredSession {
  const stored = newStoredSession(session, Date.now(), policy)
  if (!stored) throw new Error('too large')
  return stored
}

function grantsOf(...privileges: readonly string[]): GrantChanges {
  return { clears: false, userName: undefined, privileges, roles: [], signsIn: false }
}

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
  const loaded = await store.load(credential, policy, true)
  const seen = loaded?.status === 'live' ? loaded.seen : undefined
  await store.commit(credential, { ...emptyCommit, seen, storage: storageOf({ a: '1' }) }, policy)
  await touch(store, credential, policy)
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
