import { RedisStore } from 'koa-user-sessions'
import type { RedisClient } from 'koa-user-sessions'
import { describe, expect, it, vi } from 'vitest'

import { sessionKey } from '../../src/store/redis/keys.ts'
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
  storageOf,
} from '../support/bare-redis-store.ts'
import { uniquePrefix } from '../support/redis-client.ts'
import { SteppedRedis } from '../support/round-trips.ts'
import { backgroundIsDone } from '../support/time.ts'
import { newHash, touch } from './contract-parts.ts'
import { idle, rewrite, sessionAt } from './redis/stored-texts.ts'

/** A client that can hold back its script calls. */
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

describe('RedisStore', () => {
  it('L4: lets Redis expire a session after its idle timeout plus the refresh time', async () => {
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

  it('L4: writes nothing for a request while the time to live covers the idle timeout', async () => {
    const { store, keyOf } = makeStore()
    const credential = await created(store)
    await redis.pexpire(keyOf(credential), 60 * minute + 20_000)
    const before = await dumpOf(keyOf(credential))

    await store.load(credential, policy, true)
    await touch(store, credential, policy)

    expect(await dumpOf(keyOf(credential))).toEqual(before)
    expect(await redis.pttl(keyOf(credential))).toSatisfy(isJustUnder(60 * minute + 20_000))
  })

  it('L4: sends a refresh as one script after the load, and does not wait for it', async () => {
    const stepped = new SteppedRedis(redis)
    const prefix = uniquePrefix()
    const store = new RedisStore(stepped, { prefix })
    const credential = await created(store)
    const key = sessionKey(prefix, credential.id)
    await idle(redis, key, 2 * minute)

    const asked = await stepped.roundTrips(() => store.load(credential, policy, true))

    expect(asked).toEqual({ trips: [['get']], unanswered: ['refresh'] })
  })

  it('L4: writes only the activity and the time to live for a refresh', async () => {
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

  it('L4: refreshes once for many requests, since the first writes the activity', async () => {
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

  it('L4: refreshes with the current session when it has changed since the load', async () => {
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

  it('L8: brings no session back with a refresh that comes after its end', async () => {
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

  it('S4: moves the time to live with the idle timeout, and with no other change', async () => {
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

  it('L5: lets Redis end a session at its absolute end, whatever its activity', async () => {
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

    // The clocks of Redis and of this test are the same, except for the network delay.
    for (const at of leftMs) expect(Math.abs(at - endsAt)).toBeLessThan(1000)
    expect(leftMs).toHaveLength(4)
  })

  it('L5: restarts the absolute end at a sign-in, and the time to live with it', async () => {
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
})
