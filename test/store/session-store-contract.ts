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
  created,
  draftOf,
  emptyCommit,
  ended,
  everything,
  isRefreshed,
  liveIn,
  minute,
  newCredential,
  newHash,
  newSession,
  policy,
  recordIn,
  recordOf,
  rotated,
  second,
  setting,
  signInOf,
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
import { describeKnownSessions } from './known-sessions-contract.ts'
import { describeSessionLimit } from './limit-contract.ts'
import { describeSecretCommits } from './secret-commit-contract.ts'
import { describeSessionLocks } from './session-lock-contract.ts'
import { describeStorageCommits } from './storage-commit-contract.ts'
import type { TestRunner } from './store-contract.d.ts'
import { describeUserSessions } from './user-sessions-contract.ts'

export type { StoreHarness, TestRunner }

/**
 * Runs the contract of `SessionStore` against a store.
 *
 * @param name The name of the store in the report.
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
        'T2: returns on load exactly the %s session that was created',
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
            generation: 0,
          })
        },
      )

      it('T2: returns an empty guest', async () => {
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
          generation: 0,
        })
      })

      it.each(awkwardTexts)('H1: returns %s unchanged in every name and value', async (_, text) => {
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

      it('T3: distinguishes names that differ only in case, form or length', async () => {
        const { store } = await makeStore()
        const names = ['a', 'A', 'aa', 'a ', '', '\u00E9', 'e\u0301']
        const storage = new Map(names.map((storageName, index) => [storageName, String(index)]))

        const credential = await created(store, draftOf({ storage }))

        expect(await storageOf(store, credential)).toEqual(Object.fromEntries(storage))
      })

      it('T7: returns a value of 200 KB', async () => {
        const { store } = await makeStore()
        const json = JSON.stringify('line\n"é"\0'.repeat(14_000))
        const storage = new Map([['large', json]])

        const credential = await created(store, draftOf({ storage }))

        expect(json.length).toBeGreaterThan(200_000)
        expect(await recordOf(store, credential)).toMatchObject({ storage })
      })

      it('L8: refuses an existing id, and does not change its session', async () => {
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

      it('T7: accepts exactly as many keys as the limit and not one more', async () => {
        const { store } = await makeStore()
        const limited = withLimits({ storageKeys: 3 })
        const full = newSession({ storage: new Map(Object.entries({ a: '1', b: '2', c: '3' })) })
        const over = newSession({
          storage: new Map(Object.entries({ a: '1', b: '2', c: '3', d: '4' })),
        })

        expect(await store.create(full, limited)).toMatchObject({ status: 'created' })
        expect(await store.create(over, limited)).toEqual({ status: 'tooLarge' })
      })

      it('T7: accepts exactly as many bytes as the limit and not one more, names included', async () => {
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

      it('T7: accepts 9 000 keys when the limits do', async () => {
        const { store } = await makeStore()
        const storage = new Map(Array.from({ length: 9000 }, (_, index) => [`key ${index}`, '1']))
        const session = newSession({ storage })

        const outcome = await store.create(session, withLimits({ storageKeys: 9000 }))

        expect(outcome).toMatchObject({ status: 'created' })
        expect(await recordOf(store, session.credential)).toMatchObject({ storage })
      })

      it('T2: keeps a copy of the given session', async () => {
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
      it('L1: finds nothing under an id that never existed', async () => {
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

      it('C1: does not count a wrong secret as activity', async () => {
        const { store, passTime } = await makeStore()
        const credential = await created(store)
        await passTime(2 * minute)

        await store.load({ id: credential.id, secretHash: newHash() }, policy, true)

        expect(await store.load(credential, policy, true)).toMatchObject({ refreshed: true })
      })

      it('returns the time', async () => {
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

      it('L4: ends a session after its idle timeout, including the refresh time', async () => {
        const { store, passTime } = await makeStore()
        const credential = await created(store, draftOf({ idleTimeoutMs: 60 * minute }))

        await passTime(60 * minute + 50 * second)
        const before = await store.load(credential, policy, false)
        await passTime(15 * second)
        const after = await store.load(credential, policy, false)

        expect(before?.status).toBe('live')
        expect(after).toBeUndefined()
      })

      it('L4: keeps a session for its idle timeout after a request for which no refresh was due', async () => {
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

      it('L4: never refreshes for a read that is not activity', async () => {
        const { store, passTime } = await makeStore()
        const credential = await created(store, draftOf({ idleTimeoutMs: 60 * minute }))

        await passTime(55 * minute)
        const read = await store.load(credential, policy, false)
        await passTime(10 * minute)

        expect(read).toMatchObject({ status: 'live', refreshed: false })
        expect(await store.load(credential, policy, false)).toBeUndefined()
      })

      it('L4: keeps nothing of an idle session', async () => {
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

      it('L5: uses the stored end, whatever the timeout is now', async () => {
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

      it('L5: ends a session without an absolute timeout only by its idle timeout', async () => {
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

      it('T2: returns a copy each time', async () => {
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

      it('S9: returns the time', async () => {
        const { store } = await makeStore()
        const session = newSession()
        const createdAt = timeOf(await store.create(session, policy))

        const touchedAt = await touch(store, session.credential, policy)

        expect(touchedAt).toBeGreaterThanOrEqual(createdAt)
        expect(touchedAt).toBeLessThan(createdAt + minute)
      })

      it('L4: writes the time to live only when a refresh is due', async () => {
        const { store, passTime } = await makeStore()
        const credential = await created(store)
        await passTime(45 * second)

        await touch(store, credential, policy)
        await passTime(20 * second)

        expect(await isRefreshed(store, credential)).toBe(true)
      })

      it('L4: takes the place of the refresh that was due', async () => {
        const { store, passTime } = await makeStore()
        const credential = await created(store)
        await passTime(2 * minute)

        await touch(store, credential, policy)

        expect(await isRefreshed(store, credential)).toBe(false)
      })

      it('C1: finds nothing under an unknown id, with a wrong secret or one rotated out', async () => {
        const { store } = await makeStore()
        const credential = await created(store)
        const wrong = { id: credential.id, secretHash: newHash() }
        await rotated(store, credential)

        expect(await touch(store, newCredential(), policy)).toBeUndefined()
        expect(await touch(store, wrong, policy)).toBeUndefined()
        expect(await touch(store, credential, policy)).toBeUndefined()
      })

      it('C1: keeps nothing alive with a wrong secret or one rotated out', async () => {
        const { store, passTime } = await makeStore()
        const before = await created(store)
        const credential = await rotated(store, before)
        await passTime(2 * minute)

        await touch(store, { id: before.id, secretHash: newHash() }, policy)
        await touch(store, before, policy)

        expect(await isRefreshed(store, credential)).toBe(true)
      })
    })

    describeStorageCommits(makeStore, runner)
    describeSecretCommits(makeStore, runner)

    describe('destroy', () => {
      it('M3: returns true once and then false', async () => {
        const { store } = await makeStore()
        const { id } = await created(store)

        expect(await store.destroy(id)).toBe(true)
        expect(await store.destroy(id)).toBe(false)
        expect(await store.destroy(randomUUID())).toBe(false)
      })

      it('M3: returns false for a session that has expired', async () => {
        const { store, passTime } = await makeStore()
        const { id } = await created(store, draftOf({ idleTimeoutMs: 60 * minute }))

        await passTime(62 * minute)

        expect(await store.destroy(id)).toBe(false)
      })

      it('M3: returns true to one of 20 parallel calls', async () => {
        const { store } = await makeStore()
        const { id } = await created(store)

        const answers = await Promise.all(Array.from({ length: 20 }, () => store.destroy(id)))

        expect(answers.filter(Boolean)).toHaveLength(1)
      })

      it('T2: deletes everything of the session', async () => {
        const { store } = await makeStore()
        const session = newSession(signedInDraft)
        await store.create(session, policy)
        const draft = draftOf()

        await store.destroy(session.credential.id)
        await store.create({ ...session, draft, signsIn: false }, policy)

        expect(await recordOf(store, session.credential)).toMatchObject(draft)
      })

      it('L8: is not undone by anything later', async () => {
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

      it('L8: wins against parallel commits, loads and touches', async () => {
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

    describeKnownSessions(makeStore, runner)
    describeUserSessions(makeStore, runner)
    describeSessionLimit(makeStore, runner)
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
