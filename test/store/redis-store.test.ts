import { MemoryStore, RedisStore } from 'koa-user-sessions'
import type { SessionStore } from 'koa-user-sessions'
import type { SessionCredential, StorageChanges } from 'koa-user-sessions/store'
import { describe, expect, it, vi } from 'vitest'

import { newSecret, newSessionId } from '../../src/cookie/cookie.ts'
import { sessionKey } from '../../src/store/redis/keys.ts'
import { storedSize } from '../../src/store/storage-texts.ts'
import {
  created,
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
import { countCommands } from '../support/command-count.ts'
import { uniquePrefix } from '../support/redis-client.ts'
import { SteppedRedis } from '../support/round-trips.ts'
import { backgroundIsDone, passRedisTime } from '../support/time.ts'
import { newHash, read, touch } from './contract-parts.ts'
import { idle, sessionAt } from './redis/stored-texts.ts'
import { describeSessionStore } from './session-store-contract.ts'

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
  it('T2: keeps a session in one string under its prefix and id, and in no other key', async () => {
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

  it('M11: does not close the client of the app when it is closed', async () => {
    const { store } = makeStore()

    await store.close()

    expect(await redis.ping()).toBe('PONG')
  })

  it('L3: sends one command per call, and a plain GET for a read', async () => {
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

  it('L3: reads only the head to change a session that the request has not loaded', async () => {
    const stepped = new SteppedRedis(redis)
    const store = new RedisStore(stepped, { prefix: uniquePrefix() })
    const { id, secretHash } = await created(store)

    const first = await stepped.roundTrips(() =>
      store.commit({ id, secretHash }, { ...emptyCommit, storage: storageOf({ a: '1' }) }, policy),
    )

    expect(first.trips).toEqual([['getrange'], ['commit']])
  })

  it('C5, L3: computes a change again, with one more script, when another came before', async () => {
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

  it('C1, C5: never accepts an old secret, whatever the request has seen', async () => {
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

  it('L8, C1: never mistakes a session for another one with the same id', async () => {
    const { store } = makeStore()
    const credential = await created(store, { userName: 'ann' })
    const since = Date.now()
    await store.load(credential, policy, true)
    await store.destroy(credential.id)
    // Their instants distinguish them.
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

  it('T7: counts keys and bytes like MemoryStore, over 400 random commits', async () => {
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
})

/** Calls all methods except create, and the one that ends the session last. */
async function callAll(store: SessionStore, credential: SessionCredential): Promise<void> {
  const loaded = await store.load(credential, policy, true)
  const seen = loaded?.status === 'live' ? loaded.seen : undefined
  await store.commit(credential, { ...emptyCommit, seen, storage: storageOf({ a: '1' }) }, policy)
  await touch(store, credential, policy)
  await store.destroy(credential.id)
}

/** The same numbers each time, from 0 to 1. */
function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    // The constants are from Numerical Recipes.
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
