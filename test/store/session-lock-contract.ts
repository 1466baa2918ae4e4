import { randomUUID } from 'node:crypto'

import { lockTurnMs, unknownClient } from 'koa-user-sessions/store'
import type {
  CommitOutcome,
  LockOutcome,
  SessionCommit,
  SessionCredential,
  StorePolicy,
} from 'koa-user-sessions/store'

import { extendLock, read, recordIn, unlock } from './contract-parts.ts'
import type { Runner, StoreHarness } from './contract-parts.ts'

const policy: StorePolicy = {
  expiry: { refreshMs: 60_000, absoluteTimeoutMs: 86_400_000 },
  limits: { storageBytes: 1000, storageKeys: 4 },
  maxSessions: undefined,
  timeoutMs: 1000,
}
const leaseMs = 60_000

/**
 * What every store must do with the locks of sessions, and with reads by id.
 *
 * @param makeStore Makes an empty store for one test.
 * @param runner The functions of the test runner.
 */
export function describeSessionLocks(
  makeStore: () => StoreHarness | Promise<StoreHarness>,
  { describe, expect, it }: Runner,
): void {
  describe('lock', () => {
    it('grants a free lock, and returns the current session (T4)', async () => {
      const { store, credential } = await stored(makeStore())
      await store.commit(credential, writing({ color: '"red"' }), policy)

      const outcome = await store.lock(credential, { token: 'a', leaseMs })

      expect(outcome).toMatchObject({
        status: 'locked',
        record: { id: credential.id, userName: 'ann', privileges: ['admin'], type: 'web' },
      })
      expect(storageOf(outcome)).toEqual({ first: '1', color: '"red"' })
    })

    it('refuses all others while it is held (T4)', async () => {
      const { store, credential } = await stored(makeStore())
      await store.lock(credential, { token: 'a', leaseMs })

      expect(await store.lock(credential, { token: 'b', leaseMs })).toEqual({ status: 'busy' })
      expect(await store.lock(credential, { token: 'c', leaseMs })).toEqual({ status: 'busy' })
    })

    it('goes to exactly one of many that ask at once (T4)', async () => {
      const { store, credential } = await stored(makeStore())

      const outcomes = await Promise.all(
        Array.from({ length: 50 }, (_, index) =>
          store.lock(credential, { token: `token${index}`, leaseMs }),
        ),
      )

      expect(outcomes.filter((outcome) => outcome?.status === 'locked')).toHaveLength(1)
      expect(outcomes.filter((outcome) => outcome?.status === 'busy')).toHaveLength(49)
    })

    it('is separate for each session (T4)', async () => {
      const { store, credential, passTime } = await stored(makeStore())
      const { credential: another } = await stored({ store, passTime })
      await store.lock(credential, { token: 'a', leaseMs })

      expect((await store.lock(another, { token: 'b', leaseMs }))?.status).toBe('locked')
    })

    it('extends the lock for its holder, and returns the current session (T4)', async () => {
      const { store, credential, passTime } = await stored(makeStore())
      const lease = 50
      await store.lock(credential, { token: 'a', leaseMs: lease })
      await store.commit(credential, writing({ color: '"red"' }), policy)

      const again = await store.lock(credential, { token: 'a', leaseMs })

      expect(storageOf(again)).toEqual({ first: '1', color: '"red"' })
      await passTime(lease)
      expect((await store.lock(credential, { token: 'b', leaseMs }))?.status).toBe('busy')
    })

    it('goes first to the first that was refused (T4)', async () => {
      const { store, credential } = await stored(makeStore())
      await store.lock(credential, { token: 'a', leaseMs })
      await store.lock(credential, { token: 'b', leaseMs })
      await store.lock(credential, { token: 'c', leaseMs })

      await unlock(store, credential.id, 'a')

      expect((await store.lock(credential, { token: 'c', leaseMs }))?.status).toBe('busy')
      expect((await store.lock(credential, { token: 'a', leaseMs }))?.status).toBe('busy')
      expect((await store.lock(credential, { token: 'b', leaseMs }))?.status).toBe('locked')
    })

    it('reserves the lock only briefly for one that no longer asks (T4)', async () => {
      const { store, credential, passTime } = await stored(makeStore())
      await store.lock(credential, { token: 'a', leaseMs })
      await store.lock(credential, { token: 'gone', leaseMs })
      await unlock(store, credential.id, 'a')

      const early = await store.lock(credential, { token: 'c', leaseMs })
      await passTime(lockTurnMs)
      const late = await store.lock(credential, { token: 'c', leaseMs })

      expect([early?.status, late?.status]).toEqual(['busy', 'locked'])
    })

    it('goes to the second in the queue after the first had it (T4)', async () => {
      const { store, credential } = await stored(makeStore())
      await store.lock(credential, { token: 'a', leaseMs })
      await store.lock(credential, { token: 'b', leaseMs })
      await unlock(store, credential.id, 'a')
      await store.lock(credential, { token: 'b', leaseMs })
      await store.lock(credential, { token: 'c', leaseMs })

      await unlock(store, credential.id, 'b')

      expect((await store.lock(credential, { token: 'd', leaseMs }))?.status).toBe('busy')
      expect((await store.lock(credential, { token: 'c', leaseMs }))?.status).toBe('locked')
    })

    it('is free after its lease (T4)', async () => {
      const { store, credential, passTime } = await stored(makeStore())
      await store.lock(credential, { token: 'a', leaseMs: 20 })

      await passTime(20)

      expect((await store.lock(credential, { token: 'b', leaseMs }))?.status).toBe('locked')
      expect(await extendLock(store, credential.id, { token: 'a', leaseMs })).toBe(false)
    })

    it('returns undefined for a wrong secret, one rotated out, and no session (T4, C8)', async () => {
      const { store, credential } = await stored(makeStore())
      const rotated = { ...credential, secretHash: hashOf() }
      await store.commit(
        credential,
        { ...writing({}), newSecretHash: rotated.secretHash, asksFor: 'secret' },
        policy,
      )
      const lock = { token: 'a', leaseMs }

      expect(await store.lock({ ...credential, secretHash: hashOf() }, lock)).toBeUndefined()
      expect(await store.lock(credential, lock)).toBeUndefined()
      expect(await store.lock({ ...credential, id: randomUUID() }, lock)).toBeUndefined()
      expect((await store.lock(rotated, { token: 'b', leaseMs }))?.status).toBe('locked')
    })

    it('reveals no lock to a secret that is not good (C1, T4)', async () => {
      const { store, credential } = await stored(makeStore())
      const wrong = { ...credential, secretHash: hashOf() }
      await store.lock(credential, { token: 'a', leaseMs })

      expect(await store.lock(wrong, { token: 'b', leaseMs })).toBeUndefined()
      expect(await store.lock(credential, { token: 'c', leaseMs })).toEqual({ status: 'busy' })
      expect(await unlock(store, credential.id, 'a')).toBe(true)
    })

    it('is gone with the session, and does not bring it back (T4, L8)', async () => {
      const { store, credential } = await stored(makeStore())
      const lock = { token: 'a', leaseMs }
      await store.lock(credential, lock)

      expect(await store.destroy(credential.id)).toBe(true)

      expect(await store.lock(credential, lock)).toBeUndefined()
      expect(await extendLock(store, credential.id, lock)).toBe(false)
      expect(await unlock(store, credential.id, 'a')).toBe(false)
      const commit = { ...writing({ late: '1' }), lock }
      expect(await store.commit(credential, commit, policy)).toEqual({ status: 'ended' })
      expect(await read(store, credential.id)).toBeUndefined()
    })

    it('does not block plain changes of others (T3, T4)', async () => {
      const { store, credential } = await stored(makeStore())
      await store.lock(credential, { token: 'a', leaseMs })

      const outcome = await store.commit(credential, writing({ color: '"red"' }), policy)

      expect(outcome.status).toBe('committed')
      expect(await unlock(store, credential.id, 'a')).toBe(true)
    })
  })

  describe('extendLock and unlock', () => {
    it('restart the lease for the holder (T4)', async () => {
      const { store, credential, passTime } = await stored(makeStore())
      await store.lock(credential, { token: 'a', leaseMs: 500 })

      expect(await extendLock(store, credential.id, { token: 'a', leaseMs: 20 })).toBe(true)

      await passTime(20)
      expect(await unlock(store, credential.id, 'a')).toBe(false)
    })

    it('return false for others, and change nothing (T4)', async () => {
      const { store, credential } = await stored(makeStore())
      await store.lock(credential, { token: 'a', leaseMs })

      expect(await extendLock(store, credential.id, { token: 'b', leaseMs })).toBe(false)
      expect(await extendLock(store, credential.id, { token: 'b', leaseMs: 0 })).toBe(false)
      expect(await unlock(store, credential.id, 'b')).toBe(false)

      expect(await unlock(store, credential.id, 'a')).toBe(true)
    })

    it('return false when the lock is free, and for no session (T4)', async () => {
      const { store, credential } = await stored(makeStore())

      expect(await extendLock(store, credential.id, { token: 'a', leaseMs })).toBe(false)
      expect(await unlock(store, credential.id, 'a')).toBe(false)
      expect(await unlock(store, randomUUID(), 'a')).toBe(false)
      expect((await store.lock(credential, { token: 'b', leaseMs }))?.status).toBe('locked')
    })

    it('release the lock once (T4)', async () => {
      const { store, credential } = await stored(makeStore())
      await store.lock(credential, { token: 'a', leaseMs })

      expect(await unlock(store, credential.id, 'a')).toBe(true)

      expect(await unlock(store, credential.id, 'a')).toBe(false)
      expect((await store.lock(credential, { token: 'b', leaseMs }))?.status).toBe('locked')
    })
  })

  describe('commit under a lock', () => {
    it('returns the session and keeps the lock with a lease (T4)', async () => {
      const { store, credential } = await stored(makeStore())
      await store.lock(credential, { token: 'a', leaseMs })
      await store.commit(credential, writing({ other: '2' }), policy)

      const outcome = await store.commit(
        credential,
        { ...writing({ color: '"red"' }), lock: { token: 'a', leaseMs } },
        policy,
      )

      expect(outcome).toMatchObject({
        status: 'committed',
        record: { id: credential.id, userName: 'ann', privileges: ['admin'] },
      })
      expect(storageOf(outcome)).toEqual({ first: '1', other: '2', color: '"red"' })
      expect((await store.lock(credential, { token: 'b', leaseMs }))?.status).toBe('busy')
    })

    it('extends the lock by its lease (T4)', async () => {
      const { store, credential, passTime } = await stored(makeStore())
      await store.lock(credential, { token: 'a', leaseMs })

      const commit = { ...writing({}), lock: { token: 'a', leaseMs: 20 } }
      expect((await store.commit(credential, commit, policy)).status).toBe('committed')

      await passTime(20)
      expect((await store.lock(credential, { token: 'b', leaseMs }))?.status).toBe('locked')
    })

    it('releases the lock with a lease of 0 (T4)', async () => {
      const { store, credential } = await stored(makeStore())
      await store.lock(credential, { token: 'a', leaseMs })

      const outcome = await store.commit(
        credential,
        { ...writing({ color: '"red"' }), lock: { token: 'a', leaseMs: 0 } },
        policy,
      )

      expect(outcome).toMatchObject({ status: 'committed', now: expect.any(Number) })
      expect(Reflect.get(outcome, 'record')).toBe(undefined)
      expect(await unlock(store, credential.id, 'a')).toBe(false)
      const next = await store.lock(credential, { token: 'b', leaseMs })
      expect(storageOf(next)).toEqual({ first: '1', color: '"red"' })
    })

    it('stores nothing without the lock (T4)', async () => {
      const { store, credential } = await stored(makeStore())
      const newSecretHash = hashOf()
      const commit: SessionCommit = {
        ...writing({ color: '"red"' }),
        idleTimeoutMs: 7_200_000,
        grants: {
          clears: true,
          userName: undefined,
          privileges: ['late'],
          roles: [],
          signsIn: false,
        },
        newSecretHash,
        asksFor: 'rights',
        lock: { token: 'a', leaseMs },
      }
      const before = await read(store, credential.id)

      expect(await store.commit(credential, commit, policy)).toEqual({ status: 'unlocked' })
      await store.lock(credential, { token: 'b', leaseMs })
      expect(await store.commit(credential, commit, policy)).toEqual({ status: 'unlocked' })

      expect(await read(store, credential.id)).toEqual(before)
      expect(
        await store.load({ ...credential, secretHash: newSecretHash }, policy, false),
      ).toBeUndefined()
      expect(await unlock(store, credential.id, 'b')).toBe(true)
    })

    it('stores nothing after the lease, even if no other has taken the lock (T4)', async () => {
      const { store, credential, passTime } = await stored(makeStore())
      const outcome = await store.lock(credential, { token: 'a', leaseMs: 20 })
      expect(outcome?.status).toBe('locked')
      await passTime(20)
      expect(await extendLock(store, credential.id, { token: 'a', leaseMs: 20 })).toBe(false)

      const commit = { ...writing({ color: '"red"' }), lock: { token: 'a', leaseMs } }
      expect(await store.commit(credential, commit, policy)).toEqual({ status: 'unlocked' })

      expect((await read(store, credential.id))?.storage.has('color')).toBe(false)
    })

    it('leaves the lock with its holder when storage is over its limits (T4, T7)', async () => {
      const { store, credential } = await stored(makeStore())
      await store.lock(credential, { token: 'a', leaseMs })
      const values = { a: '1', b: '2', c: '3', d: '4', e: '5' }
      const commit = { ...writing(values), lock: { token: 'a', leaseMs: 0 } }

      expect(await store.commit(credential, commit, policy)).toEqual({ status: 'tooLarge' })

      expect(await unlock(store, credential.id, 'a')).toBe(true)
    })
  })

  describe('read', () => {
    it('reads a session by its id alone (T9)', async () => {
      const { store, credential } = await stored(makeStore())
      await store.commit(credential, writing({ color: '"red"' }), policy)
      const loaded = await store.load(credential, policy, false)

      const record = await read(store, credential.id)

      expect(record).toEqual(recordIn(loaded))
      expect(storageOf({ record })).toEqual({ first: '1', color: '"red"' })
    })

    it('does not count as activity (T9, L4)', async () => {
      // So that a refresh is due a moment after the last activity.
      const eager: StorePolicy = { ...policy, expiry: { ...policy.expiry, refreshMs: 0 } }
      const { store, credential, passTime } = await stored(makeStore(), eager)
      await passTime(5)

      await read(store, credential.id)

      expect(await store.load(credential, eager, true)).toMatchObject({ refreshed: true })
    })

    it('finds nothing under an unknown id, or after the end (T9)', async () => {
      const { store, credential } = await stored(makeStore())
      expect(await read(store, randomUUID())).toBeUndefined()

      await store.destroy(credential.id)

      expect(await read(store, credential.id)).toBeUndefined()
    })

    it('finds nothing past the absolute end (T9, L5)', async () => {
      const short: StorePolicy = { ...policy, expiry: { ...policy.expiry, absoluteTimeoutMs: 20 } }
      const { store, credential, passTime } = await stored(makeStore(), short)

      await passTime(20)

      expect(await read(store, credential.id)).toBeUndefined()
    })
  })
}

/** Ann's session with `{ first: 1 }` in its storage. */
async function stored(
  harness: StoreHarness | Promise<StoreHarness>,
  storePolicy: StorePolicy = policy,
): Promise<StoreHarness & { readonly credential: SessionCredential }> {
  const { store, passTime } = await harness
  const credential = { id: randomUUID(), secretHash: hashOf() }
  const outcome = await store.create(
    {
      credential,
      draft: {
        type: 'web',
        ip: '192.0.2.1',
        client: unknownClient,
        idleTimeoutMs: 3_600_000,
        userName: 'ann',
        privileges: ['admin'],
        roles: [],
        storage: new Map([['first', '1']]),
      },
      signsIn: true,
    },
    storePolicy,
  )
  if (outcome.status !== 'created') throw new Error(`not created but ${outcome.status}`)
  return { store, passTime, credential }
}

function writing(values: Readonly<Record<string, string>>): SessionCommit {
  return {
    storage: { set: new Map(Object.entries(values)), removed: [] },
    idleTimeoutMs: undefined,
    grants: undefined,
    userName: 'ann',
    newSecretHash: undefined,
    asksFor: undefined,
    lock: undefined,
  }
}

/** What a store keeps of a secret: 43 characters of base64url. */
function hashOf(): string {
  return randomUUID().replaceAll('-', '').padEnd(43, '0')
}

function storageOf(outcome: LockOutcome | CommitOutcome | object | undefined): unknown {
  const record: unknown = outcome && Reflect.get(outcome, 'record')
  const storage: unknown = typeof record === 'object' && record && Reflect.get(record, 'storage')
  return isEntries(storage) ? Object.fromEntries(storage) : undefined
}

function isEntries(value: unknown): value is Iterable<readonly [string, unknown]> {
  return typeof value === 'object' && value !== null && Symbol.iterator in value
}
