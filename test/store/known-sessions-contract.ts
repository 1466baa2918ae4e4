import { randomUUID } from 'node:crypto'

import { unknownClient } from 'koa-user-sessions/store'
import type { ClientDescription, SessionCredential, SessionStore } from 'koa-user-sessions/store'

import {
  awkwardTexts,
  created,
  describeById,
  draftOf,
  emptyCommit,
  everything,
  grant,
  minute,
  newHash,
  newSession,
  noGrants,
  policy,
  read,
  recordOf,
  rotated,
  second,
  setting,
  signedInDraft,
  timeOf,
  touch,
  unlimited,
  withAbsoluteTimeout,
  idleTimeOf,
  isLive,
  summaryOf,
} from './contract-parts.ts'
import type { Runner, StoreHarness } from './contract-parts.ts'

/** A client about which everything is known. */
const phone: ClientDescription = {
  applicationId: 'com.example.shop',
  appName: 'Shop',
  appVersion: '17.5',
  isOfficialApp: true,
  deviceModel: 'Pixel 8',
  platform: 'Android',
  systemVersion: '14',
  machineName: "Ann's phone",
  systemUserName: 'ann',
  persistentID: '',
  country: 'CH',
  region: 'Zürich',
}

/**
 * The part of the contract about the description of sessions, and about postponed sessions.
 *
 * @param makeStore Makes an empty store for one test.
 * @param runner The functions of the test runner.
 */
export function describeKnownSessions(
  makeStore: () => StoreHarness | Promise<StoreHarness>,
  { describe, expect, it }: Runner,
): void {
  describe('describe', () => {
    it.each(['web', 'rest'] as const)(
      'M1: returns all that is known about a %s session',
      async (type) => {
        const { store } = await makeStore()
        const { credential, draft } = newSession({ ...signedInDraft, type, client: phone })

        const now = timeOf(await store.create({ credential, draft, signsIn: true }, policy))
        const summary = await summaryOf(store, credential)

        const { storage: _storage, ...known } = draft
        expect(summary).toEqual({
          ...known,
          id: credential.id,
          createdAt: now,
          signedInAt: now,
          endsAt: now + policy.expiry.absoluteTimeoutMs,
          generation: 0,
          activeAt: summary.activeAt,
          isPostponed: false,
          now: summary.now,
        })
        expect(isAMoment(summary.activeAt - now)).toBe(true)
        expect(isAMoment(summary.now - now)).toBe(true)
      },
    )

    it('M1: describes a guest about whom nothing is known', async () => {
      const { store } = await makeStore()
      const { credential, draft } = newSession({ ip: '' })
      await store.create({ credential, draft, signsIn: false }, unlimited)

      expect(await summaryOf(store, credential)).toMatchObject({
        ip: '',
        client: unknownClient,
        userName: '',
        signedInAt: 0,
        endsAt: Infinity,
      })
    })

    it.each(awkwardTexts)(
      'K1: returns %s unchanged in every text of the client',
      async (_, text) => {
        const { store } = await makeStore()
        const client: ClientDescription = {
          applicationId: text,
          appName: text,
          appVersion: text,
          isOfficialApp: true,
          deviceModel: text,
          platform: text,
          systemVersion: text,
          machineName: text,
          systemUserName: text,
          persistentID: '',
          country: text,
          region: text,
        }

        const credential = await created(store, draftOf({ client, userName: text }))

        expect(await summaryOf(store, credential)).toMatchObject({ client, userName: text })
        expect(await recordOf(store, credential)).toMatchObject({ client })
      },
    )

    it('K1: keeps the client for the life of the session', async () => {
      const { store } = await makeStore()
      const before = await created(store, draftOf({ client: phone }))

      await store.commit(before, everything(), policy)

      expect(await summaryOf(store, before)).toMatchObject({ client: phone, userName: 'eve' })
    })

    it('K1: returns a copy of the client and keeps a copy', async () => {
      const { store } = await makeStore()
      const client = { ...phone }
      const credential = await created(store, draftOf({ client }))

      client.appName = 'Other'
      Reflect.set((await summaryOf(store, credential)).client, 'appName', 'Other')
      Reflect.set((await recordOf(store, credential)).client, 'appName', 'Other')

      expect(await summaryOf(store, credential)).toMatchObject({ client: phone })
    })

    it('M2, H2: returns rights, but no secret and no storage', async () => {
      const { store } = await makeStore()
      const before = await created(store, {
        ...signedInDraft,
        privileges: ['the privilege'],
        roles: ['the role'],
        storage: new Map([['the name', '"the value"']]),
      })
      const credential = await rotated(store, before)
      await store.lock(credential, { token: 'the-token', leaseMs: minute })

      const summary = await summaryOf(store, credential)

      expect(Object.keys(summary).toSorted()).toEqual([
        'activeAt',
        'client',
        'createdAt',
        'endsAt',
        'generation',
        'id',
        'idleTimeoutMs',
        'ip',
        'isPostponed',
        'now',
        'privileges',
        'roles',
        'signedInAt',
        'type',
        'userName',
      ])
      const text = JSON.stringify([summary, await store.list('ann', policy)])
      expect(summary).toMatchObject({ privileges: ['the privilege'], roles: ['the role'] })
      expect(text).not.toMatch(/the name|the value|the-token/)
      expect(text).not.toContain(before.secretHash)
      expect(text).not.toContain(credential.secretHash)
    })

    it('M1: finds nothing under an unknown id, or after the end', async () => {
      const { store, passTime } = await makeStore()
      const destroyed = await created(store)
      const idle = await created(store, draftOf({ idleTimeoutMs: 5 * minute }))
      const { credential: over, ...session } = newSession({ idleTimeoutMs: 60 * minute })
      await store.create({ credential: over, ...session }, withAbsoluteTimeout(20 * minute))
      const before = await Promise.all([destroyed, idle, over].map((one) => isLive(store, one)))

      await store.destroy(destroyed.id)
      await passTime(7 * minute)
      const meanwhile = await Promise.all([destroyed, idle, over].map((one) => isLive(store, one)))
      await passTime(14 * minute)

      expect(before).toEqual([true, true, true])
      expect(meanwhile).toEqual([false, false, true])
      expect(await isLive(store, over)).toBe(false)
      expect(await describeById(store, randomUUID(), policy)).toBeUndefined()
    })

    it('M2: returns the last activity, which is a load or a touch', async () => {
      const { store, passTime } = await makeStore()
      const credential = await created(store)

      const idle: number[] = [await idleTimeOf(store, credential)]
      await passTime(2 * minute)
      idle.push(await idleTimeOf(store, credential))
      await store.load(credential, policy, true)
      idle.push(await idleTimeOf(store, credential))
      await passTime(3 * minute)
      idle.push(await idleTimeOf(store, credential))
      await touch(store, credential, policy)
      idle.push(await idleTimeOf(store, credential))

      expect(idle).toEqual([0, 2, 0, 3, 0])
    })

    it('M2: returns an activity that wrote nothing at most refreshMs too early', async () => {
      const { store, passTime } = await makeStore()
      const credential = await created(store)
      await passTime(50 * second)

      await store.load(credential, policy, true)
      const { now, activeAt } = await summaryOf(store, credential)

      expect(now - activeAt).toBeLessThan(minute)
    })

    it('M2: does not count a plain change, an inactive load or a wrong secret as activity', async () => {
      const { store, passTime } = await makeStore()
      const before = await created(store, signedInDraft)
      const credential = await rotated(store, before)
      await passTime(2 * minute)

      await store.load(credential, policy, false)
      await read(store, credential.id)
      await describeById(store, credential.id, policy)
      await store.list('ann', policy)
      await store.commit(credential, setting({ b: '2' }), policy)
      await grant(store, credential.id, 'ann', { ...noGrants, privileges: ['more'] }, policy)
      await store.load({ id: credential.id, secretHash: newHash() }, policy, true)
      await store.load(before, policy, true)

      expect(await idleTimeOf(store, credential)).toBe(2)
    })

    it('L4: keeps no session alive', async () => {
      const { store, passTime } = await makeStore()
      const credential = await created(store, signedInDraft)
      await passTime(55 * minute)

      await describeById(store, credential.id, policy)
      await store.list('ann', policy)
      await grant(store, credential.id, 'ann', { ...noGrants, privileges: ['more'] }, policy)
      await passTime(7 * minute)

      expect(await store.load(credential, policy, true)).toBeUndefined()
      expect(await describeById(store, credential.id, policy)).toBeUndefined()
    })
  })

  describe('postponing', () => {
    it('K6: lasts until the next load that is activity', async () => {
      const { store } = await makeStore()
      const credential = await postponed(store)

      const before = await summaryOf(store, credential)
      await store.load(credential, policy, true)

      expect(before.isPostponed).toBe(true)
      expect((await summaryOf(store, credential)).isPostponed).toBe(false)
    })

    it('K6: lasts until the next touch', async () => {
      const { store } = await makeStore()
      const credential = await postponed(store)

      await touch(store, credential, policy)

      expect((await summaryOf(store, credential)).isPostponed).toBe(false)
    })

    it('K6: is ended by nothing else', async () => {
      const { store } = await makeStore()
      const credential = await postponed(store)

      await store.load(credential, policy, false)
      await store.load({ id: credential.id, secretHash: newHash() }, policy, true)
      await read(store, credential.id)
      await describeById(store, credential.id, policy)
      await store.list('ann', policy)
      await store.commit(credential, setting({ b: '2' }), policy)
      await store.commit(credential, { ...setting({ b: '3' }), postpones: false }, policy)
      await grant(store, credential.id, 'ann', { ...noGrants, privileges: ['more'] }, policy)

      expect(await store.list('ann', policy)).toMatchObject([{ isPostponed: true }])
    })

    it('K6: can be repeated after an activity', async () => {
      const { store } = await makeStore()
      const credential = await postponed(store)
      await store.load(credential, policy, true)

      await store.commit(credential, { ...emptyCommit, postpones: true }, policy)

      expect((await summaryOf(store, credential)).isPostponed).toBe(true)
    })

    it('K6: is stored together with other changes, and does not appear in a loaded session', async () => {
      const { store } = await makeStore()
      const credential = await created(store, signedInDraft)
      const before = await recordOf(store, credential)

      await store.commit(credential, { ...setting({ b: '2' }), postpones: true }, policy)

      expect(await recordOf(store, credential)).toEqual({
        ...before,
        storage: new Map(Object.entries({ a: '1', b: '2' })),
      })
    })

    it('L4: does not keep the session from expiring', async () => {
      const { store, passTime } = await makeStore()
      const credential = await created(store, signedInDraft)
      await passTime(55 * minute)

      await store.commit(credential, { ...emptyCommit, postpones: true }, policy)
      await passTime(7 * minute)

      expect(await describeById(store, credential.id, policy)).toBeUndefined()
    })
  })
}

function isAMoment(ms: number): boolean {
  return ms >= 0 && ms < 10 * second
}

/** A signed-in session whose client has announced that it suspends. */
async function postponed(store: SessionStore): Promise<SessionCredential> {
  const credential = await created(store, signedInDraft)
  await store.commit(credential, { ...emptyCommit, postpones: true }, policy)
  return credential
}
