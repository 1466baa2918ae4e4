/**
 * The suite that every `SessionStore` must pass. For a store of your own, call
 * {@link describeSessionStore} in a test file; it takes the functions of your test runner.
 *
 * @module
 */

import { randomUUID } from 'node:crypto'

import { unknownClient } from 'koa-user-sessions/store'
import type { RecordDraft } from 'koa-user-sessions/store'

import {
  awkwardTexts,
  changes,
  created,
  draftOf,
  emptyCommit,
  ended,
  everything,
  granting,
  isRefreshed,
  liveIn,
  minute,
  newCredential,
  newHash,
  newSession,
  noGrants,
  policy,
  recordIn,
  recordOf,
  rotated,
  second,
  setting,
  signInOf,
  signedIn,
  signedInDraft,
  sorted,
  statusOf,
  storageOf,
  tamperWith,
  timeOf,
  touch,
  unlimited,
  withAbsoluteTimeout,
  withLimits,
} from './contract-parts.ts'
import type { Runner, StoreHarness } from './contract-parts.ts'
import { describeJoining } from './joining-contract.ts'
import { describeSessionLocks } from './session-lock-contract.ts'
import type { TestRunner } from './store-contract.d.ts'
import { describeUserSessions } from './user-sessions-contract.ts'

export type { StoreHarness, TestRunner }

/**
 * Runs the contract of `SessionStore` against a store.
 *
 * @param name What the store is called in the report.
 * @param makeStore Makes an empty store for one test.
 * @param runner The functions of the test runner.
 */
export function describeSessionStore(
  name: string,
  makeStore: () => StoreHarness | Promise<StoreHarness>,
  runner: TestRunner,
): void {
  const { describe, expect, it }: Runner = runner
  describe(`${name} as a SessionStore`, () => {
    describe('create', () => {
      it.each(['web', 'rest'] as const)(
        'T2: gives back on load exactly the %s session that was created',
        async (type) => {
          const { store } = await makeStore()
          const credential = newCredential()
          const draft: RecordDraft = {
            type,
            ip: '2001:db8::1',
            client: unknownClient,
            idleTimeoutMs: 90 * minute,
            userName: 'ann',
            privileges: ['WebAdmin', 'browse'],
            roles: ['Clerk', 'Manager'],
            storage: new Map([
              ['cart', '["tea",{"sorts":["green"]}]'],
              ['count', '1'],
              ['none', 'null'],
            ]),
          }

          const created = await store.create({ credential, draft, signsIn: true }, policy)
          const loaded = await store.load(credential, policy, true)

          const now = timeOf(created)
          expect(sorted(recordIn(loaded))).toEqual({
            ...draft,
            id: credential.id,
            createdAt: now,
            signedInAt: now,
            endsAt: now + policy.expiry.absoluteTimeoutMs,
          })
        },
      )

      it('T2: gives back a guest that has nothing', async () => {
        const { store } = await makeStore()
        const credential = newCredential()
        const draft = draftOf({ ip: '' })

        const created = await store.create({ credential, draft, signsIn: false }, policy)

        const now = timeOf(created)
        expect(await recordOf(store, credential)).toEqual({
          ...draft,
          id: credential.id,
          createdAt: now,
          signedInAt: 0,
          endsAt: now + policy.expiry.absoluteTimeoutMs,
        })
      })

      it.each(awkwardTexts)('H1: gives back %s in every name and value', async (_, text) => {
        const { store } = await makeStore()
        const draft = draftOf({
          userName: text,
          privileges: [text],
          roles: [text],
          storage: new Map([[text, JSON.stringify({ [`${text}!`]: text })]]),
        })

        const credential = await created(store, draft)

        expect(await recordOf(store, credential)).toMatchObject(draft)
      })

      it('T3: tells names apart that differ only in case, form or length', async () => {
        const { store } = await makeStore()
        const names = ['a', 'A', 'aa', 'a ', '', '\u00E9', 'e\u0301']
        const storage = new Map(names.map((storageName, index) => [storageName, String(index)]))

        const credential = await created(store, draftOf({ storage }))

        expect(await storageOf(store, credential)).toEqual(Object.fromEntries(storage))
      })

      it('T7: gives back a value of 200 KB', async () => {
        const { store } = await makeStore()
        const json = JSON.stringify('line\n"é"\0'.repeat(14_000))
        const storage = new Map([['large', json]])

        const credential = await created(store, draftOf({ storage }))

        expect(json.length).toBeGreaterThan(200_000)
        expect(await recordOf(store, credential)).toMatchObject({ storage })
      })

      it('L8: refuses an id that is taken, and leaves its session alone', async () => {
        const { store } = await makeStore()
        const credential = await created(store, draftOf({ storage: new Map([['a', '1']]) }))
        const before = await recordOf(store, credential)
        const other = { id: credential.id, secretHash: newHash() }
        const draft = draftOf({ userName: 'eve', storage: new Map([['b', '2']]) })

        const outcome = await store.create({ credential: other, draft, signsIn: true }, policy)

        expect(outcome).toEqual({ status: 'exists' })
        expect(await recordOf(store, credential)).toEqual(before)
        expect(await store.load(other, policy, true)).toBeUndefined()
      })

      it('L8: stores one of 20 sessions that are created at once under one id', async () => {
        const { store } = await makeStore()
        const id = randomUUID()
        const sessions = Array.from({ length: 20 }, (_, index) => ({
          credential: { id, secretHash: newHash() },
          draft: draftOf({ userName: `user ${index}` }),
          signsIn: true,
        }))

        const outcomes = await Promise.all(sessions.map((session) => store.create(session, policy)))
        const loaded = await Promise.all(
          sessions.map(async ({ credential }) => store.load(credential, policy, true)),
        )

        const winner = outcomes.findIndex(({ status }) => status === 'created')
        expect(outcomes.filter(({ status }) => status === 'exists')).toHaveLength(19)
        expect(loaded.map((outcome) => outcome?.status)).toEqual(
          sessions.map((_, index) => (index === winner ? 'live' : undefined)),
        )
        expect(recordIn(loaded[winner]).userName).toBe(`user ${winner}`)
      })

      it('L5: sets no end without an absolute timeout', async () => {
        const { store } = await makeStore()
        const session = newSession()

        await store.create(session, unlimited)

        expect(await recordOf(store, session.credential)).toMatchObject({ endsAt: Infinity })
      })

      it('T7: takes exactly as many keys as the limit and not one more', async () => {
        const { store } = await makeStore()
        const limited = withLimits({ storageKeys: 3 })
        const full = newSession({ storage: new Map(Object.entries({ a: '1', b: '2', c: '3' })) })
        const over = newSession({
          storage: new Map(Object.entries({ a: '1', b: '2', c: '3', d: '4' })),
        })

        expect(await store.create(full, limited)).toMatchObject({ status: 'created' })
        expect(await store.create(over, limited)).toEqual({ status: 'tooLarge' })
      })

      it('T7: takes exactly as many bytes as the limit and not one more, names counted', async () => {
        const { store } = await makeStore()
        // In UTF-8 and as JSON: name 5 bytes, value 8; name 4 (a line break is two), value 3.
        const storage = new Map([
          ['číp', '"žába"'],
          ['a\nb', '"1"'],
        ])

        const tooLarge = await store.create(
          newSession({ storage }),
          withLimits({ storageBytes: 19 }),
        )
        const fits = await store.create(newSession({ storage }), withLimits({ storageBytes: 20 }))

        expect(tooLarge).toEqual({ status: 'tooLarge' })
        expect(fits).toMatchObject({ status: 'created' })
      })

      it('T7: keeps nothing of a session that is too large', async () => {
        const { store } = await makeStore()
        const session = newSession({ storage: new Map([['a', '"too large"']]) })

        await store.create(session, withLimits({ storageBytes: 5 }))

        expect(await store.load(session.credential, policy, true)).toBeUndefined()
        expect(await store.create(session, policy)).toMatchObject({ status: 'created' })
      })

      it('T7: takes 9 000 keys where the limits do', async () => {
        const { store } = await makeStore()
        const storage = new Map(Array.from({ length: 9000 }, (_, index) => [`key ${index}`, '1']))
        const session = newSession({ storage })

        const outcome = await store.create(session, withLimits({ storageKeys: 9000 }))

        expect(outcome).toMatchObject({ status: 'created' })
        expect(await recordOf(store, session.credential)).toMatchObject({ storage })
      })

      it('T2: keeps a copy of what it was given', async () => {
        const { store } = await makeStore()
        const privileges = ['browse']
        const roles = ['Clerk']
        const storage = new Map([['a', '1']])

        const credential = await created(store, draftOf({ privileges, roles, storage }))
        privileges.push('WebAdmin')
        roles.push('Manager')
        storage.set('a', '2').set('b', '3')

        expect(await recordOf(store, credential)).toMatchObject({
          privileges: ['browse'],
          roles: ['Clerk'],
          storage: new Map([['a', '1']]),
        })
      })
    })

    describe('load', () => {
      it('L1: finds nothing under an id that never was', async () => {
        const { store } = await makeStore()
        await created(store)

        expect(await store.load(newCredential(), policy, true)).toBeUndefined()
      })

      it('C1: finds nothing with a wrong secret', async () => {
        const { store } = await makeStore()
        const { id } = await created(store)
        const other = await created(store)

        expect(await store.load({ id, secretHash: newHash() }, policy, true)).toBeUndefined()
        expect(await store.load({ id, secretHash: other.secretHash }, policy, true)).toBeUndefined()
      })

      it('C1: counts a wrong secret as no activity', async () => {
        const { store, passTime } = await makeStore()
        const credential = await created(store)
        await passTime(2 * minute)

        await store.load({ id: credential.id, secretHash: newHash() }, policy, true)

        expect(await store.load(credential, policy, true)).toMatchObject({ refreshed: true })
      })

      it('tells the time', async () => {
        const { store } = await makeStore()
        const session = newSession()
        const createdAt = timeOf(await store.create(session, policy))

        const loaded = await store.load(session.credential, policy, false)

        expect(timeOf(loaded)).toBeGreaterThanOrEqual(createdAt)
        expect(timeOf(loaded)).toBeLessThan(createdAt + minute)
      })

      it('L4: refreshes only when less than the idle timeout is left', async () => {
        const { store, passTime } = await makeStore()
        const credential = await created(store, draftOf({ idleTimeoutMs: 10 * minute }))

        const refreshedAfter: boolean[] = []
        for (const pause of [0, 45 * second, 20 * second, 45 * second, 20 * second]) {
          await passTime(pause)
          refreshedAfter.push(await isRefreshed(store, credential))
        }

        expect(refreshedAfter).toEqual([false, false, true, false, true])
      })

      it('L4: ends a session after its idle timeout, refresh time included', async () => {
        const { store, passTime } = await makeStore()
        const credential = await created(store, draftOf({ idleTimeoutMs: 60 * minute }))

        await passTime(60 * minute + 50 * second)
        const before = await store.load(credential, policy, false)
        await passTime(15 * second)
        const after = await store.load(credential, policy, false)

        expect(before?.status).toBe('live')
        expect(after).toBeUndefined()
      })

      it('L4: keeps a session for its idle timeout after a request that was not due', async () => {
        const { store, passTime } = await makeStore()
        const credential = await created(store, draftOf({ idleTimeoutMs: 60 * minute }))
        await passTime(50 * second)
        const refreshed = await isRefreshed(store, credential)

        await passTime(60 * minute)

        expect(refreshed).toBe(false)
        expect(await store.load(credential, policy, true)).toMatchObject({ status: 'live' })
      })

      it('L4: keeps a session alive by activity', async () => {
        const { store, passTime } = await makeStore()
        const credential = await created(store, draftOf({ idleTimeoutMs: 60 * minute }))

        for (let request = 0; request < 5; request += 1) {
          await passTime(55 * minute)
          expect(await isRefreshed(store, credential)).toBe(true)
        }
        await passTime(62 * minute)

        expect(await store.load(credential, policy, true)).toBeUndefined()
      })

      it('L4: never refreshes for a read that is no activity', async () => {
        const { store, passTime } = await makeStore()
        const credential = await created(store, draftOf({ idleTimeoutMs: 60 * minute }))

        await passTime(55 * minute)
        const read = await store.load(credential, policy, false)
        await passTime(10 * minute)

        expect(read).toMatchObject({ status: 'live', refreshed: false })
        expect(await store.load(credential, policy, false)).toBeUndefined()
      })

      it('L4: leaves nothing of an idle session', async () => {
        const { store, passTime } = await makeStore()
        const session = newSession({ idleTimeoutMs: 60 * minute })
        await store.create(session, policy)
        const { credential } = session

        await passTime(62 * minute)

        expect(await touch(store, credential, policy)).toBeUndefined()
        expect(await store.commit(credential, setting({ a: '1' }), policy)).toEqual(ended)
        expect(await store.destroy(credential.id)).toBe(false)
        expect(await store.load(credential, policy, true)).toBeUndefined()
        expect(await store.create(session, policy)).toMatchObject({ status: 'created' })
      })

      it('L5: ends a session at its absolute end, however busy it is', async () => {
        const { store, passTime } = await makeStore()
        const twoHours = withAbsoluteTimeout(120 * minute)
        const session = newSession({ idleTimeoutMs: 60 * minute })
        await store.create(session, twoHours)
        const { credential } = session

        await passTime(50 * minute)
        const first = await store.load(credential, twoHours, true)
        await passTime(50 * minute)
        const next = await store.load(credential, twoHours, true)
        await passTime(21 * minute)

        expect([first?.status, next?.status]).toEqual(['live', 'live'])
        expect(await touch(store, credential, twoHours)).toBeUndefined()
        expect(await store.commit(credential, setting({ a: '1' }), twoHours)).toEqual(ended)
        expect(await store.load(credential, twoHours, false)).toBeUndefined()
        expect(await store.load(credential, twoHours, true)).toBeUndefined()
      })

      it('L5: goes by the end that was stored, whatever the timeout is by now', async () => {
        const { store, passTime } = await makeStore()
        const session = newSession({ idleTimeoutMs: 60 * minute })
        await store.create(session, withAbsoluteTimeout(20 * minute))
        const { credential } = session

        await passTime(15 * minute)
        const before = await store.load(credential, withAbsoluteTimeout(minute), true)
        await passTime(6 * minute)

        expect(before?.status).toBe('live')
        expect(await store.load(credential, unlimited, true)).toBeUndefined()
      })

      it('L5: ends a session without an absolute timeout by its idle timeout only', async () => {
        const { store, passTime } = await makeStore()
        const session = newSession({ idleTimeoutMs: 525_600 * minute })
        await store.create(session, unlimited)

        await passTime(525_000 * minute)
        const once = await store.load(session.credential, unlimited, true)
        await passTime(525_000 * minute)

        expect(once).toMatchObject({ refreshed: true })
        expect(await store.load(session.credential, unlimited, true)).toMatchObject({
          record: { endsAt: Infinity },
        })
      })

      it('T2: hands out a copy each time', async () => {
        const { store } = await makeStore()
        const credential = await created(
          store,
          draftOf({ privileges: ['browse'], roles: ['Clerk'], storage: new Map([['a', '1']]) }),
        )
        const before = await recordOf(store, credential)

        const { record } = liveIn(await store.load(credential, policy, true))
        tamperWith(record)

        expect(await recordOf(store, credential)).toEqual(before)
      })
    })

    describe('touch', () => {
      it('S9: counts as activity', async () => {
        const { store, passTime } = await makeStore()
        const credential = await created(store, draftOf({ idleTimeoutMs: 60 * minute }))

        await passTime(55 * minute)
        await touch(store, credential, policy)
        await passTime(55 * minute)

        expect(await store.load(credential, policy, true)).toMatchObject({ status: 'live' })
      })

      it('S9: tells the time', async () => {
        const { store } = await makeStore()
        const session = newSession()
        const createdAt = timeOf(await store.create(session, policy))

        const touchedAt = await touch(store, session.credential, policy)

        expect(touchedAt).toBeGreaterThanOrEqual(createdAt)
        expect(touchedAt).toBeLessThan(createdAt + minute)
      })

      it('L4: writes the time to live only when that is due', async () => {
        const { store, passTime } = await makeStore()
        const credential = await created(store)
        await passTime(45 * second)

        await touch(store, credential, policy)
        await passTime(20 * second)

        expect(await isRefreshed(store, credential)).toBe(true)
      })

      it('L4: uses up the refresh that was due', async () => {
        const { store, passTime } = await makeStore()
        const credential = await created(store)
        await passTime(2 * minute)

        await touch(store, credential, policy)

        expect(await isRefreshed(store, credential)).toBe(false)
      })

      it('C1: finds nothing under an unknown id, with a wrong secret or with a rotated one', async () => {
        const { store } = await makeStore()
        const credential = await created(store)
        const wrong = { id: credential.id, secretHash: newHash() }
        await rotated(store, credential)

        expect(await touch(store, newCredential(), policy)).toBeUndefined()
        expect(await touch(store, wrong, policy)).toBeUndefined()
        expect(await touch(store, credential, policy)).toBeUndefined()
      })

      it('C1: keeps nothing alive with a wrong secret or with a rotated one', async () => {
        const { store, passTime } = await makeStore()
        const before = await created(store)
        const credential = await rotated(store, before)
        await passTime(2 * minute)

        await touch(store, { id: before.id, secretHash: newHash() }, policy)
        await touch(store, before, policy)

        expect(await isRefreshed(store, credential)).toBe(true)
      })
    })

    describe('commit: storage', () => {
      it('T3: merges commits of different names that start from one state', async () => {
        const { store } = await makeStore()
        const credential = await created(store, draftOf({ storage: new Map([['old', '0']]) }))

        const outcomes = await Promise.all([
          store.commit(credential, setting({ a: '1' }), policy),
          store.commit(credential, setting({ b: '2' }), policy),
          store.commit(credential, setting({}, ['old']), policy),
        ])

        expect(outcomes.map(({ status }) => status)).toEqual(Array(3).fill('committed'))
        expect(await storageOf(store, credential)).toEqual({ a: '1', b: '2' })
      })

      it('T3: lets the later commit of a name win', async () => {
        const { store } = await makeStore()
        const credential = await created(store, draftOf({ storage: new Map([['a', '1']]) }))

        await store.commit(credential, setting({ a: '2' }), policy)
        await store.commit(credential, setting({ a: '3' }), policy)

        expect(await storageOf(store, credential)).toEqual({ a: '3' })
      })

      it('T3: takes a later change of a removed name, and a later removal of a changed one', async () => {
        const { store } = await makeStore()
        const credential = await created(
          store,
          draftOf({ storage: new Map(Object.entries({ a: '1', b: '1' })) }),
        )

        await store.commit(credential, setting({ b: '2' }, ['a']), policy)
        await store.commit(credential, setting({ a: '2' }, ['b']), policy)

        expect(await storageOf(store, credential)).toEqual({ a: '2' })
      })

      it('T3: takes the removal of a name that is not there', async () => {
        const { store } = await makeStore()
        const credential = await created(store, draftOf({ storage: new Map([['a', '1']]) }))

        const outcome = await store.commit(credential, setting({}, ['b']), policy)

        expect(outcome.status).toBe('committed')
        expect(await storageOf(store, credential)).toEqual({ a: '1' })
      })

      it.each(awkwardTexts)('H1: sets and removes names and values with %s', async (_, text) => {
        const { store } = await makeStore()
        const credential = await created(
          store,
          draftOf({
            storage: new Map([
              [text, '1'],
              ['other', '2'],
            ]),
          }),
        )

        await store.commit(credential, setting({ [`${text}+`]: JSON.stringify(text) }), policy)
        const both = await recordOf(store, credential)
        await store.commit(credential, setting({}, [text]), policy)
        const one = await recordOf(store, credential)

        const value = [`${text}+`, JSON.stringify(text)] as const
        expect(both.storage).toEqual(new Map([[text, '1'], ['other', '2'], value]))
        expect(one.storage).toEqual(new Map([['other', '2'], value]))
      })

      it('T3: changes nothing but what it names', async () => {
        const { store } = await makeStore()
        const credential = await created(store, signedInDraft)
        const before = await recordOf(store, credential)

        await store.commit(credential, emptyCommit, policy)
        const unchanged = await recordOf(store, credential)
        await store.commit(credential, setting({ b: '2' }), unlimited)
        const changed = await recordOf(store, credential)

        expect(unchanged).toEqual(before)
        expect(changed).toEqual({ ...before, storage: new Map([...before.storage, ['b', '2']]) })
      })

      it('T2: changes no other session', async () => {
        const { store } = await makeStore()
        const one = await created(store, signedInDraft)
        const other = await created(store, signedInDraft)
        const before = await recordOf(store, other)

        await store.commit(one, setting({ a: '2', b: '3' }), policy)
        await store.destroy(one.id)

        expect(await recordOf(store, other)).toEqual(before)
      })

      it('L4: leaves the time to live alone', async () => {
        const { store, passTime } = await makeStore()
        const credential = await created(store)
        await passTime(2 * minute)

        await store.commit(credential, setting({ a: '1' }), policy)

        expect(await isRefreshed(store, credential)).toBe(true)
      })

      it('L8: never creates a session', async () => {
        const { store } = await makeStore()
        const session = newSession()

        const outcome = await store.commit(session.credential, everything(), policy)

        expect(outcome).toEqual(ended)
        expect(await store.load(session.credential, policy, true)).toBeUndefined()
        expect(await store.create(session, policy)).toMatchObject({ status: 'created' })
      })

      it('C1: changes nothing with a wrong secret', async () => {
        const { store } = await makeStore()
        const credential = await created(store, signedInDraft)
        const before = await recordOf(store, credential)
        const commit = everything()

        const outcomes = [
          await store.commit({ id: credential.id, secretHash: newHash() }, commit, policy),
          await store.commit({ id: credential.id, secretHash: 'x' }, setting({ a: '2' }), policy),
        ]

        expect(outcomes).toEqual([ended, ended])
        expect(await recordOf(store, credential)).toEqual(before)
        expect(await statusOf(store, credential.id, commit.newSecretHash)).toBeUndefined()
      })

      it('T2: keeps a copy of what it was given', async () => {
        const { store } = await makeStore()
        const credential = await created(store, draftOf({ storage: new Map([['gone', '0']]) }))
        const set = new Map([['a', '1']])
        const removed = ['gone']
        const privileges = ['browse']
        const roles = ['Clerk']
        const grants = { ...noGrants, privileges, roles }

        await store.commit(
          credential,
          { ...emptyCommit, storage: { set, removed }, grants },
          policy,
        )
        set.set('a', '2').set('b', '3')
        removed.push('a')
        privileges.push('WebAdmin')
        roles.push('Manager')

        expect(await recordOf(store, credential)).toMatchObject({
          privileges: ['browse'],
          roles: ['Clerk'],
          storage: new Map([['a', '1']]),
        })
      })
    })

    describe('commit: limits of storage', () => {
      it('T7: takes exactly as many keys as the limit and not one more', async () => {
        const { store } = await makeStore()
        const limited = withLimits({ storageKeys: 3 })
        const credential = await created(store, draftOf({ storage: new Map([['a', '1']]) }))

        const outcomes = [
          await store.commit(credential, setting({ b: '1', c: '1', d: '1' }), limited),
          await store.commit(credential, setting({ b: '1', c: '1' }), limited),
          await store.commit(credential, setting({ d: '1' }), limited),
          await store.commit(credential, setting({ a: '12', b: '2' }), limited),
          await store.commit(credential, setting({ d: '1' }, ['a']), limited),
          await store.commit(credential, setting({ a: '1' }), limited),
        ]

        expect(outcomes.map(({ status }) => status)).toEqual([
          'tooLarge',
          'committed',
          'tooLarge',
          'committed',
          'committed',
          'tooLarge',
        ])
        expect(await storageOf(store, credential)).toEqual({ b: '2', c: '1', d: '1' })
      })

      it('T7: takes exactly as many bytes as the limit and not one more, names counted', async () => {
        const { store } = await makeStore()
        const limited = withLimits({ storageBytes: 20 })
        const credential = await created(store, draftOf({ storage: new Map([['číp', '"žába"']]) }))

        const outcomes = [
          await store.commit(credential, setting({ 'a\nb': '"12"' }), limited),
          await store.commit(credential, setting({ 'a\nb': '"1"' }), limited),
          await store.commit(credential, setting({ číp: '"žábaa"' }), limited),
          await store.commit(credential, setting({ číp: '"žaba"' }), limited),
          await store.commit(credential, setting({ číp: '"žába"' }), limited),
          await store.commit(credential, setting({ c: '1' }), limited),
          await store.commit(credential, setting({ čip: '"12345678"' }, ['číp']), limited),
        ]

        expect(outcomes.map(({ status }) => status)).toEqual([
          'tooLarge',
          'committed',
          'tooLarge',
          'committed',
          'committed',
          'tooLarge',
          'tooLarge',
        ])
        expect(await storageOf(store, credential)).toEqual({ číp: '"žába"', 'a\nb': '"1"' })
      })

      it('T7: counts keys that replace others of the same size', async () => {
        const { store } = await makeStore()
        const limited = withLimits({ storageKeys: 2 })
        const credential = await created(store, draftOf({ storage: new Map([['aa', '11']]) }))

        const split = await store.commit(credential, setting({ a: '1', b: '1' }, ['aa']), limited)
        const third = await store.commit(credential, setting({ c: '1' }), limited)

        expect([split.status, third.status]).toEqual(['committed', 'tooLarge'])
        expect(await storageOf(store, credential)).toEqual({ a: '1', b: '1' })
      })

      it('T7: lets no parallel commits pass the keys together', async () => {
        const { store } = await makeStore()
        const limited = withLimits({ storageKeys: 10 })
        const credential = await created(store)

        const outcomes = await Promise.all(
          Array.from({ length: 30 }, (_, index) =>
            store.commit(credential, setting({ [`key ${index}`]: '1' }), limited),
          ),
        )

        expect(outcomes.filter(({ status }) => status === 'committed')).toHaveLength(10)
        expect(outcomes.filter(({ status }) => status === 'tooLarge')).toHaveLength(20)
        expect((await recordOf(store, credential)).storage.size).toBe(10)
      })

      it('T7: lets no parallel commits pass the bytes together', async () => {
        const { store } = await makeStore()
        const limited = withLimits({ storageBytes: 1000 })
        const credential = await created(store)
        const json = JSON.stringify('x'.repeat(96))

        const outcomes = await Promise.all(
          Array.from({ length: 26 }, (_, index) =>
            store.commit(
              credential,
              setting({ [`${String.fromCodePoint(97 + index)}.`]: json }),
              limited,
            ),
          ),
        )

        expect(outcomes.filter(({ status }) => status === 'committed')).toHaveLength(10)
        expect((await recordOf(store, credential)).storage.size).toBe(10)
      })

      it('T7: stores nothing at all of a commit that is too large', async () => {
        const { store } = await makeStore()
        const credential = await created(store, signedInDraft)
        const before = await recordOf(store, credential)
        const commit = everything()

        const outcome = await store.commit(credential, commit, withLimits({ storageKeys: 1 }))

        expect(outcome).toEqual({ status: 'tooLarge' })
        expect(await recordOf(store, credential)).toEqual(before)
        expect(await statusOf(store, credential.id, commit.newSecretHash)).toBeUndefined()
      })

      it('T7: lets a session shrink that is over the limits by now', async () => {
        const { store } = await makeStore()
        const storage = new Map(Object.entries({ a: '"xxxxxxxx"', b: '"x"', c: '"x"' }))
        const credential = await created(store, draftOf({ storage }))
        const limited = withLimits({ storageKeys: 1, storageBytes: 5 })

        const outcomes = [
          await store.commit(credential, setting({ d: '"x"' }), limited),
          await store.commit(credential, setting({ b: '"xx"' }), limited),
          await store.commit(credential, setting({ a: '"yyyyyyyy"' }), limited),
          await store.commit(credential, setting({ a: '"xxx"' }), limited),
          await store.commit(credential, setting({}, ['b']), limited),
        ]

        expect(outcomes.map(({ status }) => status)).toEqual([
          'tooLarge',
          'tooLarge',
          'committed',
          'committed',
          'committed',
        ])
        expect(await storageOf(store, credential)).toEqual({ a: '"xxx"', c: '"x"' })
      })

      it('T7: lets everything else change in a session that is over the limits by now', async () => {
        const { store } = await makeStore()
        const storage = new Map(Object.entries({ a: '1', b: '2' }))
        const credential = await created(store, draftOf({ storage }))
        const grants = { ...noGrants, userName: 'ann', privileges: ['browse'] }

        const outcome = await store.commit(
          credential,
          { ...emptyCommit, grants, idleTimeoutMs: 90 * minute },
          withLimits({ storageKeys: 1, storageBytes: 1 }),
        )

        expect(outcome.status).toBe('committed')
        expect(await recordOf(store, credential)).toMatchObject({ userName: 'ann', storage })
      })

      it('T7: takes and removes 9 000 keys in one commit where the limits do', async () => {
        const { store } = await makeStore()
        const limited = withLimits({ storageKeys: 9000 })
        const credential = await created(store)
        const names = Array.from({ length: 9000 }, (_, index) => `key ${index}`)
        const all = Object.fromEntries(names.map((storageName) => [storageName, '1']))

        const set = await store.commit(credential, setting(all), limited)
        const { storage } = await recordOf(store, credential)
        const removed = await store.commit(credential, setting({ last: '1' }, names), limited)

        expect([set.status, removed.status]).toEqual(['committed', 'committed'])
        expect(storage.size).toBe(9000)
        expect(await storageOf(store, credential)).toEqual({ last: '1' })
      })
    })

    describe('commit: idle timeout', () => {
      it('S4: keeps a session longer from the moment on that the idle timeout grows', async () => {
        const { store, passTime } = await makeStore()
        const credential = await created(store, draftOf({ idleTimeoutMs: 60 * minute }))
        await passTime(30 * minute)

        const change = { ...emptyCommit, idleTimeoutMs: 180 * minute }
        await store.commit(credential, change, policy)
        await passTime(180 * minute)

        expect(await recordOf(store, credential)).toMatchObject({ idleTimeoutMs: 180 * minute })
        expect(await isRefreshed(store, credential)).toBe(true)
        await passTime(180 * minute)
        expect(await store.load(credential, policy, true)).toMatchObject({ status: 'live' })
      })

      it('S4: ends a session sooner from the moment on that the idle timeout shrinks', async () => {
        const { store, passTime } = await makeStore()
        const credential = await created(store, draftOf({ idleTimeoutMs: 60 * minute }))

        await store.commit(credential, { ...emptyCommit, idleTimeoutMs: 5 * minute }, policy)
        await passTime(5 * minute + 30 * second)
        const before = await store.load(credential, policy, false)
        await passTime(minute)

        expect(recordIn(before).idleTimeoutMs).toBe(5 * minute)
        expect(await store.load(credential, policy, true)).toBeUndefined()
      })

      it('S4: changes nothing else', async () => {
        const { store } = await makeStore()
        const credential = await created(store, signedInDraft)
        const before = await recordOf(store, credential)

        await store.commit(credential, { ...emptyCommit, idleTimeoutMs: 90 * minute }, unlimited)

        expect(await recordOf(store, credential)).toEqual({ ...before, idleTimeoutMs: 90 * minute })
      })
    })

    describe('commit: grants', () => {
      it('P2: adds privileges and roles to those that are there', async () => {
        const { store } = await makeStore()
        const credential = await created(store, draftOf({ privileges: ['a'], roles: ['Clerk'] }))

        await store.commit(credential, granting({ privileges: ['a', 'b'] }), policy)
        await store.commit(
          credential,
          granting({ privileges: ['c'], roles: ['Clerk', 'M'] }),
          policy,
        )

        expect(await recordOf(store, credential)).toMatchObject({
          userName: '',
          privileges: ['a', 'b', 'c'],
          roles: ['Clerk', 'M'],
        })
      })

      it('P2: adds what parallel commits grant', async () => {
        const { store } = await makeStore()
        const credential = await created(store)

        await Promise.all(
          ['a', 'b', 'c'].map((privilege) =>
            store.commit(credential, granting({ privileges: [privilege] }), policy),
          ),
        )

        expect(await recordOf(store, credential)).toMatchObject({ privileges: ['a', 'b', 'c'] })
      })

      it('P5: clears everything that was granted and nothing else', async () => {
        const { store } = await makeStore()
        const credential = await created(store, signedInDraft)
        const before = await recordOf(store, credential)

        await store.commit(credential, granting({ clears: true, userName: '' }), policy)

        expect(await recordOf(store, credential)).toEqual({
          ...before,
          userName: '',
          privileges: [],
          roles: [],
        })
      })

      it('P5: clears the user name, too, where no other is given', async () => {
        const { store } = await makeStore()
        const credential = await created(store, signedInDraft)

        await store.commit(credential, granting({ clears: true }), policy)

        expect(await recordOf(store, credential)).toMatchObject({ userName: '', privileges: [] })
      })

      it('P5: clears first and adds then', async () => {
        const { store } = await makeStore()
        const credential = await created(
          store,
          draftOf({ userName: 'ann', privileges: ['a', 'b'], roles: ['Clerk', 'M'] }),
        )

        const grants = { clears: true, userName: 'bob', privileges: ['b', 'c'], roles: ['M'] }
        await store.commit(credential, granting(grants), policy)

        expect(await recordOf(store, credential)).toMatchObject({
          userName: 'bob',
          privileges: ['b', 'c'],
          roles: ['M'],
        })
      })

      it('P5: clears no storage, whatever its names are', async () => {
        const { store } = await makeStore()
        const storage = new Map(awkwardTexts.map(([, text]) => [text, '1']))
        const credential = await created(store, draftOf({ privileges: ['a'], storage }))

        await store.commit(credential, granting({ clears: true }), policy)

        expect(await recordOf(store, credential)).toMatchObject({ privileges: [], storage })
      })

      it.each(awkwardTexts)('H1: grants and clears names with %s', async (_, text) => {
        const { store } = await makeStore()
        const credential = await created(store)

        const names = { userName: text, privileges: [text], roles: [text] }
        await store.commit(credential, granting(names), policy)
        const granted = await recordOf(store, credential)
        await store.commit(credential, granting({ clears: true }), policy)
        const cleared = await recordOf(store, credential)

        expect(granted).toMatchObject(names)
        expect(cleared).toMatchObject({ userName: '', privileges: [], roles: [] })
      })

      it('S6: changes the user name, and leaves it where none is given', async () => {
        const { store } = await makeStore()
        const credential = await created(store, signedInDraft)

        await store.commit(credential, granting({ userName: 'bob' }), policy)
        const renamed = await recordOf(store, credential)
        await store.commit(credential, granting({ privileges: ['more'] }), policy)
        const kept = await recordOf(store, credential)
        await store.commit(credential, granting({ userName: '' }), policy)
        const nobody = await recordOf(store, credential)

        expect(renamed).toMatchObject({ userName: 'bob', roles: signedInDraft.roles })
        expect(kept.userName).toBe('bob')
        expect(nobody).toMatchObject({ userName: '', roles: signedInDraft.roles })
      })

      it('L5: counts the absolute end anew from a sign-in', async () => {
        const { store, passTime } = await makeStore()
        const hour = withAbsoluteTimeout(60 * minute)
        const session = newSession({ idleTimeoutMs: 120 * minute })
        await store.create(session, hour)
        const { credential } = session
        await passTime(40 * minute)
        const before = await recordOf(store, credential)

        const outcome = await store.commit(
          credential,
          granting({ userName: 'ann', signsIn: true }),
          hour,
        )
        const after = await recordOf(store, credential)
        await passTime(40 * minute)

        expect(after).toEqual({
          ...before,
          userName: 'ann',
          signedInAt: timeOf(outcome),
          endsAt: timeOf(outcome) + 60 * minute,
        })
        expect(await store.load(credential, hour, true)).toMatchObject({ status: 'live' })
        await passTime(21 * minute)
        expect(await store.load(credential, hour, true)).toBeUndefined()
      })

      it('L5: lifts the end at a sign-in without an absolute timeout, and sets it at one with', async () => {
        const { store } = await makeStore()
        const credential = await created(store)
        const signIn = granting({ userName: 'ann', signsIn: true })

        await store.commit(credential, signIn, unlimited)
        const lifted = await recordOf(store, credential)
        const outcome = await store.commit(credential, signIn, withAbsoluteTimeout(minute))
        const set = await recordOf(store, credential)

        expect(lifted.endsAt).toBe(Infinity)
        expect(set.endsAt).toBe(timeOf(outcome) + minute)
      })

      it('L5: leaves the end where nobody signs in', async () => {
        const { store } = await makeStore()
        const credential = await created(store, signedInDraft)
        const { signedInAt, endsAt } = await recordOf(store, credential)

        const grants = { clears: true, userName: 'bob', privileges: ['c'] }
        await store.commit(credential, granting(grants), withAbsoluteTimeout(minute))

        expect(await recordOf(store, credential)).toMatchObject({ signedInAt, endsAt })
      })
    })

    describe('commit: a new secret', () => {
      it('C5: opens the session from then on, and every earlier one opens nothing', async () => {
        const { store } = await makeStore()
        const first = await created(store)

        const next = await rotated(store, first)
        const third = await rotated(store, next)

        expect(await store.load(first, policy, true)).toEqual({ status: 'rotated' })
        expect(await store.load(next, policy, true)).toEqual({ status: 'rotated' })
        expect(await store.load(third, policy, true)).toMatchObject({ status: 'live' })
      })

      it('C5: is stored in one step with what it comes with', async () => {
        const { store } = await makeStore()
        const credential = await created(store, draftOf({ storage: new Map([['a', '1']]) }))
        const commit = everything()

        const outcome = await store.commit(credential, commit, policy)

        const now = timeOf(outcome)
        const opened = { id: credential.id, secretHash: commit.newSecretHash }
        expect(await recordOf(store, opened)).toMatchObject({
          userName: 'eve',
          privileges: ['WebAdmin'],
          roles: ['Manager'],
          idleTimeoutMs: 999 * minute,
          signedInAt: now,
          endsAt: now + policy.expiry.absoluteTimeoutMs,
          storage: new Map(Object.entries({ x: '1', y: '2' })),
        })
      })

      it('C4: stays away where none is given', async () => {
        const { store } = await makeStore()
        const credential = await created(store)

        await store.commit(credential, { ...everything(), newSecretHash: undefined }, policy)

        expect(await store.load(credential, policy, true)).toMatchObject({ status: 'live' })
      })

      it('C5: lets one of 20 parallel rotations be the good one', async () => {
        const { store } = await makeStore()
        const credential = await created(store)
        const hashes = Array.from({ length: 20 }, () => newHash())

        const outcomes = await Promise.all(
          hashes.map((newSecretHash) =>
            store.commit(credential, { ...emptyCommit, newSecretHash, asksFor: 'secret' }, policy),
          ),
        )
        const statuses = await Promise.all(
          hashes.map((hash) => statusOf(store, credential.id, hash)),
        )

        expect(outcomes.filter(({ status }) => status === 'committed')).toHaveLength(1)
        expect(outcomes.filter(({ status }) => status === 'rotated')).toHaveLength(19)
        expect(statuses).toEqual(
          outcomes.map(({ status }) => (status === 'committed' ? 'live' : undefined)),
        )
      })

      it('L10: makes earlier ones read as rotated for 30 s, and as unknown then', async () => {
        const { store, passTime } = await makeStore()
        const before = await created(store)
        const credential = await rotated(store, before)

        await passTime(25 * second)
        const early = await store.load(before, policy, true)
        await passTime(10 * second)

        expect(early).toEqual({ status: 'rotated' })
        expect(await store.load(before, policy, true)).toBeUndefined()
        expect(await touch(store, before, policy)).toBeUndefined()
        expect(await store.commit(before, setting({ a: '1' }), policy)).toEqual(ended)
        expect(await storageOf(store, credential)).toEqual({})
      })

      it('L10: remembers no earlier one for longer because of a later rotation', async () => {
        const { store, passTime } = await makeStore()
        const first = await created(store)
        const next = await rotated(store, first)
        await passTime(20 * second)

        const third = await rotated(store, next)
        await passTime(15 * second)
        const fourth = await rotated(store, third)

        expect(await store.load(first, policy, true)).toBeUndefined()
        expect(await store.load(next, policy, true)).toEqual({ status: 'rotated' })
        expect(await store.load(third, policy, true)).toEqual({ status: 'rotated' })
        expect(await store.load(fourth, policy, true)).toMatchObject({ status: 'live' })
      })

      it('L10: counts an earlier one as no activity', async () => {
        const { store, passTime } = await makeStore()
        const before = await created(store)
        await passTime(2 * minute)
        const credential = await rotated(store, before)

        await store.load(before, policy, true)

        expect(await isRefreshed(store, credential)).toBe(true)
      })
    })

    describe('commit: with a secret that was rotated out', () => {
      it('C8: merges plain changes for 30 s', async () => {
        const { store, passTime } = await makeStore()
        const storage = new Map(Object.entries({ a: '1', b: '1' }))
        const before = await created(store, draftOf({ storage }))
        const credential = await rotated(store, before)
        await passTime(25 * second)

        const outcome = await store.commit(
          before,
          { ...setting({ c: '1' }, ['b']), idleTimeoutMs: 90 * minute },
          policy,
        )

        expect(outcome).toMatchObject({ status: 'merged', now: expect.any(Number) })
        expect(timeOf(outcome)).toBeGreaterThan(0)
        expect(await recordOf(store, credential)).toMatchObject({
          idleTimeoutMs: 90 * minute,
          storage: new Map(Object.entries({ a: '1', c: '1' })),
        })
      })

      it('C8: takes no new secret with plain changes', async () => {
        const { store } = await makeStore()
        const before = await created(store)
        const credential = await rotated(store, before)
        const newSecretHash = newHash()

        const outcome = await store.commit(
          before,
          { ...setting({ a: '1' }), newSecretHash },
          policy,
        )

        expect(outcome.status).toBe('merged')
        expect(await statusOf(store, before.id, newSecretHash)).toBeUndefined()
        expect(await store.load(before, policy, true)).toEqual({ status: 'rotated' })
        expect(await storageOf(store, credential)).toEqual({ a: '1' })
      })

      it('C8: takes rights away', async () => {
        const { store } = await makeStore()
        const before = await created(store)
        const credential = await signedIn(store, before)

        const outcome = await store.commit(
          before,
          { ...granting({ clears: true, userName: '' }), newSecretHash: newHash() },
          policy,
        )

        expect(outcome.status).toBe('merged')
        expect(await recordOf(store, credential)).toMatchObject({
          userName: '',
          privileges: [],
          roles: [],
        })
      })

      it.each([
        ['a secret, as whoever', 'secret', 'eve'],
        ['a secret, as the user that the session has', 'secret', 'ann'],
        ['rights, as another user', 'rights', 'eve'],
        ['rights, as a user whose name differs in case', 'rights', 'Ann'],
        ['rights, as nobody', 'rights', ''],
      ] as const)(
        'C8: stores nothing when the changes ask for %s',
        async (_, asksFor, userName) => {
          const { store } = await makeStore()
          const before = await created(store)
          const credential = await signedIn(store, before)
          const stored = await recordOf(store, credential)
          const commit = { ...everything(), asksFor, userName }

          const outcome = await store.commit(before, commit, policy)

          expect(outcome).toEqual({ status: 'rotated' })
          expect(await recordOf(store, credential)).toEqual(stored)
          expect(await statusOf(store, before.id, commit.newSecretHash)).toBeUndefined()
        },
      )

      it.each(['rights', 'secret'] as const)(
        'C8: stores nothing when nobody asks for %s in a session of nobody',
        async (asksFor) => {
          const { store } = await makeStore()
          const before = await created(store)
          const credential = await rotated(store, before)
          const stored = await recordOf(store, credential)
          const commit = { ...everything(), asksFor, userName: '' }

          const outcome = await store.commit(before, commit, policy)

          expect(outcome).toEqual({ status: 'rotated' })
          expect(await recordOf(store, credential)).toEqual(stored)
        },
      )

      it('C8: stores nothing when nobody asks for rights in a session that its user has left', async () => {
        const { store } = await makeStore()
        const before = await created(store, signedInDraft)
        const newSecretHash = newHash()
        const signOut = granting({ clears: true, userName: '' })
        await store.commit(before, { ...signOut, newSecretHash }, policy)
        const credential = { id: before.id, secretHash: newSecretHash }
        const stored = await recordOf(store, credential)

        const outcome = await store.commit(before, { ...everything(), userName: '' }, policy)

        expect(outcome).toEqual({ status: 'rotated' })
        expect(await recordOf(store, credential)).toEqual(stored)
      })

      it('C8: grants rights to the user that the session has by now, with a secret of its own', async () => {
        const { store } = await makeStore()
        const before = await created(store)
        const credential = await signedIn(store, before)
        const newSecretHash = newHash()

        const outcome = await store.commit(
          before,
          {
            ...granting({ userName: 'ann', privileges: ['more'], signsIn: true }),
            storage: changes({ b: '2' }),
            userName: 'ann',
            newSecretHash,
            asksFor: 'rights',
          },
          policy,
        )

        const joined = { id: before.id, secretHash: newSecretHash }
        expect(outcome).toMatchObject({ status: 'committed' })
        expect(await store.load(credential, policy, true)).toMatchObject({ status: 'live' })
        expect(await recordOf(store, joined)).toMatchObject({
          userName: 'ann',
          privileges: ['browse', 'more'],
          signedInAt: timeOf(outcome),
          storage: new Map([['b', '2']]),
        })
        expect(await store.load(before, policy, true)).toEqual({ status: 'rotated' })
      })

      it('C8: gives each of 20 parallel sign-ins of one user a secret that works', async () => {
        const { store } = await makeStore()
        const before = await created(store)
        const hashes = Array.from({ length: 20 }, () => newHash())

        const outcomes = await Promise.all(
          hashes.map((newSecretHash) =>
            store.commit(before, signInOf('ann', newSecretHash), policy),
          ),
        )
        const statuses = await Promise.all(hashes.map((hash) => statusOf(store, before.id, hash)))

        expect(outcomes.map(({ status }) => status)).toEqual(Array(20).fill('committed'))
        expect(statuses).toEqual(Array(20).fill('live'))
        expect(await store.load(before, policy, true)).toEqual({ status: 'rotated' })
      })

      it('C8: lets one of 20 parallel sign-ins of different users have the session', async () => {
        const { store } = await makeStore()
        const before = await created(store)
        const users = Array.from({ length: 20 }, (_, index) => `user ${index}`)
        const hashes = users.map(() => newHash())

        const outcomes = await Promise.all(
          users.map((user, index) =>
            store.commit(before, signInOf(user, hashes[index] ?? ''), policy),
          ),
        )

        const winner = outcomes.findIndex(({ status }) => status === 'committed')
        const credential = { id: before.id, secretHash: hashes[winner] ?? '' }
        expect(outcomes.filter(({ status }) => status === 'rotated')).toHaveLength(19)
        expect(await recordOf(store, credential)).toMatchObject({
          userName: `user ${winner}`,
          privileges: [`of user ${winner}`],
        })
      })

      it.each(awkwardTexts)('C8: knows a user again whose name has %s', async (_, text) => {
        const { store } = await makeStore()
        const before = await created(store)
        await store.commit(before, signInOf(text, newHash()), policy)

        const same = await store.commit(before, signInOf(text, newHash()), policy)
        const other = await store.commit(before, signInOf(`${text} `, newHash()), policy)

        expect([same.status, other.status]).toEqual(['committed', 'rotated'])
      })

      it('C5: rotates all good secrets at the next rotation', async () => {
        const { store } = await makeStore()
        const before = await created(store)
        const first = await signedIn(store, before)
        const next = await signedIn(store, before)
        const both = [await store.load(first, policy, true), await store.load(next, policy, true)]

        const third = await rotated(store, next)

        expect(both.map((outcome) => outcome?.status)).toEqual(['live', 'live'])
        expect(await store.load(first, policy, true)).toEqual({ status: 'rotated' })
        expect(await store.load(next, policy, true)).toEqual({ status: 'rotated' })
        expect(await store.load(third, policy, true)).toMatchObject({ status: 'live' })
      })

      it('C8: joins with rights alone where no new secret is given', async () => {
        const { store } = await makeStore()
        const before = await created(store)
        const credential = await signedIn(store, before)

        const commit = { ...signInOf('ann', ''), newSecretHash: undefined }
        const outcome = await store.commit(before, commit, policy)

        expect(outcome.status).toBe('committed')
        expect(await recordOf(store, credential)).toMatchObject({
          privileges: ['browse', 'of ann'],
        })
        expect(await store.load(before, policy, true)).toEqual({ status: 'rotated' })
      })

      it('T7: passes no limit of storage', async () => {
        const { store } = await makeStore()
        const before = await created(store, draftOf({ storage: new Map([['a', '1']]) }))
        const credential = await rotated(store, before)

        const commit = setting({ b: '2' })
        const outcome = await store.commit(before, commit, withLimits({ storageKeys: 1 }))

        expect(outcome).toEqual({ status: 'tooLarge' })
        expect(await storageOf(store, credential)).toEqual({ a: '1' })
      })

      it('L5: finds nothing after the absolute end', async () => {
        const { store, passTime } = await makeStore()
        const limited = withAbsoluteTimeout(minute)
        const session = newSession()
        await store.create(session, limited)
        await passTime(50 * second)
        await rotated(store, session.credential)
        await passTime(15 * second)

        expect(await store.commit(session.credential, setting({ a: '1' }), limited)).toEqual(ended)
        expect(await store.load(session.credential, limited, true)).toBeUndefined()
      })
    })

    describe('destroy', () => {
      it('M3: answers true once and false then', async () => {
        const { store } = await makeStore()
        const { id } = await created(store)

        expect(await store.destroy(id)).toBe(true)
        expect(await store.destroy(id)).toBe(false)
        expect(await store.destroy(randomUUID())).toBe(false)
      })

      it('M3: answers false for a session that has expired', async () => {
        const { store, passTime } = await makeStore()
        const { id } = await created(store, draftOf({ idleTimeoutMs: 60 * minute }))

        await passTime(62 * minute)

        expect(await store.destroy(id)).toBe(false)
      })

      it('M3: answers true to one of 20 calls at once', async () => {
        const { store } = await makeStore()
        const { id } = await created(store)

        const answers = await Promise.all(Array.from({ length: 20 }, () => store.destroy(id)))

        expect(answers.filter(Boolean)).toHaveLength(1)
      })

      it('T2: takes everything with it', async () => {
        const { store } = await makeStore()
        const session = newSession(signedInDraft)
        await store.create(session, policy)
        const draft = draftOf()

        await store.destroy(session.credential.id)
        await store.create({ ...session, draft, signsIn: false }, policy)

        expect(await recordOf(store, session.credential)).toMatchObject(draft)
      })

      it('L8: is undone by nothing that comes later', async () => {
        const { store } = await makeStore()
        const before = await created(store, signedInDraft)
        const credential = await rotated(store, before)
        await store.destroy(credential.id)
        const commit = everything()

        const outcomes = [
          await store.commit(credential, setting({ a: '1' }), policy),
          await store.commit(credential, commit, policy),
          await store.commit(before, commit, policy),
          await store.commit(credential, signInOf('ann', newHash()), policy),
          await store.commit(credential, { ...emptyCommit, idleTimeoutMs: minute }, policy),
        ]

        expect(outcomes).toEqual(outcomes.map(() => ended))
        expect(await touch(store, credential, policy)).toBeUndefined()
        expect(await store.load(credential, policy, true)).toBeUndefined()
        expect(await store.load(before, policy, true)).toBeUndefined()
        expect(await statusOf(store, credential.id, commit.newSecretHash)).toBeUndefined()
        expect(await store.destroy(credential.id)).toBe(false)
      })

      it('L8: wins against commits, loads and touches at the same time', async () => {
        const { store } = await makeStore()

        for (let round = 0; round < 50; round += 1) {
          const credential = await created(store)
          await Promise.all([
            store.commit(credential, setting({ a: '1' }), policy),
            store.load(credential, policy, true),
            store.destroy(credential.id),
            store.commit(credential, { ...emptyCommit, idleTimeoutMs: minute }, policy),
            touch(store, credential, policy),
            store.commit(credential, everything(), policy),
          ])

          expect(await store.load(credential, policy, true)).toBeUndefined()
          expect(await store.destroy(credential.id)).toBe(false)
        }
      })
    })

    describeUserSessions(makeStore, runner)
    describeJoining(makeStore, runner)
    describeSessionLocks(makeStore, runner)

    describe('close', () => {
      it('M11: releases what the store has opened', async () => {
        const { store } = await makeStore()
        await created(store)

        expect(await store.close()).toBeUndefined()
      })
    })
  })
}
