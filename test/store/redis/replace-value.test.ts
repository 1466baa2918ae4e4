import { RedisStore } from 'koa-user-sessions'
import type { SessionStore } from 'koa-user-sessions'
import type { SessionCredential } from 'koa-user-sessions/store'
import { describe, expect, it } from 'vitest'

import { RedisConnection } from '../../../src/store/redis/connection.ts'
import { sessionKey } from '../../../src/store/redis/keys.ts'
import { replaceValue } from '../../../src/store/redis/scripts/replace-value.ts'
import { connectRedis, uniquePrefix } from '../../support/redis-client.ts'
import { startRedisServer } from '../../support/redis-server.ts'
import { SteppedRedis } from '../../support/round-trips.ts'
import {
  awkwardTexts,
  created,
  draftOf,
  granting,
  policy,
  rotated,
  setting,
  storageOf,
} from '../contract-parts.ts'

const redis = connectRedis()
const texts = new Map([
  ['a', '"one"'],
  ['b', '{"name":"ümläut"}'],
  ['c', '"three"'],
])

describe('a value that keeps its length', () => {
  it('T3, L3: is replaced in place, by one script', async () => {
    const { store, stepped, credential } = await setUp()
    const seen = await seenBy(store, credential)

    const { trips } = await stepped.roundTrips(() =>
      store.commit(credential, { ...setting({ c: '"THREE"' }), seen }, policy),
    )

    expect(trips).toEqual([['replace']])
    expect(await storageOf(store, credential)).toEqual({
      a: '"one"',
      b: '{"name":"ümläut"}',
      c: '"THREE"',
    })
  })

  it('T3: can be changed repeatedly by one request', async () => {
    const { store, stepped, credential } = await setUp()
    let seen = await seenBy(store, credential)
    const change = async (json: string): Promise<void> => {
      const outcome = await store.commit(credential, { ...setting({ a: json }), seen }, policy)
      seen = Reflect.get(outcome, 'seen')
    }

    const { trips } = await stepped.roundTrips(async () => {
      await change('"two"')
      await change('"six"')
    })

    expect(trips).toEqual([['replace'], ['replace']])
    expect(await storageOf(store, credential)).toMatchObject({ a: '"six"' })
  })

  it.each(awkwardTexts)('H1: is found under the name with %s, and holds it', async (_, text) => {
    const name = text.isWellFormed() ? text : 'lone'
    const json = JSON.stringify(text)
    const other = JSON.stringify('x'.repeat(Buffer.byteLength(json) - 2))
    const { store, credential } = await setUp(
      new Map([
        [name, json],
        ['z', '1'],
      ]),
    )
    const seen = await seenBy(store, credential)

    await store.commit(credential, { ...setting({ [name]: other }), seen }, policy)

    expect(Object.entries(await storageOf(store, credential))).toEqual([
      [name, other],
      ['z', '1'],
    ])
  })

  it.each([
    ['was moved by another change', setting({ a: '"a longer one"' })],
    ['was removed', setting({}, ['b'])],
    ['has another length now', setting({ b: '1' })],
  ])('T3: is replaced at the right place when it %s', async (_, meanwhile) => {
    const { store, credential } = await setUp()
    const seen = await seenBy(store, credential)
    await store.commit(credential, meanwhile, policy)

    const outcome = await store.commit(
      credential,
      { ...setting({ b: '{"name":"ÄMLÄUT"}' }), seen },
      policy,
    )

    expect(outcome.status).toBe('committed')
    const storage = await storageOf(store, credential)
    expect(storage).toMatchObject({ b: '{"name":"ÄMLÄUT"}', c: '"three"' })
    expect(storage['a']).toBe(meanwhile.storage?.set.get('a') ?? '"one"')
  })

  it('C5, L8: is not changed when the secret was rotated out long ago, or the session has ended', async () => {
    const { store, credential, prefix } = await setUp()
    const seen = await seenBy(store, credential)
    await rotated(store, credential)
    const key = sessionKey(prefix, credential.id)

    const merged = await store.commit(credential, { ...setting({ a: '"two"' }), seen }, policy)
    await store.destroy(credential.id)
    const ended = await store.commit(credential, { ...setting({ a: '"six"' }), seen }, policy)

    // A moment ago: plain changes still merge.
    expect(merged.status).toBe('merged')
    expect(ended).toEqual({ status: 'ended' })
    expect(await redis.exists(key)).toBe(0)
  })

  it('P2: is changed together with rights by the commit script', async () => {
    const { store, stepped, credential } = await setUp()
    const seen = await seenBy(store, credential)
    const { grants } = granting({ privileges: ['read'] })

    const { trips } = await stepped.roundTrips(() =>
      store.commit(credential, { ...setting({ a: '"two"' }), grants, seen }, policy),
    )

    expect(trips).toEqual([['commit']])
    expect(await storageOf(store, credential)).toMatchObject({ a: '"two"' })
  })

  it('T3: takes the later of two commits, and loses no change to another name', async () => {
    const { store, credential } = await setUp(
      new Map([
        ['a', '100'],
        ['b', '100'],
      ]),
    )

    await Promise.all(
      Array.from({ length: 200 }, async (_, index) => {
        const seen = await seenBy(store, credential)
        const name = index % 2 === 0 ? 'a' : 'b'
        await store.commit(
          credential,
          { ...setting({ [name]: String(100 + index) }), seen },
          policy,
        )
      }),
    )

    const storage = await storageOf(store, credential)
    expect(Number(storage['a']) % 2).toBe(0)
    expect(Number(storage['b']) % 2).toBe(1)
  })

  it('F7: is accepted by a full Redis', async () => {
    const server = await startRedisServer()
    const client = connectRedis(server.url)
    const store = new RedisStore(client)
    const credential = await created(store, draftOf({ storage: texts }))
    const seen = await seenBy(store, credential)
    await client.config('SET', 'maxmemory', '1')

    const outcome = await store.commit(credential, { ...setting({ a: '"two"' }), seen }, policy)

    expect(outcome.status).toBe('committed')
    expect(await storageOf(store, credential)).toMatchObject({ a: '"two"' })
    client.disconnect()
    await server.stop()
  })
})

describe('replace-value', () => {
  const text = '2a0mhwsoi680072\twxyz\tuann\na\t"one"\nb\t"two"'
  const call = { untilMs: 8_640_000_000_000_000, revision: '007', at: text.indexOf('\nb') }

  it.each([
    ['changes the value at its place', {}, ['\nb\t', '"six"'], 'committed'],
    [
      'changes the last and the first value',
      { at: text.indexOf('\na') },
      ['\na\t', '"six"'],
      'committed',
    ],
    ['refuses another revision', { revision: '008' }, ['\nb\t', '"six"'], 'changed'],
    ['refuses another name', {}, ['\nc\t', '"six"'], 'changed'],
    ['refuses another place', { at: text.indexOf('\nb') - 1 }, ['\nb\t', '"six"'], 'changed'],
    ['refuses a place in the head', { at: 0 }, ['\nb\t', '"six"'], 'changed'],
    ['refuses a place behind the end', { at: 1000 }, ['\nb\t', '"six"'], 'changed'],
    ['refuses a longer value', {}, ['\nb\t', '"seven"'], 'changed'],
    ['refuses a shorter value', {}, ['\nb\t', '"s"'], 'changed'],
    [
      'refuses a longer value before another name',
      { at: text.indexOf('\na') },
      ['\na\t', '"seven"'],
      'changed',
    ],
    ['refuses what is too late', { untilMs: 1 }, ['\nb\t', '"six"'], 'late'],
  ] as const)('C5, T3, F5: %s', async (_, args, [name, json], status) => {
    const session = `${uniquePrefix()}{s}`
    await redis.set(session, text)

    const replaced = await new RedisConnection(redis).run(replaceValue, {
      keys: { session },
      args: { ...call, ...args },
      rest: [name, json],
    })

    expect(replaced.status).toBe(status)
    const { at } = { ...call, ...args }
    const after = text.slice(0, at) + name + json + text.slice(at + name.length + json.length)
    expect(await redis.get(session)).toBe(status === 'committed' ? after : text)
    await redis.del(session)
  })

  it.each(['a hash', 'nothing', 'a text of another version'])(
    'F6: does not change %s',
    async (kind) => {
      const session = `${uniquePrefix()}{s}`
      if (kind === 'a hash') await redis.hset(session, 'a', '1')
      if (kind === 'a text of another version') await redis.set(session, `3${text.slice(1)}`)
      const before = await redis.dump(session)

      const replaced = await new RedisConnection(redis).run(replaceValue, {
        keys: { session },
        args: call,
        rest: ['\nb\t', '"six"'],
      })

      expect(replaced).toEqual({ status: 'changed' })
      expect(await redis.dump(session)).toEqual(before)
      await redis.del(session)
    },
  )
})

async function setUp(storage: ReadonlyMap<string, string> = texts): Promise<{
  readonly store: SessionStore
  readonly stepped: SteppedRedis
  readonly credential: SessionCredential
  readonly prefix: string
}> {
  const prefix = uniquePrefix()
  const stepped = new SteppedRedis(redis)
  const store = new RedisStore(stepped, { prefix })
  // So that Redis knows the scripts.
  const first = await created(store, draftOf({ storage: texts }))
  await store.commit(
    first,
    { ...setting({ a: '"two"' }), seen: await seenBy(store, first) },
    policy,
  )
  await store.commit(first, setting({ a: '"longer"' }), policy)
  await store.destroy(first.id)
  return { store, stepped, prefix, credential: await created(store, draftOf({ storage })) }
}

async function seenBy(store: SessionStore, credential: SessionCredential): Promise<unknown> {
  const outcome = await store.load(credential, policy, false)
  return outcome?.status === 'live' ? outcome.seen : undefined
}
