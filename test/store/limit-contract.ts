import type {
  CommitOutcome,
  CreateOutcome,
  RecordDraft,
  SessionCommit,
  SessionCredential,
  SessionLimit,
  SessionStore,
  StorePolicy,
} from 'koa-user-sessions/store'

import {
  created,
  describeById,
  destroyAll,
  draftOf,
  everything,
  grant,
  granting,
  minute,
  newCredential,
  newHash,
  newSession,
  noGrants,
  policy,
  recordOf,
  setting,
  signInOf,
  signedInDraft,
  statusOf,
  idleTimeOf,
  idsOf,
  isLive,
  liveOf,
  summaryOf,
} from './contract-parts.ts'
import type { Runner, StoreHarness } from './contract-parts.ts'

/** A client about which everything is known. */
/**
 * The part of the contract about the number of sessions of a user.
 *
 * @param makeStore Makes an empty store for one test.
 * @param runner The functions of the test runner.
 */
export function describeSessionLimit(
  makeStore: () => StoreHarness | Promise<StoreHarness>,
  { describe, expect, it }: Runner,
): void {
  describe('maxSessions: terminateOldest', () => {
    it('M6: ends the session with the oldest sign-in, whichever was used last', async () => {
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

    it('M6: goes by the last sign-in of each session, and counts each session once', async () => {
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

    it('M6: also applies when a guest signs in', async () => {
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

    it('M6: ends as many sessions as are over a lowered limit', async () => {
      const { store } = await makeStore()
      const sessions: SessionCredential[] = []
      for (let index = 0; index < 4; index += 1) sessions.push(await created(store, signedInDraft))

      const { credential, ended } = await signsIn(store, limitedTo(2))

      expect(ended.toSorted()).toEqual(idsOf(sessions.slice(0, 3)))
      expect(idsOf(await store.list('ann', policy))).toEqual(
        idsOf([...sessions.slice(3), credential]),
      )
    })

    it('M6: counts no session that has ended or belongs to another user', async () => {
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

    it('M6: ends nothing for a change that is not a sign-in', async () => {
      const { store } = await makeStore()
      const sessions = [await created(store, signedInDraft), await created(store, signedInDraft)]
      const [first] = sessions
      if (!first) throw new Error('no session')

      await store.commit(first, setting({ b: '2' }), limitedTo(1))
      await store.commit(first, granting({ privileges: ['more'] }), limitedTo(1))
      await store.load(first, limitedTo(1), true)

      expect(await liveOf(store, sessions)).toEqual(sessions)
    })

    it('M6: ends nothing when a sign-in stores nothing', async () => {
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
    it('M6: stores nothing of a session over the limit', async () => {
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

    it('M6: leaves the refused guest as it was', async () => {
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

    it('M6: refuses neither a repeated sign-in nor another user', async () => {
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

    it('M6: frees the place of a sign-in that stored nothing', async () => {
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

function limitedTo(
  perUser: number,
  onExceed: SessionLimit['onExceed'] = 'terminateOldest',
): StorePolicy {
  return { ...policy, maxSessions: { perUser, onExceed } }
}

/** A new session of a user. Returns its credential, and the sessions that ended for it. */
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

/** 50 parallel sign-ins of one user: with new sessions, or with stored guests. */
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
