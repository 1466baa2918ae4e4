import { MemoryStore, RedisStore, SessionStoreError } from 'koa-user-sessions'
import type { SessionStore } from 'koa-user-sessions'
import { unknownClient } from 'koa-user-sessions/store'
import type { NewSession, SessionCommit, SessionLock, StorePolicy } from 'koa-user-sessions/store'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { DeadlineStore, storeOperations } from '../../src/store/deadline-store.ts'
import type { StoreOperation } from '../../src/store/session-store.ts'
import { connectRedis } from '../support/redis-client.ts'

const timeoutMs = 1000

const policy: StorePolicy = {
  expiry: { refreshMs: 60_000, absoluteTimeoutMs: Infinity },
  limits: { storageBytes: 1000, storageKeys: 10 },
  maxSessions: undefined,
  timeoutMs: 1000,
}

const credential = { id: '5f0c1c0e-7d3b-4a53-9d5a-3f6d1f0a7b11', secretHash: 'hash' }

const session: NewSession = {
  credential,
  draft: {
    type: 'web',
    ip: '',
    client: unknownClient,
    idleTimeoutMs: 60_000,
    userName: '',
    privileges: [],
    roles: [],
    storage: new Map(),
  },
  signsIn: false,
}

const commit: SessionCommit = {
  storage: undefined,
  idleTimeoutMs: undefined,
  grants: undefined,
  userName: '',
  newSecretHash: undefined,
  asksFor: undefined,
}

const lock: SessionLock = { token: 'token', leaseMs: 1000 }

const operations = [
  ['create', (store: SessionStore) => store.create(session, policy)],
  ['load', async (store: SessionStore) => store.load(credential, policy, true)],
  ['commit', (store: SessionStore) => store.commit(credential, commit, policy)],
  ['lock', (store: SessionStore) => store.lock(credential, lock)],
  ['list', (store: SessionStore) => store.list('ann', policy)],
  ['destroy', (store: SessionStore) => store.destroy(credential.id, 'ann')],
] satisfies [StoreOperation, (store: SessionStore) => Promise<unknown>][]

async function loadFrom(store: SessionStore): Promise<unknown> {
  return store.load(credential, policy, true)
}

describe('DeadlineStore', () => {
  it('F1: has a deadline for each store method that can fail', () => {
    const { store } = controlledStore()

    expect(Object.keys(store).toSorted()).toEqual(operations.map(([name]) => name).toSorted())
    expect(storeOperations.toSorted()).toEqual(Object.keys(store).toSorted())
  })

  it.each(operations)('F1: passes on what %s returns in time', async (operation, call) => {
    stopTime()
    const { store, answers, calls, errors } = controlledStore()
    const answer = { status: 'committed', now: 1 }

    const outcome = call(store)
    await vi.advanceTimersByTimeAsync(timeoutMs - 1)
    answers[0]?.resolve(answer)

    expect(await outcome).toBe(answer)
    expect(calls.map(([name]) => name)).toEqual([operation])
    expect(errors).toEqual([])
    expect(vi.getTimerCount()).toBe(0)
  })

  it.each(operations)('F1: rejects when %s has not answered in time', async (operation, call) => {
    stopTime()
    const { store, errors } = controlledStore()

    const outcome = settled(call(store))
    await vi.advanceTimersByTimeAsync(timeoutMs - 1)
    const early = outcome.result
    await vi.advanceTimersByTimeAsync(1)

    expect(early).toBeUndefined()
    expect(outcome.result).toMatchObject({
      status: 'rejected',
      reason: { code: 'ERR_SESSION_STORE', status: 503, headers: { 'Retry-After': '1' } },
    })
    expect(outcome.result?.reason).toBeInstanceOf(SessionStoreError)
    expect(errors).toEqual([[operation, outcome.result?.reason]])
    expect(vi.getTimerCount()).toBe(0)
  })

  it('F1: gives each call its own deadline', async () => {
    stopTime()
    const { store, answers } = controlledStore()

    const first = settled(store.destroy('1'))
    await vi.advanceTimersByTimeAsync(600)
    const next = settled(store.destroy('2'))
    await vi.advanceTimersByTimeAsync(600)
    answers[1]?.resolve(true)
    await vi.advanceTimersByTimeAsync(0)

    expect(first.result?.status).toBe('rejected')
    expect(next.result).toEqual({ status: 'fulfilled', value: true })
    expect(vi.getTimerCount()).toBe(0)
  })

  it('F1: also rejects in real time', async () => {
    const { store } = controlledStore(5)

    await expect(store.destroy('1')).rejects.toBeInstanceOf(SessionStoreError)
  })

  it('F1: accepts an answer that this process was too busy to read in time', async () => {
    const redisStore = new RedisStore(connectRedis())
    // The connection may take time.
    await redisStore.load(credential, policy, false)
    const store = new DeadlineStore(redisStore, 50, () => {})

    const answers = Array.from({ length: 5 }, async () => store.load(credential, policy, false))
    // Sends them, then reads nothing until long after the deadline.
    await turn()
    const until = performance.now() + 500
    while (performance.now() < until);

    expect(new Set(await Promise.all(answers))).toEqual(new Set([undefined]))
    await turn()
    expect(await redisStore.load(credential, policy, false)).toBeUndefined()
  })

  it('F8: drops an answer and an error that arrive too late', async () => {
    const unhandled: unknown[] = []
    const note = (reason: unknown): void => {
      unhandled.push(reason)
    }
    process.on('unhandledRejection', note)
    onTestFinished(() => {
      process.off('unhandledRejection', note)
    })
    stopTime()
    const { store, answers, errors } = controlledStore()
    const outcomes = [settled(store.destroy('1')), settled(loadFrom(store))]
    await vi.advanceTimersByTimeAsync(timeoutMs)
    const atTheDeadline = outcomes.map(({ result }) => result)

    answers[0]?.resolve(true)
    answers[1]?.reject(new Error('too late'))
    // Node reports unhandled rejections before these callbacks.
    await turn()

    expect(unhandled).toEqual([])
    expect(errors).toHaveLength(2)
    expect(outcomes.map(({ result }) => result)).toEqual(atTheDeadline)
    expect(atTheDeadline.map((result) => result?.status)).toEqual(['rejected', 'rejected'])
  })

  it('F8: leaves no timer behind, whether the store answers or rejects', async () => {
    stopTime()
    const { store, answers } = controlledStore()
    const outcomes = [settled(store.destroy('1')), settled(store.destroy('2'))]
    const timersMeanwhile = vi.getTimerCount()

    answers[0]?.resolve(true)
    answers[1]?.reject(new Error('broken'))
    await vi.advanceTimersByTimeAsync(0)

    expect(timersMeanwhile).toBe(2)
    expect(outcomes.map(({ result }) => result?.status)).toEqual(['fulfilled', 'rejected'])
    expect(vi.getTimerCount()).toBe(0)
  })

  it.each(operations)('F1: wraps the rejection of %s', async (operation, call) => {
    const { store, answers, errors } = controlledStore()
    const cause = new TypeError('broken')

    const outcome = settled(call(store))
    answers[0]?.reject(cause)
    await vi.waitFor(() => expect(outcome.result).toBeDefined())

    const reason = outcome.result?.reason
    expect(reason).toBeInstanceOf(SessionStoreError)
    expect(reason).toMatchObject({ code: 'ERR_SESSION_STORE', status: 503, cause })
    expect(errors).toEqual([[operation, reason]])
  })

  it('F1: wraps an error that is thrown synchronously', async () => {
    stopTime()
    const cause = new Error('broken')
    const errors: unknown[] = []
    const broken = Object.assign(new MemoryStore(), {
      destroy() {
        throw cause
      },
    })
    const store = new DeadlineStore(broken, timeoutMs, (...told) => errors.push(told))

    await expect(store.destroy('1')).rejects.toMatchObject({ code: 'ERR_SESSION_STORE', cause })

    expect(errors).toHaveLength(1)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('passes on an error of the store unchanged', async () => {
    const { store, answers, errors } = controlledStore()
    const error = new SessionStoreError('Redis failed: READONLY')

    const outcome = settled(loadFrom(store))
    answers[0]?.reject(error)
    await vi.waitFor(() => expect(outcome.result).toBeDefined())

    expect(outcome.result?.reason).toBe(error)
    expect(errors).toEqual([['load', error]])
  })

  it('passes on all arguments', async () => {
    const { store, calls, answers } = controlledStore()

    const outcomes = operations.map(([, call]) => call(store))
    for (const answer of answers) answer.resolve(undefined)
    await Promise.all(outcomes)

    expect(calls).toEqual([
      ['create', session, policy],
      ['load', credential, policy, true],
      ['commit', credential, commit, policy],
      ['lock', credential, lock],
      ['list', 'ann', policy],
      ['destroy', credential.id, 'ann'],
    ])
  })

  it('M11: closes the store', async () => {
    const { store, calls, answers } = controlledStore()

    const closed = store.close()
    answers[0]?.resolve(undefined)
    await closed

    expect(calls).toEqual([['close']])
  })
})

interface Answer {
  resolve(answer: unknown): void
  reject(reason: unknown): void
}

interface ControlledStore {
  readonly store: SessionStore
  /** The calls of the inner store, with their arguments. */
  readonly calls: readonly (readonly unknown[])[]
  /** One for each call; it stays pending until the test settles it. */
  readonly answers: readonly Answer[]
  /** The calls of `onError`. */
  readonly errors: readonly (readonly [StoreOperation, SessionStoreError])[]
}

/** A store with a deadline around one that answers when the test says so. */
function controlledStore(deadlineMs = timeoutMs): ControlledStore {
  const calls: unknown[][] = []
  const answers: Answer[] = []
  const errors: [StoreOperation, SessionStoreError][] = []
  const method =
    (name: string) =>
    (...args: unknown[]): Promise<never> => {
      calls.push([name, ...args])
      return new Promise<never>((resolve, reject) => {
        answers.push({ resolve: (answer) => Reflect.apply(resolve, undefined, [answer]), reject })
      })
    }
  const inside: SessionStore = {
    create: method('create'),
    load: method('load'),
    commit: method('commit'),
    lock: method('lock'),
    list: method('list'),
    destroy: method('destroy'),
    close: method('close'),
  }
  const store = new DeadlineStore(inside, deadlineMs, (operation, error) => {
    errors.push([operation, error])
  })
  return { store, calls, answers, errors }
}

/** Makes timers stand still. */
function stopTime(): void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  onTestFinished(() => {
    vi.useRealTimers()
  })
}

interface Settled {
  /** `undefined` while the promise is pending. */
  result?: { readonly status: string; readonly value?: unknown; readonly reason?: unknown }
}

/** Watches a promise. */
function settled(promise: Promise<unknown>): Settled {
  const watched: Settled = {}
  const watch = async (): Promise<void> => {
    const [result] = await Promise.allSettled([promise])
    watched.result = result
  }
  void watch()
  return watched
}

/** Waits for one turn of the event loop. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}
