import { randomUUID } from 'node:crypto'

import type { ClientDescription, SessionCredential, SessionStore } from 'koa-user-sessions/store'

import {
  awkwardTexts,
  created,
  destroyAll,
  draftOf,
  emptyCommit,
  grant,
  granting,
  minute,
  newHash,
  newSession,
  noGrants,
  policy,
  recordOf,
  rotated,
  signInOf,
  signedInDraft,
  timeOf,
  touch,
  withAbsoluteTimeout,
  idleTimeOf,
  idsOf,
  isLive,
  liveOf,
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
 * The part of the contract about a user's sessions: what is known about each, and what their user
 * and the server may do with them.
 *
 * @param makeStore Makes an empty store for one test.
 * @param runner The functions of the test runner.
 */
export function describeUserSessions(
  makeStore: () => StoreHarness | Promise<StoreHarness>,
  { describe, expect, it }: Runner,
): void {
  describe('list', () => {
    it('M2: describes all sessions of a user and no others, like describe', async () => {
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

    it('M2: is empty for an unknown user', async () => {
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

    it('M2: omits guests, and privileges without a user name', async () => {
      const { store } = await makeStore()
      await created(store, draftOf({ privileges: ['browse'], storage: new Map() }))
      const guest = await created(store)
      await store.commit(guest, granting({ privileges: ['browse'], signsIn: true }), policy)

      expect(await store.list('', policy)).toEqual([])
    })

    it('M2: has a session from its sign-in on, even if it was a guest before', async () => {
      const { store } = await makeStore()
      const guest = await created(store)
      const before = await store.list('ann', policy)

      const now = timeOf(await store.commit(guest, signInOf('ann', newHash()), policy))

      expect(before).toEqual([])
      expect(await store.list('ann', policy)).toMatchObject([{ id: guest.id, signedInAt: now }])
    })

    it('M2: has a session that has only a user name', async () => {
      const { store } = await makeStore()
      const { id } = await created(store, draftOf({ userName: 'ann' }))

      expect(idsOf(await store.list('ann', policy))).toEqual([id])
    })

    it('M2: omits a session that was destroyed, has expired or is past its absolute end', async () => {
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

    it('M2: omits a session whose user name is taken back, and has it again after a sign-in', async () => {
      const { store } = await makeStore()
      const credential = await created(store, signedInDraft)

      await store.commit(credential, granting({ clears: true, userName: '' }), policy)
      const meanwhile = await store.list('ann', policy)
      await store.commit(credential, signInOf('ann', newHash()), policy)

      expect(meanwhile).toEqual([])
      expect(idsOf(await store.list('ann', policy))).toEqual([credential.id])
    })

    it('M2: has a session under its latest user name only', async () => {
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

    it('M2: has a later session under an id, and not the earlier one', async () => {
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
      'M2: keeps a session that lives on by %s, however long',
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
    it('M13: adds to the grants, and changes nothing else', async () => {
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

    it('M13: clears first and then adds, and keeps the given user name', async () => {
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
        generation: before.generation + 1,
        privileges: ['b', 'c'],
        roles: [],
      })
      expect(idsOf(await store.list('ann', policy))).toEqual([credential.id])
    })

    it('M13: takes everything back, including the name; id, storage and secret stay', async () => {
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
        generation: before.generation + 1,
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

    it('M13: changes no guest session, no ended one, and none of another user', async () => {
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
    it('M3: ends a session for its user, and for no other', async () => {
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

    it('M3: ends no guest session for a user', async () => {
      const { store } = await makeStore()
      const guest = await created(store)

      expect(await store.destroy(guest.id, 'ann')).toBe(false)
      expect(await isLive(store, guest)).toBe(true)
    })

    it.each(awkwardTexts)('H1: recognizes a user whose name has %s', async (_, userName) => {
      const { store } = await makeStore()
      const { id } = await created(store, draftOf({ userName }))

      const wrong = await store.destroy(id, `${userName} `)

      expect([wrong, await store.destroy(id, userName)]).toEqual([false, true])
    })

    it('M3: returns false past the absolute end', async () => {
      const { store, passTime } = await makeStore()
      const sessions = [newSession(signedInDraft), newSession(signedInDraft)]
      for (const session of sessions) await store.create(session, withAbsoluteTimeout(minute))

      await passTime(2 * minute)

      expect(await store.destroy(sessions[0]?.credential.id ?? '')).toBe(false)
      expect(await store.destroy(sessions[1]?.credential.id ?? '', 'ann')).toBe(false)
    })
  })

  describe('destroyAll', () => {
    it('M5: ends all sessions of a user and no others', async () => {
      const { store } = await makeStore()
      const anns = [await created(store, signedInDraft), await created(store, signedInDraft)]
      const bobs = await created(store, { ...signedInDraft, userName: 'bob' })
      const guest = await created(store)

      const ended = await destroyAll(store, 'ann')

      expect(ended.toSorted()).toEqual(idsOf(anns))
      expect(await liveOf(store, [...anns, bobs, guest])).toEqual([bobs, guest])
      expect(await store.list('ann', policy)).toEqual([])
    })

    it('M4: keeps the given session', async () => {
      const { store } = await makeStore()
      const first = await created(store, signedInDraft)
      const stays = await created(store, signedInDraft)
      const last = await created(store, signedInDraft)

      const ended = await destroyAll(store, 'ann', stays.id)

      expect(ended.toSorted()).toEqual(idsOf([first, last]))
      expect(await liveOf(store, [first, stays, last])).toEqual([stays])
      expect(idsOf(await store.list('ann', policy))).toEqual([stays.id])
    })

    it('M4: ends all sessions if the one to keep belongs to another user', async () => {
      const { store } = await makeStore()
      const anns = await created(store, signedInDraft)
      const bobs = await created(store, { ...signedInDraft, userName: 'bob' })

      expect(await destroyAll(store, 'ann', bobs.id)).toEqual([anns.id])
      expect(await liveOf(store, [anns, bobs])).toEqual([bobs])
    })

    it('M5: returns nothing when there is none', async () => {
      const { store } = await makeStore()
      const { id } = await created(store, signedInDraft)
      await store.destroy(id)

      expect(await destroyAll(store, 'ann')).toEqual([])
      expect(await destroyAll(store, 'bob')).toEqual([])
    })

    it('M5: does not count expired sessions', async () => {
      const { store, passTime } = await makeStore()
      const stays = await created(store, signedInDraft)
      await created(store, { ...signedInDraft, idleTimeoutMs: 5 * minute })
      const limited = newSession(signedInDraft)
      await store.create(limited, withAbsoluteTimeout(minute))
      await passTime(7 * minute)

      expect(await destroyAll(store, 'ann')).toEqual([stays.id])
    })

    it('M5: does not end sessions that no longer belong to the user', async () => {
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

    it('M5: returns each session to only one of several parallel calls', async () => {
      const { store } = await makeStore()
      const sessions = await Promise.all(
        Array.from({ length: 20 }, () => created(store, signedInDraft)),
      )

      const ended = await Promise.all(Array.from({ length: 5 }, () => destroyAll(store, 'ann')))

      expect(ended.flat().toSorted()).toEqual(idsOf(sessions))
      expect(await liveOf(store, sessions)).toEqual([])
    })

    it('M5: ends a session whose sign-in was acknowledged, however many run in parallel', async () => {
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
}
