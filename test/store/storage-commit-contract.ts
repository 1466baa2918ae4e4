import {
  awkwardTexts,
  created,
  draftOf,
  emptyCommit,
  ended,
  everything,
  isRefreshed,
  minute,
  newHash,
  newSession,
  noGrants,
  policy,
  recordIn,
  recordOf,
  second,
  setting,
  signedInDraft,
  statusOf,
  storageOf,
  unlimited,
  withLimits,
} from './contract-parts.ts'
import type { Runner, StoreHarness } from './contract-parts.ts'

/**
 * The part of the contract about changes of a session's storage and idle timeout.
 *
 * @param makeStore Makes an empty store for one test.
 * @param runner The functions of the test runner.
 */
export function describeStorageCommits(
  makeStore: () => StoreHarness | Promise<StoreHarness>,
  { describe, expect, it }: Runner,
): void {
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

    it('T3: accepts a later change of a removed name, and a later removal of a changed one', async () => {
      const { store } = await makeStore()
      const credential = await created(
        store,
        draftOf({ storage: new Map(Object.entries({ a: '1', b: '1' })) }),
      )

      await store.commit(credential, setting({ b: '2' }, ['a']), policy)
      await store.commit(credential, setting({ a: '2' }, ['b']), policy)

      expect(await storageOf(store, credential)).toEqual({ a: '2' })
    })

    it('T3: accepts the removal of a missing name', async () => {
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

    it('T3: changes only the given names', async () => {
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

    it('L4: does not change the time to live', async () => {
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

    it('T2: keeps a copy of the given changes', async () => {
      const { store } = await makeStore()
      const credential = await created(store, draftOf({ storage: new Map([['gone', '0']]) }))
      const set = new Map([['a', '1']])
      const removed = ['gone']
      const privileges = ['browse']
      const roles = ['Clerk']
      const grants = { ...noGrants, privileges, roles }

      await store.commit(credential, { ...emptyCommit, storage: { set, removed }, grants }, policy)
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
    it('T7: accepts exactly as many keys as the limit and not one more', async () => {
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

    it('T7: accepts exactly as many bytes as the limit and not one more, names included', async () => {
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

    it('T7: lets no parallel commits exceed the limit of keys together', async () => {
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

    it('T7: lets no parallel commits exceed the limit of bytes together', async () => {
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

    it('T7: lets a session over lowered limits shrink', async () => {
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

    it('T7: lets everything else change in a session over lowered limits', async () => {
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

    it('T7: sets and removes 9 000 keys in one commit when the limits allow it', async () => {
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
    it('S4: keeps a session longer as soon as the idle timeout grows', async () => {
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

    it('S4: ends a session sooner as soon as the idle timeout shrinks', async () => {
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
}
