import { setImmediate as nextTurn } from 'node:timers/promises'

import { MemoryStore } from 'koa-user-sessions'
import { unknownClient } from 'koa-user-sessions/store'
import type { RecordDraft, SessionCredential, StorePolicy } from 'koa-user-sessions/store'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { newCredential, newHash, touch } from './contract-parts.ts'
import { describeSessionStore } from './session-store-contract.ts'

const minute = 60_000

const policy: StorePolicy = {
  expiry: { refreshMs: minute, absoluteTimeoutMs: Infinity },
  limits: { storageBytes: 1000, storageKeys: 10 },
  maxSessions: undefined,
  timeoutMs: 1000,
}

const draft: RecordDraft = {
  type: 'web',
  ip: '',
  client: unknownClient,
  idleTimeoutMs: 60 * minute,
  userName: '',
  privileges: [],
  roles: [],
  storage: new Map(),
}

/** Freezes `Date`, and nothing else. */
function stopTime(): void {
  vi.useFakeTimers({ toFake: ['Date'] })
  onTestFinished(() => {
    vi.useRealTimers()
  })
}

function passTime(ms: number): void {
  vi.setSystemTime(Date.now() + ms)
}

async function created(store: MemoryStore): Promise<SessionCredential> {
  const credential = newCredential()
  await store.create({ credential, draft, signsIn: false }, policy)
  return credential
}

/** For each session, whether it is live. */
async function areLive(
  store: MemoryStore,
  credentials: readonly SessionCredential[],
): Promise<boolean[]> {
  const outcomes = await Promise.all(
    credentials.map(async (credential) => store.load(credential, policy, false)),
  )
  return outcomes.map((outcome) => outcome?.status === 'live')
}

describeSessionStore(
  'MemoryStore',
  () => {
    stopTime()
    return {
      store: new MemoryStore(),
      async passTime(ms) {
        passTime(ms)
      },
    }
  },
  { describe, expect, it },
)

describe('MemoryStore', () => {
  it('ends the least recently used session when there is one too many', async () => {
    const store = new MemoryStore({ capacity: 3 })
    const sessions = [await created(store), await created(store), await created(store)]

    sessions.push(await created(store))
    sessions.push(await created(store))

    expect(await areLive(store, sessions)).toEqual([false, false, true, true, true])
  })

  it.each([
    ['a load', async (store, credential) => store.load(credential, policy, true)],
    ['a touch', (store, credential) => touch(store, credential, policy)],
    [
      'a commit',
      (store, credential) =>
        store.commit(
          credential,
          {
            storage: { set: new Map([['a', '1']]), removed: [] },
            idleTimeoutMs: undefined,
            grants: undefined,
            userName: '',
            newSecretHash: undefined,
            asksFor: undefined,
          },
          policy,
        ),
    ],
  ] satisfies [string, (store: MemoryStore, credential: SessionCredential) => Promise<unknown>][])(
    'counts %s as a use',
    async (_, use) => {
      const store = new MemoryStore({ capacity: 2 })
      const used = await created(store)
      const unused = await created(store)

      await use(store, used)
      const last = await created(store)

      expect(await areLive(store, [used, unused, last])).toEqual([true, false, true])
    },
  )

  it('keeps 100 000 sessions by default', { timeout: 30_000 }, async () => {
    const store = new MemoryStore()
    const secretHash = newHash()
    const sessions = Array.from({ length: 100_001 }, (_, index) => ({
      id: String(index),
      secretHash,
    }))

    for (const credential of sessions) {
      await store.create({ credential, draft, signsIn: false }, policy)
    }

    expect(await areLive(store, sessions.slice(0, 2))).toEqual([false, true])
  })

  it('L4: keeps a session up to the last millisecond and no longer', async () => {
    stopTime()
    const store = new MemoryStore()
    const credential = await created(store)

    passTime(61 * minute)
    const atTheEnd = await areLive(store, [credential])
    passTime(1)

    expect(atTheEnd).toEqual([true])
    expect(await areLive(store, [credential])).toEqual([false])
  })

  it('F8: expires sessions without a timer', async () => {
    stopTime()
    // A timer of the test runner may be due, and would be missing afterwards.
    while (timerCount() > 0) await nextTurn()
    // A timer that does not keep the process alive is not an active resource.
    const starts = [vi.spyOn(globalThis, 'setTimeout'), vi.spyOn(globalThis, 'setInterval')]
    onTestFinished(() => {
      vi.restoreAllMocks()
    })
    const timersBefore = timerCount()
    const store = new MemoryStore()

    const credential = await created(store)
    passTime(30 * minute)
    await store.load(credential, policy, true)
    const timersMeanwhile = timerCount()
    passTime(62 * minute)
    const loaded = await store.load(credential, policy, true)

    expect(loaded).toBeUndefined()
    expect([timersMeanwhile, timerCount()]).toEqual([timersBefore, timersBefore])
    for (const start of starts) expect(start).not.toHaveBeenCalled()
  })

  it('M2: does not list a session under another user who had its id before', async () => {
    stopTime()
    const store = new MemoryStore()
    const credential = newCredential()
    const anns = { credential, draft: { ...draft, userName: 'ann' }, signsIn: true }
    await store.create(anns, policy)
    passTime(62 * minute)

    await store.create({ ...anns, draft: { ...draft, userName: 'bob' } }, policy)

    expect(await store.list('ann')).toEqual([])
    expect(await store.list('bob')).toHaveLength(1)
  })

  it('M11: releases all sessions when it is closed', async () => {
    const store = new MemoryStore()
    const sessions = [await created(store), await created(store)]

    await store.close()

    expect(await areLive(store, sessions)).toEqual([false, false])
  })

  it.each([0, -1, 1.5, NaN, Infinity, 2 ** 24 + 1, 2 ** 31, 2 ** 53, '5', null, {}])(
    'refuses %s as capacity',
    (capacity) => {
      expect(() => Reflect.construct(MemoryStore, [{ capacity }])).toThrow(
        expect.objectContaining({
          code: 'ERR_SESSION_OPTION',
          message: expect.stringContaining('"capacity" option must be'),
        }),
      )
    },
  )

  it('accepts one as capacity', async () => {
    const store = new MemoryStore({ capacity: 1 })

    const sessions = [await created(store), await created(store)]

    expect(await areLive(store, sessions)).toEqual([false, true])
  })
})

function timerCount(): number {
  return process.getActiveResourcesInfo().filter((resource) => resource === 'Timeout').length
}

it('reads while an app fakes its timers', async () => {
  const store = new MemoryStore()
  const credential = await created(store)
  vi.useFakeTimers()
  onTestFinished(() => {
    vi.useRealTimers()
  })

  expect(await store.load(credential, policy, false)).toMatchObject({ status: 'live' })
})
