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
  minute,
  newHash,
  newSession,
  policy,
  recordOf,
  rotated,
  second,
  setting,
  signInOf,
  signedIn,
  signedInDraft,
  statusOf,
  storageOf,
  timeOf,
  touch,
  unlimited,
  withAbsoluteTimeout,
  withLimits,
} from './contract-parts.ts'
import type { Runner, StoreHarness } from './contract-parts.ts'

/**
 * The part of the contract about changes of a session's rights and of its secret.
 *
 * @param makeStore Makes an empty store for one test.
 * @param runner The functions of the test runner.
 */
export function describeSecretCommits(
  makeStore: () => StoreHarness | Promise<StoreHarness>,
  { describe, expect, it }: Runner,
): void {
  describe('commit: grants', () => {
    it('P2: adds privileges and roles to the existing ones', async () => {
      const { store } = await makeStore()
      const credential = await created(store, draftOf({ privileges: ['a'], roles: ['Clerk'] }))

      await store.commit(credential, granting({ privileges: ['a', 'b'] }), policy)
      await store.commit(credential, granting({ privileges: ['c'], roles: ['Clerk', 'M'] }), policy)

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

    it('P5: clears all grants and nothing else', async () => {
      const { store } = await makeStore()
      const credential = await created(store, signedInDraft)
      const before = await recordOf(store, credential)

      await store.commit(credential, granting({ clears: true, userName: '' }), policy)

      expect(await recordOf(store, credential)).toEqual({
        ...before,
        generation: before.generation + 1,
        userName: '',
        privileges: [],
        roles: [],
      })
    })

    it('P5: also clears the user name when no other is given', async () => {
      const { store } = await makeStore()
      const credential = await created(store, signedInDraft)

      await store.commit(credential, granting({ clears: true }), policy)

      expect(await recordOf(store, credential)).toMatchObject({ userName: '', privileges: [] })
    })

    it('P5: clears first and then adds', async () => {
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

    it('P5: clears no storage, whatever its names', async () => {
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

    it('S6: changes the user name, and keeps it when none is given', async () => {
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

    it('L5: restarts the absolute end at a sign-in', async () => {
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

    it('L5: removes the end at a sign-in without an absolute timeout, and sets it at one with', async () => {
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

    it('L5: keeps the end without a sign-in', async () => {
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

    it('C5: is stored in one step with the other changes', async () => {
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

    it('C4: is not created when none is given', async () => {
      const { store } = await makeStore()
      const credential = await created(store)

      await store.commit(credential, { ...everything(), newSecretHash: undefined }, policy)

      expect(await store.load(credential, policy, true)).toMatchObject({ status: 'live' })
    })

    it('C5: is the good one for one of 20 parallel rotations', async () => {
      const { store } = await makeStore()
      const credential = await created(store)
      const hashes = Array.from({ length: 20 }, () => newHash())

      const outcomes = await Promise.all(
        hashes.map((newSecretHash) =>
          store.commit(credential, { ...emptyCommit, newSecretHash, asksFor: 'secret' }, policy),
        ),
      )
      const statuses = await Promise.all(hashes.map((hash) => statusOf(store, credential.id, hash)))

      expect(outcomes.filter(({ status }) => status === 'committed')).toHaveLength(1)
      expect(outcomes.filter(({ status }) => status === 'rotated')).toHaveLength(19)
      expect(statuses).toEqual(
        outcomes.map(({ status }) => (status === 'committed' ? 'live' : undefined)),
      )
    })

    it('L10: makes earlier ones read as rotated out for 30 s, and as unknown then', async () => {
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

    it('L10: does not extend the memory of an earlier one at a later rotation', async () => {
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

    it('L10: does not count a use of an earlier one as activity', async () => {
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

    it('C8: accepts no new secret with plain changes', async () => {
      const { store } = await makeStore()
      const before = await created(store)
      const credential = await rotated(store, before)
      const newSecretHash = newHash()

      const outcome = await store.commit(before, { ...setting({ a: '1' }), newSecretHash }, policy)

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
      ['a secret, as any user', 'secret', 'eve'],
      ['a secret, as the user that the session has', 'secret', 'ann'],
      ['rights, as another user', 'rights', 'eve'],
      ['rights, as a user whose name differs in case', 'rights', 'Ann'],
      ['rights, without a user', 'rights', ''],
    ] as const)('C8: stores nothing when the changes ask for %s', async (_, asksFor, userName) => {
      const { store } = await makeStore()
      const before = await created(store)
      const credential = await signedIn(store, before)
      const stored = await recordOf(store, credential)
      const commit = { ...everything(), asksFor, userName }

      const outcome = await store.commit(before, commit, policy)

      expect(outcome).toEqual({ status: 'rotated' })
      expect(await recordOf(store, credential)).toEqual(stored)
      expect(await statusOf(store, before.id, commit.newSecretHash)).toBeUndefined()
    })

    it.each(['rights', 'secret'] as const)(
      'C8: stores nothing when a guest asks for %s in a guest session',
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

    it('C8: stores nothing when a guest asks for rights in a session that its user has left', async () => {
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

    it('C8: grants rights to the current user of the session, with a secret of its own', async () => {
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
        hashes.map((newSecretHash) => store.commit(before, signInOf('ann', newSecretHash), policy)),
      )
      const statuses = await Promise.all(hashes.map((hash) => statusOf(store, before.id, hash)))

      expect(outcomes.map(({ status }) => status)).toEqual(Array(20).fill('committed'))
      expect(statuses).toEqual(Array(20).fill('live'))
      expect(await store.load(before, policy, true)).toEqual({ status: 'rotated' })
    })

    it('C8: gives the session to one of 20 parallel sign-ins of different users', async () => {
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

    it.each(awkwardTexts)('C8: recognizes a user whose name has %s', async (_, text) => {
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

    it('C8: joins with rights alone when no new secret is given', async () => {
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

    it('T7: exceeds no limit of storage', async () => {
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
}
