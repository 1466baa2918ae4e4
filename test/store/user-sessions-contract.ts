import { randomUUID } from 'node:crypto'

import { unknownClient } from 'koa-user-sessions/store'
import type {
  ClientDescription,
  CommitOutcome,
  CreateOutcome,
  RecordDraft,
  SessionCommit,
  SessionCredential,
  SessionLimit,
  SessionStore,
  SessionSummary,
  StorePolicy,
} from 'koa-user-sessions/store'

import {
  awkwardTexts,
  created,
  describeById,
  destroyAll,
  draftOf,
  emptyCommit,
  everything,
  grant,
  granting,
  minute,
  newCredential,
  newHash,
  newSession,
  noGrants,
  policy,
  read,
  recordOf,
  rotated,
  second,
  setting,
  signInOf,
  signedInDraft,
  statusOf,
  timeOf,
  touch,
  unlimited,
  withAbsoluteTimeout,
} from './contract-parts.ts'
import type { Runner, StoreHarness } from './contract-parts.ts'

/** A client of which everything is known. */
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

// Alike in case, form or length, or special to some store.
const namesLikeAnn: readonly string[] = [
  'ann',
  'Ann',
  'ANN',
  ' ann',
  'ann ',
  'ann\0',
  'an',
  'annn',
  '\u00E9',
  'e\u0301',
  '\uFB01',
  'fi',
  '\uD800',
  '\uDFFF',
  '\uFFFD',
  '\uD83D\uDE00',
  'user',
  'user:',
  '*',
  '?nn',
  '{ann}',
  'sess:',
]

/**
 * The part of the contract that is about a user's sessions: what is known of each, and what their
 * user and the server may do with them.
 *
 * @param makeStore Makes an empty store for one test.
 * @param runner The functions of the test runner.
 */
export function describeUserSessions(
  makeStore: () => StoreHarness | Promise<StoreHarness>,
  { describe, expect, it }: Runner,
): void {
  describe('describe', () => {
    it.each(['web', 'rest'] as const)(
      'M1: tells all that is known of a %s session',
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
          activeAt: summary.activeAt,
          isPostponed: false,
          now: summary.now,
        })
        expect(isAMoment(summary.activeAt - now)).toBe(true)
        expect(isAMoment(summary.now - now)).toBe(true)
      },
    )

    it('M1: tells of a guest of whom nothing is known', async () => {
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

    it.each(awkwardTexts)('K1: gives back %s in every text of the client', async (_, text) => {
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
    })

    it('K1: keeps the client for the life of the session', async () => {
      const { store } = await makeStore()
      const before = await created(store, draftOf({ client: phone }))

      await store.commit(before, everything(), policy)

      expect(await summaryOf(store, before)).toMatchObject({ client: phone, userName: 'eve' })
    })

    it('K1: hands out a copy of the client and keeps one', async () => {
      const { store } = await makeStore()
      const client = { ...phone }
      const credential = await created(store, draftOf({ client }))

      client.appName = 'Other'
      Reflect.set((await summaryOf(store, credential)).client, 'appName', 'Other')
      Reflect.set((await recordOf(store, credential)).client, 'appName', 'Other')

      expect(await summaryOf(store, credential)).toMatchObject({ client: phone })
    })

    it('M2, H2: tells rights, but no secret and no storage', async () => {
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

    it('M1: finds nothing under an unknown id, nor after the end', async () => {
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

    it('M2: tells the last activity, which loading and touching are', async () => {
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

    it('M2: tells an activity that wrote nothing refreshMs too early at most', async () => {
      const { store, passTime } = await makeStore()
      const credential = await created(store)
      await passTime(50 * second)

      await store.load(credential, policy, true)
      const { now, activeAt } = await summaryOf(store, credential)

      expect(now - activeAt).toBeLessThan(minute)
    })

    it('M2: takes no read, no plain change and no wrong secret for activity', async () => {
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

    it('L4: keeps nothing alive', async () => {
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
    it('K6: is told until the next load that is activity', async () => {
      const { store } = await makeStore()
      const credential = await postponed(store)

      const before = await summaryOf(store, credential)
      await store.load(credential, policy, true)

      expect(before.isPostponed).toBe(true)
      expect((await summaryOf(store, credential)).isPostponed).toBe(false)
    })

    it('K6: is told until the next touch', async () => {
      const { store } = await makeStore()
      const credential = await postponed(store)

      await touch(store, credential, policy)

      expect((await summaryOf(store, credential)).isPostponed).toBe(false)
    })

    it('K6: is undone by nothing else', async () => {
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

    it('K6: can be told anew after an activity', async () => {
      const { store } = await makeStore()
      const credential = await postponed(store)
      await store.load(credential, policy, true)

      await store.commit(credential, { ...emptyCommit, postpones: true }, policy)

      expect((await summaryOf(store, credential)).isPostponed).toBe(true)
    })

    it('K6: is kept with what it comes with, and is nothing that a session is loaded with', async () => {
      const { store } = await makeStore()
      const credential = await created(store, signedInDraft)
      const before = await recordOf(store, credential)

      await store.commit(credential, { ...setting({ b: '2' }), postpones: true }, policy)

      expect(await recordOf(store, credential)).toEqual({
        ...before,
        storage: new Map(Object.entries({ a: '1', b: '2' })),
      })
    })

    it('L4: lets the session expire as ever', async () => {
      const { store, passTime } = await makeStore()
      const credential = await created(store, signedInDraft)
      await passTime(55 * minute)

      await store.commit(credential, { ...emptyCommit, postpones: true }, policy)
      await passTime(7 * minute)

      expect(await describeById(store, credential.id, policy)).toBeUndefined()
    })
  })

  describe('list', () => {
    it('M2: describes all sessions of a user and nobody else, as describe does', async () => {
      const { store } = await makeStore()
      const first = await created(store, { ...signedInDraft, client: phone })
      const next = await created(store, signedInDraft)
      const other = await created(store, { ...signedInDraft, userName: 'bob' })
      await created(store)

      const list = await store.list('ann', policy)

      expect(idsOf(list)).toEqual(idsOf([first, next]))
      expect(idsOf(await store.list('bob', policy))).toEqual([other.id])
      for (const summary of list) {
        const described = await summaryOf(store, summary)
        expect({ ...summary, now: 0, activeAt: 0 }).toEqual({ ...described, now: 0, activeAt: 0 })
      }
    })

    it('M2: has nobody whom it does not know', async () => {
      const { store } = await makeStore()
      await created(store, signedInDraft)

      expect(await store.list('bob', policy)).toEqual([])
    })

    it('M2: compares names exactly', async () => {
      const { store } = await makeStore()
      const names = [...awkwardTexts.map(([, text]) => text), ...namesLikeAnn]
      const ids = new Map<string, string>()
      for (const userName of names) {
        const { id } = await created(store, draftOf({ userName }))
        ids.set(userName, id)
      }

      for (const [userName, id] of ids) {
        const list = await store.list(userName, policy)
        expect(list).toHaveLength(1)
        expect(list[0]).toMatchObject({ id, userName })
      }
    })

    it('M2: leaves out guests, and privileges without a name', async () => {
      const { store } = await makeStore()
      await created(store, draftOf({ privileges: ['browse'], storage: new Map() }))
      const guest = await created(store)
      await store.commit(guest, granting({ privileges: ['browse'], signsIn: true }), policy)

      expect(await store.list('', policy)).toEqual([])
    })

    it('M2: has a session from its sign-in on, as a guest that it was', async () => {
      const { store } = await makeStore()
      const guest = await created(store)
      const before = await store.list('ann', policy)

      const now = timeOf(await store.commit(guest, signInOf('ann', newHash()), policy))

      expect(before).toEqual([])
      expect(await store.list('ann', policy)).toMatchObject([{ id: guest.id, signedInAt: now }])
    })

    it('M2: has a session that has nothing but its name', async () => {
      const { store } = await makeStore()
      const { id } = await created(store, draftOf({ userName: 'ann' }))

      expect(idsOf(await store.list('ann', policy))).toEqual([id])
    })

    it('M2: loses a session that was destroyed, has expired or is past its absolute end', async () => {
      const { store, passTime } = await makeStore()
      const stays = await created(store, signedInDraft)
      const destroyed = await created(store, signedInDraft)
      await created(store, { ...signedInDraft, idleTimeoutMs: 5 * minute })
      const limited = newSession(signedInDraft)
      await store.create({ ...limited, signsIn: true }, withAbsoluteTimeout(6 * minute))

      const before = await store.list('ann', policy)
      await store.destroy(destroyed.id)
      await passTime(7 * minute)

      expect(before).toHaveLength(4)
      expect(idsOf(await store.list('ann', policy))).toEqual([stays.id])
    })

    it('M2: loses a session whose name is taken back, and has it again after a sign-in', async () => {
      const { store } = await makeStore()
      const credential = await created(store, signedInDraft)

      await store.commit(credential, granting({ clears: true, userName: '' }), policy)
      const meanwhile = await store.list('ann', policy)
      await store.commit(credential, signInOf('ann', newHash()), policy)

      expect(meanwhile).toEqual([])
      expect(idsOf(await store.list('ann', policy))).toEqual([credential.id])
    })

    it('M2: has a session under the last of its names only', async () => {
      const { store } = await makeStore()
      const credential = await created(store, signedInDraft)

      await store.commit(credential, granting({ userName: 'bob' }), policy)
      const ofBob = await store.list('bob', policy)
      await store.commit(credential, granting({ userName: 'ann' }), policy)

      expect(ofBob).toMatchObject([{ id: credential.id, userName: 'bob' }])
      expect(await store.list('bob', policy)).toEqual([])
      expect(await store.list('ann', policy)).toMatchObject([{ userName: 'ann' }])
    })

    it('M2: keeps a session whose secret is rotated', async () => {
      const { store } = await makeStore()
      const credential = await created(store, signedInDraft)

      await rotated(store, credential)

      expect(idsOf(await store.list('ann', policy))).toEqual([credential.id])
    })

    it('M2: has a session of a later life under an id, and not of an earlier one', async () => {
      const { store } = await makeStore()
      const session = newSession(signedInDraft)
      await store.create(session, policy)
      await store.destroy(session.credential.id)

      await store.create({ ...session, draft: { ...signedInDraft, userName: 'bob' } }, policy)

      expect(await store.list('ann', policy)).toEqual([])
      expect(idsOf(await store.list('bob', policy))).toEqual([session.credential.id])
    })

    it.each([
      ['load', (store, credential) => store.load(credential, policy, true)],
      ['touch', (store, credential) => touch(store, credential, policy)],
    ] satisfies [string, (store: SessionStore, credential: SessionCredential) => unknown][])(
      'M2: keeps a session that lives on by %s, for whatever time',
      async (_, use) => {
        const { store, passTime } = await makeStore()
        const credential = await created(store, signedInDraft)

        for (let request = 0; request < 6; request += 1) {
          await passTime(55 * minute)
          await use(store, credential)
        }

        expect(idsOf(await store.list('ann', policy))).toEqual([credential.id])
      },
    )

    it('M2: keeps a session whose idle timeout grows', async () => {
      const { store, passTime } = await makeStore()
      const credential = await created(store, signedInDraft)

      const [idleTimeoutMs, userName] = [1000 * minute, 'ann']
      const commit = { ...emptyCommit, userName, idleTimeoutMs }
      await store.commit(credential, commit, policy)
      await passTime(900 * minute)

      expect(idsOf(await store.list('ann', policy))).toEqual([credential.id])
    })

    it('M2: keeps 300 sessions of each of two users apart', async () => {
      const { store } = await makeStore()
      const [anns, bobs] = await Promise.all(
        ['ann', 'bob'].map((userName) =>
          Promise.all(
            Array.from({ length: 300 }, () => created(store, { ...signedInDraft, userName })),
          ),
        ),
      )

      expect(idsOf(await store.list('ann', policy))).toEqual(idsOf(anns ?? []))
      expect(idsOf(await store.list('bob', policy))).toEqual(idsOf(bobs ?? []))
    })
  })

  describe('grant', () => {
    it('M13: adds to what was granted, and changes nothing else', async () => {
      const { store, passTime } = await makeStore()
      const credential = await created(store, signedInDraft)
      await passTime(2 * minute)
      const before = await recordOf(store, credential)

      const outcome = await grant(
        store,
        credential.id,
        'ann',
        {
          ...noGrants,
          privileges: ['browse', 'more'],
          roles: ['Manager'],
        },
        policy,
      )

      expect(outcome).toBe(true)
      expect(await recordOf(store, credential)).toEqual({
        ...before,
        privileges: ['browse', 'more'],
        roles: ['Clerk', 'Manager'],
      })
      expect(await idleTimeOf(store, credential)).toBe(2)
    })

    it('M13: clears first and adds then, and keeps the name that is given', async () => {
      const { store } = await makeStore()
      const credential = await created(store, {
        ...signedInDraft,
        privileges: ['a', 'b'],
        storage: new Map([['p:a', '1']]),
      })
      const before = await recordOf(store, credential)

      const grants = { ...noGrants, clears: true, userName: 'ann', privileges: ['b', 'c'] }
      const outcome = await grant(store, credential.id, 'ann', grants, policy)

      expect(outcome).toBe(true)
      expect(await recordOf(store, credential)).toEqual({
        ...before,
        privileges: ['b', 'c'],
        roles: [],
      })
      expect(idsOf(await store.list('ann', policy))).toEqual([credential.id])
    })

    it('M13: takes everything back, the name too; id, storage and secret stay', async () => {
      const { store } = await makeStore()
      const credential = await created(store, signedInDraft)
      const before = await recordOf(store, credential)

      const outcome = await grant(
        store,
        credential.id,
        'ann',
        {
          ...noGrants,
          clears: true,
          userName: '',
        },
        policy,
      )

      expect(outcome).toBe(true)
      expect(await recordOf(store, credential)).toEqual({
        ...before,
        userName: '',
        privileges: [],
        roles: [],
      })
      expect(await store.list('ann', policy)).toEqual([])
    })

    it.each(awkwardTexts)('H1: grants names with %s', async (_, text) => {
      const { store } = await makeStore()
      const credential = await created(store, draftOf({ userName: text }))

      const names = { privileges: [text], roles: [text] }
      const wrong = await grant(store, credential.id, `${text} `, { ...noGrants, ...names }, policy)
      const before = await recordOf(store, credential)
      const right = await grant(store, credential.id, text, { ...noGrants, ...names }, policy)

      expect([wrong, right]).toEqual([false, true])
      expect(before).toMatchObject({ privileges: [], roles: [] })
      expect(await recordOf(store, credential)).toMatchObject({ userName: text, ...names })
    })

    it('M13: changes no session of another user, of nobody, or that has ended', async () => {
      const { store, passTime } = await makeStore()
      const bobs = await created(store, { ...signedInDraft, userName: 'bob' })
      const guest = await created(store, draftOf({ privileges: ['browse'] }))
      const destroyed = await created(store, signedInDraft)
      const { credential: over, ...session } = newSession(signedInDraft)
      await store.create({ credential: over, ...session }, withAbsoluteTimeout(minute))
      const before = [await recordOf(store, bobs), await recordOf(store, guest)]
      await store.destroy(destroyed.id)
      const grants = { ...noGrants, clears: true, userName: 'ann', privileges: ['WebAdmin'] }

      const early = [
        await grant(store, bobs.id, 'ann', grants, policy),
        await grant(store, guest.id, 'ann', grants, policy),
        await grant(store, destroyed.id, 'ann', grants, policy),
        await grant(store, randomUUID(), 'ann', grants, policy),
      ]
      const after = [await recordOf(store, bobs), await recordOf(store, guest)]
      await passTime(2 * minute)

      expect(early).toEqual([false, false, false, false])
      expect(after).toEqual(before)
      expect(await grant(store, over.id, 'ann', grants, policy)).toBe(false)
      expect(await store.load(destroyed, policy, true)).toBeUndefined()
      expect(await store.list('ann', policy)).toEqual([])
    })
  })

  describe('destroy: of a user', () => {
    it('M3: ends a session for its user, and for nobody else', async () => {
      const { store } = await makeStore()
      const credential = await created(store, signedInDraft)

      const wrong = [
        await store.destroy(credential.id, 'bob'),
        await store.destroy(credential.id, 'Ann'),
        await store.destroy(credential.id, ''),
      ]
      const meanwhile = await isLive(store, credential)
      const right = await store.destroy(credential.id, 'ann')

      expect(wrong).toEqual([false, false, false])
      expect(meanwhile).toBe(true)
      expect(right).toBe(true)
      expect(await store.load(credential, policy, true)).toBeUndefined()
      expect(await store.destroy(credential.id, 'ann')).toBe(false)
    })

    it('M3: ends no guest for a user', async () => {
      const { store } = await makeStore()
      const guest = await created(store)

      expect(await store.destroy(guest.id, 'ann')).toBe(false)
      expect(await isLive(store, guest)).toBe(true)
    })

    it.each(awkwardTexts)('H1: knows a user whose name has %s', async (_, userName) => {
      const { store } = await makeStore()
      const { id } = await created(store, draftOf({ userName }))

      const wrong = await store.destroy(id, `${userName} `)

      expect([wrong, await store.destroy(id, userName)]).toEqual([false, true])
    })

    it('M3: answers false past the absolute end', async () => {
      const { store, passTime } = await makeStore()
      const sessions = [newSession(signedInDraft), newSession(signedInDraft)]
      for (const session of sessions) await store.create(session, withAbsoluteTimeout(minute))

      await passTime(2 * minute)

      expect(await store.destroy(sessions[0]?.credential.id ?? '')).toBe(false)
      expect(await store.destroy(sessions[1]?.credential.id ?? '', 'ann')).toBe(false)
    })
  })

  describe('destroyAll', () => {
    it("M5: ends all sessions of a user and nobody else's", async () => {
      const { store } = await makeStore()
      const anns = [await created(store, signedInDraft), await created(store, signedInDraft)]
      const bobs = await created(store, { ...signedInDraft, userName: 'bob' })
      const guest = await created(store)

      const ended = await destroyAll(store, 'ann')

      expect(ended.toSorted()).toEqual(idsOf(anns))
      expect(await liveOf(store, [...anns, bobs, guest])).toEqual([bobs, guest])
      expect(await store.list('ann', policy)).toEqual([])
    })

    it('M4: leaves the one that stays', async () => {
      const { store } = await makeStore()
      const first = await created(store, signedInDraft)
      const stays = await created(store, signedInDraft)
      const last = await created(store, signedInDraft)

      const ended = await destroyAll(store, 'ann', stays.id)

      expect(ended.toSorted()).toEqual(idsOf([first, last]))
      expect(await liveOf(store, [first, stays, last])).toEqual([stays])
      expect(idsOf(await store.list('ann', policy))).toEqual([stays.id])
    })

    it("M4: ends all where the one that stays is not the user's", async () => {
      const { store } = await makeStore()
      const anns = await created(store, signedInDraft)
      const bobs = await created(store, { ...signedInDraft, userName: 'bob' })

      expect(await destroyAll(store, 'ann', bobs.id)).toEqual([anns.id])
      expect(await liveOf(store, [anns, bobs])).toEqual([bobs])
    })

    it('M5: answers with nothing where there is none', async () => {
      const { store } = await makeStore()
      const { id } = await created(store, signedInDraft)
      await store.destroy(id)

      expect(await destroyAll(store, 'ann')).toEqual([])
      expect(await destroyAll(store, 'bob')).toEqual([])
    })

    it('M5: counts none that has expired', async () => {
      const { store, passTime } = await makeStore()
      const stays = await created(store, signedInDraft)
      await created(store, { ...signedInDraft, idleTimeoutMs: 5 * minute })
      const limited = newSession(signedInDraft)
      await store.create(limited, withAbsoluteTimeout(minute))
      await passTime(7 * minute)

      expect(await destroyAll(store, 'ann')).toEqual([stays.id])
    })

    it("M5: leaves sessions alone that are the user's no more", async () => {
      const { store } = await makeStore()
      const guest = await created(store, signedInDraft)
      const demoted = await created(store, signedInDraft)
      const bobs = await created(store, signedInDraft)
      await store.commit(guest, granting({ clears: true, userName: '' }), policy)
      await grant(store, demoted.id, 'ann', { ...noGrants, clears: true, userName: '' }, policy)
      await store.commit(bobs, granting({ userName: 'bob' }), policy)

      expect(await destroyAll(store, 'ann')).toEqual([])
      expect(await liveOf(store, [guest, demoted, bobs])).toEqual([guest, demoted, bobs])
    })

    it('M5: tells each session to one of parallel calls', async () => {
      const { store } = await makeStore()
      const sessions = await Promise.all(
        Array.from({ length: 20 }, () => created(store, signedInDraft)),
      )

      const ended = await Promise.all(Array.from({ length: 5 }, () => destroyAll(store, 'ann')))

      expect(ended.flat().toSorted()).toEqual(idsOf(sessions))
      expect(await liveOf(store, sessions)).toEqual([])
    })

    it('M5: ends a session whose sign-in was answered, however many run side by side', async () => {
      const { store } = await makeStore()
      const before = await Promise.all(
        Array.from({ length: 10 }, () => created(store, signedInDraft)),
      )

      await Promise.all([
        destroyAll(store, 'ann'),
        ...Array.from({ length: 10 }, () => created(store, signedInDraft)),
      ])

      expect(await liveOf(store, before)).toEqual([])
    })
  })

  describe('maxSessions: terminateOldest', () => {
    it('M6: ends the session that was signed in first, whichever was used last', async () => {
      const { store, passTime } = await makeStore()
      const limited = limitedTo(2)
      const first = await signsIn(store, limited)
      const next = await signsIn(store, limited)
      await passTime(2 * minute)
      await store.load(first.credential, limited, true)

      const third = await signsIn(store, limited)

      expect([first.ended, next.ended, third.ended]).toEqual([[], [], [first.credential.id]])
      expect(await store.load(first.credential, limited, true)).toBeUndefined()
      expect(idsOf(await store.list('ann', limited))).toEqual(
        idsOf([next.credential, third.credential]),
      )
    })

    it('M6: goes by the last sign-in of each, and gives a second one no second place', async () => {
      const { store } = await makeStore()
      const limited = limitedTo(2)
      const first = await signsIn(store, limited)
      const next = await signsIn(store, limited)

      const again = await store.commit(first.credential, signInOf('ann', newHash()), limited)
      const third = await signsIn(store, limited)

      expect(endedIn(again)).toEqual([])
      expect(third.ended).toEqual([next.credential.id])
      expect(idsOf(await store.list('ann', limited))).toEqual(
        idsOf([first.credential, third.credential]),
      )
    })

    it('M6: is kept where a guest signs in, too', async () => {
      const { store } = await makeStore()
      const limited = limitedTo(1)
      const first = await signsIn(store, limited)
      const guest = await created(store, draftOf({ storage: new Map([['cart', '1']]) }))
      const newSecretHash = newHash()

      const outcome = await store.commit(guest, signInOf('ann', newSecretHash), limited)

      expect(outcome.status).toBe('committed')
      expect(endedIn(outcome)).toEqual([first.credential.id])
      expect(await recordOf(store, { id: guest.id, secretHash: newSecretHash })).toMatchObject({
        userName: 'ann',
        storage: new Map([['cart', '1']]),
      })
    })

    it('M6: ends as many as are too many once the limit is lowered', async () => {
      const { store } = await makeStore()
      const sessions: SessionCredential[] = []
      for (let index = 0; index < 4; index += 1) sessions.push(await created(store, signedInDraft))

      const { credential, ended } = await signsIn(store, limitedTo(2))

      expect(ended.toSorted()).toEqual(idsOf(sessions.slice(0, 3)))
      expect(idsOf(await store.list('ann', policy))).toEqual(
        idsOf([...sessions.slice(3), credential]),
      )
    })

    it('M6: counts no session that has ended, or is of another user', async () => {
      const { store, passTime } = await makeStore()
      const limited = limitedTo(2)
      await created(store, { ...signedInDraft, idleTimeoutMs: 5 * minute })
      const destroyed = await created(store, signedInDraft)
      await store.destroy(destroyed.id)
      await created(store, { ...signedInDraft, userName: 'bob' })
      const cleared = await created(store, signedInDraft)
      await store.commit(cleared, granting({ clears: true, userName: '' }), limited)
      await passTime(7 * minute)

      const first = await signsIn(store, limited)
      const next = await signsIn(store, limited)

      expect([first.ended, next.ended]).toEqual([[], []])
      expect(await isLive(store, cleared)).toBe(true)
      expect(await store.list('bob', limited)).toHaveLength(1)
    })

    it('M6: ends nothing for a change that is no sign-in', async () => {
      const { store } = await makeStore()
      const sessions = [await created(store, signedInDraft), await created(store, signedInDraft)]
      const [first] = sessions
      if (!first) throw new Error('no session')

      await store.commit(first, setting({ b: '2' }), limitedTo(1))
      await store.commit(first, granting({ privileges: ['more'] }), limitedTo(1))
      await store.load(first, limitedTo(1), true)

      expect(await liveOf(store, sessions)).toEqual(sessions)
    })

    it('M6: ends nothing for a sign-in that stores nothing', async () => {
      const { store } = await makeStore()
      const limited = { ...limitedTo(1), limits: { storageBytes: 1, storageKeys: 1 } }
      const first = await created(store, draftOf({ userName: 'ann' }))
      const guest = await created(store)

      const outcomes = [
        await store.create(newSession(signedInDraft), limited),
        await store.commit(
          guest,
          { ...signInOf('ann', newHash()), storage: setting({ b: '"2"' }).storage },
          limited,
        ),
        await store.commit(newCredential(), signInOf('ann', newHash()), limited),
      ]

      expect(outcomes.map(({ status }) => status)).toEqual(['tooLarge', 'tooLarge', 'ended'])
      expect(idsOf(await store.list('ann', limited))).toEqual([first.id])
      expect(await isLive(store, guest)).toBe(true)
    })

    it.each(['create', 'commit'] as const)(
      'M6: is exact under 50 parallel sign-ins by %s',
      async (method) => {
        const { store } = await makeStore()
        const limited = limitedTo(5)

        const outcomes = await parallelSignIns(store, limited, method)

        const live = await liveOf(
          store,
          outcomes.map(({ credential }) => credential),
        )
        const ended = outcomes.flatMap(({ outcome }) => endedIn(outcome))
        expect(live).toHaveLength(5)
        expect(idsOf(await store.list('ann', limited))).toEqual(idsOf(live))
        expect(ended.toSorted()).toEqual(
          idsOf(outcomes.map(({ credential }) => credential)).filter(
            (id) => !live.some((credential) => credential.id === id),
          ),
        )
      },
    )
  })

  describe('maxSessions: refuse', () => {
    it('M6: stores nothing of a session that is one too many', async () => {
      const { store } = await makeStore()
      const refusing = limitedTo(1, 'refuse')
      const first = await signsIn(store, refusing)
      const session = newSession(signedInDraft)

      const outcome = await store.create({ ...session, signsIn: true }, refusing)

      expect(outcome).toEqual({ status: 'refused' })
      expect(await store.load(session.credential, refusing, true)).toBeUndefined()
      expect(await describeById(store, session.credential.id, refusing)).toBeUndefined()
      expect(idsOf(await store.list('ann', refusing))).toEqual([first.credential.id])
      expect(await isLive(store, first.credential)).toBe(true)
      expect(await store.create(session, policy)).toMatchObject({ status: 'created' })
    })

    it('M6: leaves the guest who is refused as it was', async () => {
      const { store, passTime } = await makeStore()
      const refusing = limitedTo(1, 'refuse')
      await signsIn(store, refusing, 'eve')
      const guest = await created(store, draftOf({ storage: new Map([['a', '1']]) }))
      await passTime(2 * minute)
      const before = await recordOf(store, guest)
      const commit: SessionCommit = { ...everything(), postpones: true }

      const outcome = await store.commit(guest, commit, refusing)

      expect(outcome).toEqual({ status: 'refused' })
      expect(await recordOf(store, guest)).toEqual(before)
      expect(await statusOf(store, guest.id, commit.newSecretHash ?? '')).toBeUndefined()
      expect(await summaryOf(store, guest)).toMatchObject({ isPostponed: false, userName: '' })
      expect(await idleTimeOf(store, guest)).toBe(2)
      expect(await store.list('eve', refusing)).toHaveLength(1)
    })

    it('M6: refuses nobody who signs in again, or who is somebody else', async () => {
      const { store } = await makeStore()
      const refusing = limitedTo(2, 'refuse')
      const first = await signsIn(store, refusing)
      await signsIn(store, refusing)

      const again = await store.commit(first.credential, signInOf('ann', newHash()), refusing)
      const bobs = await store.create(
        { ...newSession({ ...signedInDraft, userName: 'bob' }), signsIn: true },
        refusing,
      )
      const guest = await store.create(newSession(), refusing)

      expect([again, bobs, guest].map(({ status }) => status)).toEqual([
        'committed',
        'created',
        'created',
      ])
      expect(await store.list('ann', refusing)).toHaveLength(2)
    })

    it('M6: has room again after a session was destroyed', async () => {
      const { store } = await makeStore()
      const refusing = limitedTo(1, 'refuse')
      const { credential } = await signsIn(store, refusing)
      const before = await isRefused(store, refusing)

      await store.destroy(credential.id)

      expect(before).toBe(true)
      expect(await isRefused(store, refusing)).toBe(false)
      expect(await isRefused(store, refusing)).toBe(true)
    })

    it('M6: has room again after all sessions were destroyed', async () => {
      const { store } = await makeStore()
      const refusing = limitedTo(2, 'refuse')
      await signsIn(store, refusing)
      await signsIn(store, refusing)

      await destroyAll(store, 'ann')

      expect(await isRefused(store, refusing)).toBe(false)
      expect(await isRefused(store, refusing)).toBe(false)
      expect(await isRefused(store, refusing)).toBe(true)
    })

    it('M6: has room again after a session has expired', async () => {
      const { store, passTime } = await makeStore()
      const refusing = limitedTo(1, 'refuse')
      await signsIn(store, refusing)
      await passTime(59 * minute)
      const before = await isRefused(store, refusing)

      await passTime(3 * minute)

      expect(before).toBe(true)
      expect(await isRefused(store, refusing)).toBe(false)
    })

    it('M6: has room again after the absolute end of a session', async () => {
      const { store, passTime } = await makeStore()
      const refusing = limitedTo(1, 'refuse')
      const expiry = { ...policy.expiry, absoluteTimeoutMs: 20 * minute }
      await signsIn(store, { ...refusing, expiry })
      await passTime(19 * minute)
      const before = await isRefused(store, refusing)

      await passTime(2 * minute)

      expect(before).toBe(true)
      expect(await isRefused(store, refusing)).toBe(false)
    })

    it('M6: has room again after a user name was taken back', async () => {
      const { store } = await makeStore()
      const refusing = limitedTo(1, 'refuse')
      const cleared = await signsIn(store, refusing)
      await store.commit(cleared.credential, granting({ clears: true, userName: '' }), refusing)
      const demoted = await signsIn(store, refusing)
      const before = await isRefused(store, refusing)

      const grants = { ...noGrants, clears: true, userName: '' }
      await grant(store, demoted.credential.id, 'ann', grants, policy)

      expect(before).toBe(true)
      expect(await isRefused(store, refusing)).toBe(false)
      expect(await liveOf(store, [cleared.credential, demoted.credential])).toHaveLength(2)
    })

    it('M6: gives back the place of a sign-in that stored nothing', async () => {
      const { store } = await makeStore()
      const refusing = limitedTo(1, 'refuse')
      const limits = { storageBytes: 1, storageKeys: 1 }

      const outcomes = [
        await store.create(newSession(signedInDraft), { ...refusing, limits }),
        await store.commit(newCredential(), signInOf('ann', newHash()), refusing),
      ]

      expect(outcomes.map(({ status }) => status)).toEqual(['tooLarge', 'ended'])
      expect(await isRefused(store, refusing)).toBe(false)
    })

    it.each(['create', 'commit'] as const)(
      'M6: is exact under 50 parallel sign-ins by %s',
      async (method) => {
        const { store } = await makeStore()
        const refusing = limitedTo(5, 'refuse')

        const outcomes = await parallelSignIns(store, refusing, method)

        const stored = outcomes.filter(({ outcome }) => outcome.status !== 'refused')
        expect(stored.map(({ outcome }) => outcome.status)).toEqual(
          Array(5).fill(method === 'create' ? 'created' : 'committed'),
        )
        expect(idsOf(await store.list('ann', refusing))).toEqual(
          idsOf(stored.map(({ credential }) => credential)),
        )
        const live = outcomes.map(({ credential }) => credential)
        expect(await liveOf(store, live)).toEqual(stored.map(({ credential }) => credential))
      },
    )
  })
}

/** Whether so many milliseconds are what a few calls may take. */
function isAMoment(ms: number): boolean {
  return ms >= 0 && ms < 10 * second
}

function limitedTo(
  perUser: number,
  onExceed: SessionLimit['onExceed'] = 'terminateOldest',
): StorePolicy {
  return { ...policy, maxSessions: { perUser, onExceed } }
}

/** A new session of a user. Answers what opens it, and which ones have ended for it. */
async function signsIn(
  store: SessionStore,
  limited: StorePolicy,
  userName = 'ann',
): Promise<{ readonly credential: SessionCredential; readonly ended: readonly string[] }> {
  const session = newSession({ ...signedInDraft, userName })
  const outcome = await store.create({ ...session, signsIn: true }, limited)
  if (outcome.status !== 'created') throw new Error(`not created but ${outcome.status}`)
  return { credential: session.credential, ended: endedIn(outcome) }
}

async function isRefused(store: SessionStore, limited: StorePolicy): Promise<boolean> {
  const session = newSession({ ...signedInDraft, idleTimeoutMs: 600 * minute })
  const { status } = await store.create({ ...session, signsIn: true }, limited)
  return status === 'refused'
}

function endedIn(outcome: CreateOutcome | CommitOutcome): readonly string[] {
  return 'ended' in outcome ? (outcome.ended ?? []) : []
}

/** 50 sign-ins of one user at once: of new sessions, or of guests that the store has. */
async function parallelSignIns(
  store: SessionStore,
  limited: StorePolicy,
  method: 'create' | 'commit',
): Promise<
  readonly {
    readonly credential: SessionCredential
    readonly outcome: CreateOutcome | CommitOutcome
  }[]
> {
  const draft: RecordDraft = { ...draftOf(), userName: 'ann' }
  const sessions = Array.from({ length: 50 }, newCredential)
  if (method === 'create') {
    return Promise.all(
      sessions.map(async (credential) => ({
        credential,
        outcome: await store.create({ credential, draft, signsIn: true }, limited),
      })),
    )
  }
  const guests = await Promise.all(sessions.map(() => created(store)))
  return Promise.all(
    guests.map(async ({ id, secretHash: guestHash }) => {
      const secretHash = newHash()
      const commit = signInOf('ann', secretHash)
      const outcome = await store.commit({ id, secretHash: guestHash }, commit, limited)
      return { credential: { id, secretHash }, outcome }
    }),
  )
}

/** A signed-in session whose client has said that it suspends. */
async function postponed(store: SessionStore): Promise<SessionCredential> {
  const credential = await created(store, signedInDraft)
  await store.commit(credential, { ...emptyCommit, postpones: true }, policy)
  return credential
}

async function summaryOf(
  store: SessionStore,
  { id }: { readonly id: string },
): Promise<SessionSummary> {
  const summary = await describeById(store, id, policy)
  if (!summary) throw new Error('no live session')
  return summary
}

/** How many whole minutes ago the last activity was. */
async function idleTimeOf(store: SessionStore, credential: SessionCredential): Promise<number> {
  const { now, activeAt } = await summaryOf(store, credential)
  return Math.floor((now - activeAt) / minute)
}

async function isLive(store: SessionStore, { id }: SessionCredential): Promise<boolean> {
  return (await describeById(store, id, policy)) !== undefined
}

/** Those that open a session, in the same order. */
async function liveOf(
  store: SessionStore,
  credentials: readonly SessionCredential[],
): Promise<readonly SessionCredential[]> {
  const outcomes = await Promise.all(
    credentials.map(async (credential) => store.load(credential, policy, false)),
  )
  return credentials.filter((_, index) => outcomes[index]?.status === 'live')
}

function idsOf(sessions: readonly { readonly id: string }[]): readonly string[] {
  return sessions.map(({ id }) => id).toSorted()
}
