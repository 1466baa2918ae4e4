import { randomBytes, randomUUID } from 'node:crypto'

import { maxOTPs, unknownClient } from 'koa-user-sessions/store'
import type {
  GrantChanges,
  RecordDraft,
  SessionCommit,
  SessionCredential,
  SessionRecord,
  SessionStore,
  SessionType,
  StorePolicy,
} from 'koa-user-sessions/store'

import {
  addOTP,
  describeById,
  grant,
  plain,
  read,
  redeemOTP,
  touch,
  unlock,
} from './contract-parts.ts'
import type { Runner, StoreHarness } from './contract-parts.ts'

const second = 1000
const minute = 60 * second
const lock = { token: 'a', leaseMs: minute }
const types: readonly SessionType[] = ['web', 'rest', 'remote', 'storedProcedure']

const policy: StorePolicy = {
  expiry: { refreshMs: minute, absoluteTimeoutMs: 24 * 60 * minute },
  limits: { storageBytes: 1000, storageKeys: 4 },
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

/**
 * What every store must do for clients without a cookie: trusted callers, and browsers with a
 * one-time token.
 *
 * @param makeStore Makes an empty store for one test.
 * @param runner The functions of the test runner.
 */
export function describeJoining(
  makeStore: () => StoreHarness | Promise<StoreHarness>,
  { describe, expect, it }: Runner,
): void {
  describe('trusted callers', () => {
    it.each(types)('X1: open a live %s session by its id alone', async (type) => {
      const { store } = await makeStore()
      const { id } = await created(store, { type })
      const trusted = { id, secretHash: '' }

      const locked = await store.lock(trusted, lock)
      const committed = await store.commit(trusted, writing({ a: '1' }), policy)
      const loaded = await store.load(trusted, policy, true)

      expect(locked).toMatchObject({ status: 'locked', record: { id, type } })
      expect(committed).toMatchObject({ status: 'committed' })
      expect(loaded).toMatchObject({ status: 'live', record: { id, type } })
      expect(storageIn(loaded)).toEqual({ a: '1' })
      expect(await touch(store, trusted, policy)).toEqual(expect.any(Number))
      expect(await addOTP(store, trusted, newHash(), minute, policy)).toBe(true)
    })

    it('X3: open a session in the generation that they name, and in no other', async () => {
      const { store } = await makeStore()
      const { id } = await created(store, { userName: 'ann' })
      const { generation = 0 } = (await read(store, id)) ?? {}
      const caller = { id, secretHash: '', generation }
      const outcomes = async (): Promise<readonly unknown[]> => [
        (await store.load(caller, policy, false))?.status,
        (await store.commit(caller, writing({ a: '1' }), policy)).status,
        (await store.lock(caller, lock))?.status,
      ]

      expect(await outcomes()).toEqual(['live', 'committed', 'locked'])
      await store.commit({ id, secretHash: '' }, { raisesGeneration: true }, policy)
      expect(await outcomes()).toEqual([undefined, 'ended', undefined])
      expect(
        await store.load({ ...caller, generation: generation + 1 }, policy, false),
      ).toMatchObject({ status: 'live', record: { generation: generation + 1 } })
    })

    it('X1: open no session that never existed', async () => {
      const { store } = await makeStore()
      const id = randomUUID()

      expect(await trustedCalls(store, id)).toEqual(nothing)
      expect(await read(store, id)).toBeUndefined()
    })

    it('X1: open no session that has ended', async () => {
      const { store } = await makeStore()
      const { id } = await created(store)
      await store.destroy(id)

      expect(await trustedCalls(store, id)).toEqual(nothing)
      expect(await read(store, id)).toBeUndefined()
    })

    it('X1: open no session past its absolute end', async () => {
      const { store, passTime } = await makeStore()
      const expiry = { ...policy.expiry, absoluteTimeoutMs: 20 * minute }
      const { id } = await created(store, {}, { ...policy, expiry })

      await passTime(21 * minute)

      expect(await trustedCalls(store, id)).toEqual(nothing)
    })

    it('X1: open no session that has expired', async () => {
      const { store, passTime } = await makeStore()
      const { id } = await created(store)

      await passTime(62 * minute)

      expect(await trustedCalls(store, id)).toEqual(nothing)
    })

    it('X1: keep a session alive like others', async () => {
      const { store, passTime } = await makeStore()
      const { id } = await created(store)
      const trusted = { id, secretHash: '' }

      for (let times = 0; times < 3; times += 1) {
        await passTime(50 * minute)
        expect(await store.load(trusted, policy, true)).toMatchObject({ refreshed: true })
        await passTime(50 * minute)
        expect(await touch(store, trusted, policy)).toEqual(expect.any(Number))
      }
    })

    it('X1: still open the session after the cookie was rotated', async () => {
      const { store } = await makeStore()
      const credential = await created(store)
      await rotated(store, credential)

      const outcome = await store.load({ ...credential, secretHash: '' }, policy, false)

      expect(outcome).toMatchObject({ status: 'live' })
      expect(await store.load(credential, policy, false)).toEqual({ status: 'rotated' })
    })

    it('X1: leave the secrets unchanged', async () => {
      const { store } = await makeStore()
      const credential = await created(store)
      const trusted = { ...credential, secretHash: '' }

      const outcome = await store.commit(trusted, granting({ privileges: ['browse'] }), policy)

      expect(outcome).toMatchObject({ status: 'committed' })
      expect(await store.load(credential, policy, false)).toMatchObject({
        status: 'live',
        record: { privileges: ['browse'] },
      })
    })

    it('X1: create sessions that no secret opens', async () => {
      const { store } = await makeStore()
      const id = randomUUID()
      await created(store, { type: 'remote' }, policy, { id, secretHash: '' })

      for (const secretHash of [newHash(), '0', 'undefined', 'null', ' ']) {
        const credential = { id, secretHash }
        expect(await store.load(credential, policy, true)).toBeUndefined()
        expect(await touch(store, credential, policy)).toBeUndefined()
        expect(await store.lock(credential, lock)).toBeUndefined()
        expect(await addOTP(store, credential, newHash(), minute, policy)).toBe(false)
        const outcome = await store.commit(credential, writing({ a: '1' }), policy)
        expect(outcome).toEqual({ status: 'ended' })
      }
    })
  })

  describe('kinds of session', () => {
    it.each(['remote', 'storedProcedure'] as const)(
      'K6: returns exactly the %s session that was created',
      async (type) => {
        const { store } = await makeStore()
        const draft = draftOf({
          type,
          userName: type === 'remote' ? 'ann' : '',
          client: {
            ...unknownClient,
            applicationId: 'cli',
            machineName: 'žábo\n"1"',
            persistentID: 'installation\\7',
          },
        })
        const credential = { id: randomUUID(), secretHash: '' }
        const { id } = await created(store, draft, policy, credential)

        const loaded = await store.load(credential, policy, false)

        expect(recordIn(loaded)).toMatchObject(draft)
        expect(await read(store, id)).toEqual(recordIn(loaded))
        const { client } = draft
        expect(await describeById(store, id, policy)).toMatchObject({ id, type, client })
      },
    )

    it('M8: keeps a session without an idle timeout forever', async () => {
      const { store, passTime } = await makeStore()
      const expiry = { ...policy.expiry, absoluteTimeoutMs: Infinity }
      const credential = await created(
        store,
        { type: 'storedProcedure', idleTimeoutMs: Infinity },
        { ...policy, expiry },
      )

      await passTime(10 * 365 * 24 * 60 * minute)

      expect(await store.load(credential, policy, true)).toMatchObject({
        status: 'live',
        refreshed: false,
        record: { idleTimeoutMs: Infinity, endsAt: Infinity },
      })
      expect(await touch(store, credential, policy)).toEqual(expect.any(Number))
      expect(await read(store, credential.id)).toMatchObject({ idleTimeoutMs: Infinity })
      expect(await describeById(store, credential.id, policy)).toMatchObject({
        idleTimeoutMs: Infinity,
        endsAt: Infinity,
        isPostponed: false,
      })
    })

    it('M8: changes, locks, opens and ends a session without an idle timeout like any other', async () => {
      const { store, passTime } = await makeStore()
      const credential = await created(store, { idleTimeoutMs: Infinity })
      const otp = newCredential(credential.id)
      const newSecretHash = newHash()

      const locked = await store.lock(credential, lock)
      const commit = { ...writing({ a: '1' }), lock: { ...lock, leaseMs: 0 }, postpones: true }
      const committed = await store.commit(credential, commit, policy)
      await addOTP(store, credential, otp.secretHash, minute, policy)
      const redeemed = await redeemOTP(store, otp, newSecretHash, policy)
      await passTime(20 * 60 * minute)

      expect(locked).toMatchObject({ status: 'locked', record: { idleTimeoutMs: Infinity } })
      expect(committed).toMatchObject({ status: 'committed' })
      expect(redeemed).toMatchObject({ record: { idleTimeoutMs: Infinity } })
      expect(await statusOf(store, { ...credential, secretHash: newSecretHash })).toBe('live')
      expect(await store.destroy(credential.id)).toBe(true)
      expect(await statusOf(store, credential)).toBeUndefined()
    })

    it('L5: ends a session without an idle timeout at its absolute end', async () => {
      const { store, passTime } = await makeStore()
      const credential = await created(store, { idleTimeoutMs: Infinity })

      await passTime(25 * 60 * minute)

      expect(await store.load(credential, policy, true)).toBeUndefined()
      expect(await describeById(store, credential.id, policy)).toBeUndefined()
    })
  })

  describe('one-time tokens', () => {
    it('X5: open their session once, with a secret of their own', async () => {
      const { store } = await makeStore()
      const { credential, otp } = await withOTP(store)
      const newSecretHash = newHash()

      const redeemed = await redeemOTP(store, otp, newSecretHash, policy)
      const again = await redeemOTP(store, otp, newHash(), policy)

      expect(redeemed).toMatchObject({ status: 'live', refreshed: true, now: expect.any(Number) })
      expect(redeemed?.record).toEqual(recordIn(await store.load(credential, policy, false)))
      expect(again).toBeUndefined()
      const joined = { ...credential, secretHash: newSecretHash }
      expect([await statusOf(store, credential), await statusOf(store, joined)]).toEqual([
        'live',
        'live',
      ])
    })

    it('X5: give 100 parallel callers one winner, whose secret alone is good', async () => {
      const { store } = await makeStore()
      const { credential, otp } = await withOTP(store)
      const hashes = Array.from({ length: 100 }, newHash)

      const outcomes = await Promise.all(hashes.map((hash) => redeemOTP(store, otp, hash, policy)))

      const winners = outcomes.map((outcome) => outcome !== undefined)
      const opened = await Promise.all(
        hashes.map((secretHash) => statusOf(store, { ...credential, secretHash })),
      )
      expect(winners.filter(Boolean)).toHaveLength(1)
      expect(opened.map((status) => status === 'live')).toEqual(winners)
    })

    it('X5: open nothing after their time, and no other session', async () => {
      const { store, passTime } = await makeStore()
      const { credential, otp } = await withOTP(store, minute)
      const other = await created(store)
      const secretHash = newHash()

      const elsewhere = await redeemOTP(store, { ...otp, id: other.id }, secretHash, policy)
      const unknown = await redeemOTP(store, { ...otp, secretHash: newHash() }, secretHash, policy)
      const nowhere = await redeemOTP(store, { ...otp, id: randomUUID() }, secretHash, policy)
      await passTime(minute)
      const late = await redeemOTP(store, otp, secretHash, policy)

      expect([elsewhere, unknown, nowhere, late]).toEqual(Array(4).fill(undefined))
      expect(await statusOf(store, { ...other, secretHash })).toBeUndefined()
      expect(await statusOf(store, { ...credential, secretHash })).toBeUndefined()
    })

    it('X5: work until their time is over', async () => {
      const { store, passTime } = await makeStore()
      const { otp } = await withOTP(store, minute)

      await passTime(50 * second)

      expect(await redeemOTP(store, otp, newHash(), policy)).toMatchObject({ status: 'live' })
    })

    it('X5: end with their session, and do not bring it back', async () => {
      const { store } = await makeStore()
      const { credential, otp } = await withOTP(store)
      await store.destroy(credential.id)

      expect(await redeemOTP(store, otp, newHash(), policy)).toBeUndefined()
      expect(await addOTP(store, credential, newHash(), minute, policy)).toBe(false)
      expect(await read(store, credential.id)).toBeUndefined()
      // They do not open the next session under that id either.
      await created(store, {}, policy, credential)
      expect(await redeemOTP(store, otp, newHash(), policy)).toBeUndefined()
    })

    it('X5: open nothing past the absolute end, nor past the idle timeout', async () => {
      const { store, passTime } = await makeStore()
      const expiry = { ...policy.expiry, absoluteTimeoutMs: 20 * minute }
      const short = await withOTP(store, 120 * minute, { ...policy, expiry })
      const idle = await withOTP(store, 120 * minute)

      await passTime(21 * minute)
      const ended = await redeemOTP(store, short.otp, newHash(), policy)
      const added = await addOTP(store, short.credential, newHash(), minute, policy)
      await passTime(41 * minute)

      expect(ended).toBeUndefined()
      expect(added).toBe(false)
      expect(await redeemOTP(store, idle.otp, newHash(), policy)).toBeUndefined()
    })

    it('X5: are created only with a good secret', async () => {
      const { store } = await makeStore()
      const credential = await created(store)
      const good = await rotated(store, credential)
      const [first, next, last] = [newCredential(good.id), newCredential(good.id), newHash()]

      expect(await addOTP(store, credential, first.secretHash, minute, policy)).toBe(false)
      const wrong = { ...credential, secretHash: newHash() }
      expect(await addOTP(store, wrong, next.secretHash, minute, policy)).toBe(false)
      expect(await addOTP(store, good, last, minute, policy)).toBe(true)
      expect(await redeemOTP(store, first, newHash(), policy)).toBeUndefined()
      expect(await redeemOTP(store, next, newHash(), policy)).toBeUndefined()
    })

    it('C5: are gone once the secret is rotated', async () => {
      const { store } = await makeStore()
      const { credential, otp } = await withOTP(store)

      const good = await rotated(store, credential)

      expect(await redeemOTP(store, otp, newHash(), policy)).toBeUndefined()
      // And new ones can be created.
      await addOTP(store, good, otp.secretHash, minute, policy)
      expect(await redeemOTP(store, otp, newHash(), policy)).toMatchObject({ status: 'live' })
    })

    it('C5: open a session that a later rotation shuts', async () => {
      const { store } = await makeStore()
      const { credential, otp } = await withOTP(store)
      const joined = { ...credential, secretHash: newHash() }
      await redeemOTP(store, otp, joined.secretHash, policy)

      const good = await rotated(store, joined)

      expect(await statusOf(store, credential)).toBe('rotated')
      expect(await statusOf(store, joined)).toBe('rotated')
      expect(await statusOf(store, good)).toBe('live')
    })

    it('C8: stay when a sign-in joins the session with a secret that was rotated out', async () => {
      const { store } = await makeStore()
      const before = await created(store, { userName: '' })
      const after = await rotated(store, before, signIn())
      const otp = newCredential(before.id)
      await addOTP(store, after, otp.secretHash, minute, policy)

      const joins = await store.commit(before, signIn(), policy)
      const merges = await store.commit(before, writing({ a: '1' }), policy)

      expect(joins).toMatchObject({ status: 'committed' })
      expect(merges).toMatchObject({ status: 'merged' })
      expect(await redeemOTP(store, otp, newHash(), policy)).toMatchObject({ status: 'live' })
    })

    it('X5: stay for changes that rotate no secret', async () => {
      const { store } = await makeStore()
      const { credential, otp } = await withOTP(store)
      const grants = grantsOf({ privileges: ['browse'] })

      await store.commit(credential, { ...writing({ a: '1' }), idleTimeoutMs: 2 * minute }, policy)
      await store.lock(credential, lock)
      await unlock(store, credential.id, lock.token)
      await grant(store, credential.id, 'ann', grants, policy)
      await touch(store, credential, policy)

      expect(await redeemOTP(store, otp, newHash(), policy)).toMatchObject({
        status: 'live',
        record: { idleTimeoutMs: 2 * minute, privileges: ['browse'] },
      })
    })

    it('X5: number at most 32, and the first to expire is dropped', async () => {
      const { store } = await makeStore()
      const credential = await created(store)
      const otps = Array.from({ length: maxOTPs + 1 }, () => newCredential(credential.id))

      // Neither the first nor the last to be created.
      const shortest = 7
      for (const [index, otp] of otps.entries()) {
        const lifespanMs = index === shortest ? minute : (2 + index) * minute
        expect(await addOTP(store, credential, otp.secretHash, lifespanMs, policy)).toBe(true)
      }
      const redeemed: boolean[] = []
      for (const otp of otps) {
        redeemed.push((await redeemOTP(store, otp, newHash(), policy)) !== undefined)
      }

      expect(maxOTPs).toBe(32)
      expect(redeemed).toEqual(otps.map((_, index) => index !== shortest))
    })

    it('X5: no longer count after their time', async () => {
      const { store, passTime } = await makeStore()
      const credential = await created(store)
      const lasting = newCredential(credential.id)
      await addOTP(store, credential, lasting.secretHash, 20 * minute, policy)
      for (let index = 1; index < maxOTPs; index += 1) {
        await addOTP(store, credential, newHash(), 30 * minute + index, policy)
      }
      await passTime(10 * minute)
      const { credential: other, otp: first } = await withOTP(store, 5 * minute)
      for (let index = 1; index < maxOTPs; index += 1) {
        await addOTP(store, other, newHash(), second, policy)
      }
      await passTime(2 * second)

      await addOTP(store, credential, newHash(), minute, policy)
      await addOTP(store, other, newHash(), minute, policy)

      // All are live in one session, all but one have expired in the other.
      expect(await redeemOTP(store, lasting, newHash(), policy)).toBeUndefined()
      expect(await redeemOTP(store, first, newHash(), policy)).toMatchObject({ status: 'live' })
    })

    it('X5: count as activity when they are redeemed', async () => {
      const { store, passTime } = await makeStore()
      const { credential, otp } = await withOTP(store, 120 * minute)
      await passTime(50 * minute)

      await redeemOTP(store, otp, newHash(), policy)
      const summary = await describeById(store, credential.id, policy)
      await passTime(50 * minute)

      expect(summary!.now - summary!.activeAt).toBeLessThan(minute)
      expect(await statusOf(store, credential)).toBe('live')
    })

    it('K6: end a suspension when they are redeemed, but not when they are created', async () => {
      const { store } = await makeStore()
      const credential = await created(store)
      const otp = newCredential(credential.id)
      await store.commit(credential, { ...emptyCommit, postpones: true }, policy)

      await addOTP(store, credential, otp.secretHash, minute, policy)
      const before = await describeById(store, credential.id, policy)
      await redeemOTP(store, otp, newHash(), policy)
      const after = await describeById(store, credential.id, policy)

      expect([before?.isPostponed, after?.isPostponed]).toEqual([true, false])
    })

    it('X5: do not count as activity when they are created', async () => {
      const { store, passTime } = await makeStore()
      const credential = await created(store)
      await passTime(30 * minute)

      await addOTP(store, credential, newHash(), 120 * minute, policy)
      await passTime(35 * minute)

      expect(await statusOf(store, credential)).toBeUndefined()
    })

    it('X5: are not secrets, and secrets are not tokens', async () => {
      const { store } = await makeStore()
      const { credential, otp } = await withOTP(store)

      expect(await statusOf(store, otp)).toBeUndefined()
      expect(await touch(store, otp, policy)).toBeUndefined()
      expect(await store.lock(otp, lock)).toBeUndefined()
      const outcome = await store.commit(otp, writing({ a: '1' }), policy)
      expect(outcome).toEqual({ status: 'ended' })
      expect(await redeemOTP(store, credential, newHash(), policy)).toBeUndefined()
      const none = { ...credential, secretHash: '' }
      expect(await redeemOTP(store, none, newHash(), policy)).toBeUndefined()
    })

    it('X5: appear in no session that is read', async () => {
      const { store } = await makeStore()
      const { credential, otp } = await withOTP(store)

      const replies = [
        await store.load(credential, policy, false),
        await read(store, credential.id),
        await describeById(store, credential.id, policy),
        await store.list('ann', policy),
        await store.lock(credential, lock),
        await redeemOTP(store, otp, newHash(), policy),
      ]

      const texts = replies.map((outcome) => JSON.stringify(outcome))
      expect(texts.filter((text) => text.includes(credential.id))).toHaveLength(replies.length)
      expect(texts.filter((text) => text.includes(otp.secretHash))).toEqual([])
      expect(texts.filter((text) => /otp/i.test(text))).toEqual([])
    })

    it('T2: return a copy of the session', async () => {
      const { store } = await makeStore()
      const { credential, otp } = await withOTP(store)

      const redeemed = await redeemOTP(store, otp, newHash(), policy)
      if (redeemed?.record.storage instanceof Map) redeemed.record.storage.set('late', '1')
      if (Array.isArray(redeemed?.record.privileges)) redeemed.record.privileges.push('late')

      const record = recordIn(await store.load(credential, policy, false))
      expect(record.privileges).toEqual([])
      expect(record.storage.has('late')).toBe(false)
    })
  })
}

/** The results of {@link trustedCalls} without a session. */
const nothing = [undefined, { status: 'ended' }, undefined, undefined, false]

/** All calls of a trusted caller. */
async function trustedCalls(store: SessionStore, id: string): Promise<readonly unknown[]> {
  const trusted = { id, secretHash: '' }
  return [
    await store.load(trusted, policy, true),
    await store.commit(trusted, writing({ a: '1' }), policy),
    await touch(store, trusted, policy),
    await store.lock(trusted, lock),
    await addOTP(store, trusted, newHash(), minute, policy),
  ]
}

/** In the form of the SHA-256 of a secret. */
function newHash(): string {
  return randomBytes(32).toString('base64url')
}

function newCredential(id: string = randomUUID()): SessionCredential {
  return { id, secretHash: newHash() }
}

/** Ann's session. */
function draftOf(parts: Partial<RecordDraft>): RecordDraft {
  return {
    type: 'web',
    ip: '192.0.2.1',
    client: unknownClient,
    idleTimeoutMs: 60 * minute,
    // The index of a user's sessions has an end.
    userName: parts.idleTimeoutMs === Infinity || parts.type === 'storedProcedure' ? '' : 'ann',
    privileges: [],
    roles: [],
    storage: new Map(),
    ...parts,
  }
}

async function created(
  store: SessionStore,
  parts: Partial<RecordDraft> = {},
  storePolicy: StorePolicy = policy,
  credential: SessionCredential = newCredential(),
): Promise<SessionCredential> {
  const draft = draftOf(parts)
  const signsIn = draft.userName !== ''
  const outcome = await store.create({ credential, draft, signsIn }, storePolicy)
  if (outcome.status !== 'created') throw new Error(`not created but ${outcome.status}`)
  return credential
}

/** A session and one of its one-time tokens. */
async function withOTP(
  store: SessionStore,
  lifespanMs = 10 * minute,
  storePolicy: StorePolicy = policy,
): Promise<{ readonly credential: SessionCredential; readonly otp: SessionCredential }> {
  const credential = await created(store, {}, storePolicy)
  const otp = newCredential(credential.id)
  const isAdded = await addOTP(store, credential, otp.secretHash, lifespanMs, policy)
  if (!isAdded) throw new Error('no one-time token')
  return { credential, otp }
}

function grantsOf(grants: Partial<GrantChanges>): GrantChanges {
  return {
    clears: false,
    userName: undefined,
    privileges: [],
    roles: [],
    signsIn: false,
    ...grants,
  }
}

function granting(grants: Partial<GrantChanges>): SessionCommit {
  return { ...emptyCommit, grants: grantsOf(grants) }
}

function writing(values: Readonly<Record<string, string>>): SessionCommit {
  return { ...emptyCommit, storage: { set: new Map(Object.entries(values)), removed: [] } }
}

/** Of Ann. */
function signIn(): SessionCommit {
  return {
    ...granting({ userName: 'ann', signsIn: true }),
    userName: 'ann',
    newSecretHash: newHash(),
    asksFor: 'rights',
  }
}

/** Rotates the secret. Returns the new credential. */
async function rotated(
  store: SessionStore,
  credential: SessionCredential,
  commit: SessionCommit = { ...emptyCommit, newSecretHash: newHash(), asksFor: 'secret' },
): Promise<SessionCredential> {
  const { status } = await store.commit(credential, commit, policy)
  if (status !== 'committed') throw new Error(`not rotated but ${status}`)
  return { id: credential.id, secretHash: commit.newSecretHash ?? '' }
}

type Loaded = Awaited<ReturnType<SessionStore['load']>>

function recordIn(outcome: Loaded): SessionRecord {
  if (outcome?.status !== 'live') throw new Error(`no live session: ${outcome?.status}`)
  return plain(outcome.record)
}

function storageIn(outcome: Loaded): Readonly<Record<string, string>> {
  return Object.fromEntries(recordIn(outcome).storage)
}

async function statusOf(
  store: SessionStore,
  credential: SessionCredential,
): Promise<string | undefined> {
  return (await store.load(credential, policy, false))?.status
}
