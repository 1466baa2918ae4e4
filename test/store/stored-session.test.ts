import { maxOTPs, rotatedMemoryMs } from 'koa-user-sessions/store'
import type { SessionCommit, SessionCredential, SessionRecord } from 'koa-user-sessions/store'
import { describe, expect, it } from 'vitest'

import {
  changeSession,
  newSession,
  expiryOf,
  isRefreshDue,
  maxRevision,
  openingOf,
  refreshed,
  summaryOf,
} from '../../src/store/stored-session.ts'
import type { SessionChange, StoredSecret, StoredSession } from '../../src/store/stored-session.ts'
import {
  changes,
  draftOf,
  minute,
  newHash,
  noGrants,
  policy,
  second,
  withAbsoluteTimeout,
  withLimits,
} from './contract-parts.ts'

const now = 1_763_000_000_000
const id = '5f0c1c0e-7d3b-4a53-9d5a-3f6d1f0a7b11'
const [good, old, forgotten, fresh, otp] = [newHash(), newHash(), newHash(), newHash(), newHash()]
const lifeMs = policy.expiry.absoluteTimeoutMs

const session = storedSession()

describe('newSession', () => {
  it('L5, S6: sets the creation, the sign-in and the absolute end to the time of the store', () => {
    const made = created({ signsIn: true })
    const guest = created({ signsIn: false })

    expect(made).toMatchObject({
      record: { id, createdAt: now, signedInAt: now, endsAt: now + lifeMs },
      activeAt: now,
      isPostponed: false,
      secrets: [{ hash: good, madeAt: now, isJoined: false, rotatedAt: 0 }],
      otps: [],
      revision: now % (maxRevision + 1),
    })
    expect(guest?.record.signedInAt).toBe(0)
    expect(created({ policy: withAbsoluteTimeout(Infinity) })?.record.endsAt).toBe(Infinity)
  })

  it('X1: has no secret if only trusted callers may open it', () => {
    expect(created({ secretHash: '' })?.secrets).toEqual([])
  })

  it('T7: creates no session whose storage is over a limit', () => {
    const storage = new Map(Object.entries({ a: '1', b: '22' }))

    expect(created({ storage, policy: withLimits({ storageKeys: 1 }) })).toBeUndefined()
    expect(created({ storage, policy: withLimits({ storageBytes: 4 }) })).toBeUndefined()
    expect(
      created({ storage, policy: withLimits({ storageKeys: 2, storageBytes: 5 }) }),
    ).toBeDefined()
  })
})

describe('openingOf', () => {
  it('C1: opens for a secret whose hash is known, and for no other text', () => {
    expect(opens(good)).toBe('good')
    const other = good.startsWith('A') ? 'B' : 'A'
    const wrong = [fresh, good.slice(1), `${good}A`, other + good.slice(1), ' ', '\0']
    expect(wrong.map(opens)).toEqual(Array(6).fill(undefined))
  })

  it('L10: remembers a secret that was rotated out for 30 s', () => {
    const opensAfter = (rotatedAt: number): unknown => {
      const secrets = [...session.secrets, secretOf(old, { rotatedAt })]
      return openingOf({ ...session, secrets }, { id, secretHash: old }, now)
    }

    expect(opensAfter(now)).toBe('rotated')
    expect(opensAfter(now - rotatedMemoryMs)).toBe('rotated')
    expect(opensAfter(now - rotatedMemoryMs - 1)).toBeUndefined()
  })

  it('X1: opens for a trusted caller, whatever the secrets', () => {
    expect(openingOf(session, { id, secretHash: '' }, now)).toBe('good')
    expect(openingOf({ ...session, secrets: [] }, { id, secretHash: '' }, now)).toBe('good')
  })

  it('X3: opens for a nested token of its generation only', () => {
    const { generation } = session.record
    const opened = [generation - 1, generation, generation + 1].map((one) =>
      openingOf(session, { id, secretHash: '', generation: one }, now),
    )

    expect(opened).toEqual([undefined, 'good', undefined])
  })

  it('L5: opens nothing after its absolute end', () => {
    for (const secretHash of [good, '']) {
      const { endsAt } = session.record
      expect(openingOf(session, { id, secretHash }, endsAt - 1)).toBe('good')
      expect(openingOf(session, { id, secretHash }, endsAt)).toBeUndefined()
    }
  })
})

describe('changeSession: who may change', () => {
  it.each([
    ['a secret that is not known', { secretHash: fresh }, {}, now],
    ['a secret rotated out long ago', { secretHash: forgotten }, {}, now],
    ['a session past its absolute end', {}, {}, now + lifeMs],
    ['the session of another user', {}, { ownedBy: 'bob' }, now],
    ['a session with a user instead of a guest', {}, { ownedBy: '' }, now],
    ['a one-time token that is not known', {}, { redeemsOTP: fresh }, now],
    ['a one-time token that is over', {}, { redeemsOTP: otp }, now + minute],
  ])('L8, C1: changes nothing for %s', (_, credential, commit, at) => {
    const change = { storage: changes({ a: '2' }), newSecretHash: fresh, ...commit }

    expect(
      changeSession(session, { id, secretHash: good, ...credential }, change, { now: at, policy }),
    ).toEqual({ status: 'ended' })
  })

  it('M13: lets the server change a session of the named user', () => {
    const change = { ownedBy: 'ann', grants: { ...noGrants, privileges: ['audit'] } }

    const changed = changedBy('', change)

    expect(changed.record.privileges).toEqual(['browse', 'audit'])
    expect(changed.secrets).toBe(session.secrets)
  })

  it('T3, C8: merges plain changes with a secret that was rotated out, and gives it no new one', () => {
    const change: SessionCommit = {
      storage: changes({ a: '2' }),
      grants: { ...noGrants, clears: true, userName: '' },
      newSecretHash: fresh,
    }

    const outcome = outcomeOf(old, change)

    expect(outcome).toMatchObject({ status: 'merged' })
    expect(sessionIn(outcome).secrets).toBe(session.secrets)
    expect(sessionIn(outcome).record).toMatchObject({ userName: '', privileges: [], roles: [] })
  })

  it.each([
    ['a secret', { asksFor: 'secret', newSecretHash: fresh }],
    ['rights without a user', { asksFor: 'rights', newSecretHash: fresh, userName: '' }],
    ['rights of another user', { asksFor: 'rights', newSecretHash: fresh, userName: 'bob' }],
    ['a one-time token', { newOTP: { hash: fresh, lifespanMs: minute } }],
  ] satisfies [string, SessionCommit][])(
    'L10, C8: refuses %s to a secret that was rotated out',
    (_, commit) => {
      const grants = { ...noGrants, privileges: ['WebAdmin'] }

      expect(outcomeOf(old, { ...commit, grants })).toEqual({ status: 'rotated' })
    },
  )

  it('C8: lets a second sign-in as the same user join the first', () => {
    const grants = { ...noGrants, userName: 'ann', privileges: ['browse'], signsIn: true }
    const change: SessionCommit = {
      grants,
      userName: 'ann',
      asksFor: 'rights',
      newSecretHash: fresh,
    }

    const outcome = outcomeOf(old, change)

    expect(outcome).toMatchObject({ status: 'committed' })
    expect(sessionIn(outcome).secrets).toEqual([
      secretOf(good),
      secretOf(old, { rotatedAt: now - 5 * second }),
      { hash: fresh, madeAt: now, isJoined: true, rotatedAt: 0 },
    ])
    expect(sessionIn(outcome).otps).toEqual(session.otps)
  })

  it('C8: treats an empty user name on both sides as a guest', () => {
    const guest = { ...session, record: { ...session.record, userName: '' } }
    const change = { asksFor: 'rights', userName: '', newSecretHash: fresh } as const

    expect(changeSession(guest, { id, secretHash: old }, change, { now, policy })).toEqual({
      status: 'rotated',
    })
  })
})

describe('changeSession: the result', () => {
  it('C5: rotates out all secrets with a new one, forgets old ones, and drops one-time tokens', () => {
    const changed = changedBy(good, { newSecretHash: fresh, asksFor: 'secret' })

    expect(changed.secrets).toEqual([
      secretOf(good, { rotatedAt: now }),
      secretOf(old, { rotatedAt: now - 5 * second }),
      { hash: fresh, madeAt: now, isJoined: false, rotatedAt: 0 },
    ])
    expect(changed.otps).toEqual([])
  })

  it('X5: adds a secret for a one-time token, consumes it, and counts as activity', () => {
    const before = { ...session, isPostponed: true, activeAt: now - minute }
    const change = { redeemsOTP: otp, newSecretHash: fresh }

    const changed = sessionIn(
      changeSession(before, { id, secretHash: '' }, change, { now, policy }),
    )

    expect(changed.secrets.at(-1)).toEqual({
      hash: fresh,
      madeAt: now,
      isJoined: true,
      rotatedAt: 0,
    })
    expect(changed.secrets[0]).toEqual(secretOf(good))
    expect(changed.otps).toEqual([])
    expect(changed).toMatchObject({ activeAt: now, isPostponed: false })
  })

  it('X5: keeps the 32 one-time tokens that live longest, and no expired ones', () => {
    const otps = Array.from({ length: maxOTPs }, (_, index) => ({
      hash: newHash(),
      goodUntil: now + index,
    }))

    const changed = changedBy(good, { newOTP: { hash: fresh, lifespanMs: minute } }, { otps })
    const first = changedBy(
      good,
      { newOTP: { hash: fresh, lifespanMs: 1 } },
      { otps: otps.slice(1) },
    )

    // The first of them has expired now.
    expect(changed.otps).toHaveLength(maxOTPs)
    expect(new Set(changed.otps)).toEqual(
      new Set([...otps.slice(1), { hash: fresh, goodUntil: now + minute }]),
    )
    expect(first.otps).toHaveLength(maxOTPs)
    expect(
      changedBy(
        good,
        { newOTP: { hash: fresh, lifespanMs: 1 } },
        {
          otps: [...otps.slice(1), { hash: otp, goodUntil: now + minute }],
        },
      )
        .otps.map(({ goodUntil }) => goodUntil - now)
        .toSorted((one, other) => one - other)[0],
    ).toBe(1)
  })

  it('C5, L5: restarts the absolute end at a sign-in, and at no other change', () => {
    const signsIn = { ...noGrants, userName: 'ann', signsIn: true }

    const signedIn = changedBy(good, { grants: signsIn, newSecretHash: fresh })
    const granted = changedBy(good, { grants: { ...noGrants, privileges: ['audit'] } })

    expect(signedIn.record).toMatchObject({ signedInAt: now, endsAt: now + lifeMs })
    expect(granted.record).toMatchObject({
      signedInAt: session.record.signedInAt,
      endsAt: session.record.endsAt,
    })
  })

  it('P2, P5: adds each name once, and clears before it adds', () => {
    const grants = { ...noGrants, privileges: ['browse', 'audit'], roles: ['Clerk'] }

    expect(changedBy(good, { grants }).record).toMatchObject({
      userName: 'ann',
      privileges: ['browse', 'audit'],
      roles: ['Clerk'],
    })
    expect(changedBy(good, { grants: { ...grants, clears: true } }).record).toMatchObject({
      userName: '',
      privileges: ['browse', 'audit'],
      roles: ['Clerk'],
    })
    expect(
      changedBy(good, { grants: { ...noGrants, clears: true, userName: 'eve' } }).record,
    ).toMatchObject({ userName: 'eve', privileges: [], roles: [] })
  })

  it('S4: counts a new idle timeout from now, and does not change the activity otherwise', () => {
    const before = { activeAt: now - 10 * minute }

    const timed = changedBy(good, { idleTimeoutMs: 5 * minute }, before)
    const stored = changedBy(good, { storage: changes({ a: '2' }) }, before)

    expect(timed).toMatchObject({ activeAt: now, record: { idleTimeoutMs: 5 * minute } })
    expect(stored.activeAt).toBe(now - 10 * minute)
  })

  it('K6: notes that the client suspends, until its next activity', () => {
    const postponed = changedBy(good, { postpones: true })

    expect(postponed.isPostponed).toBe(true)
    expect(changedBy(good, { storage: changes({ a: '2' }) }, postponed).isPostponed).toBe(true)
    expect(refreshed(postponed, now + 5)).toMatchObject({ isPostponed: false, activeAt: now + 5 })
  })

  it('T7: refuses storage that grows over a limit, and accepts what shrinks', () => {
    const storage = new Map(Object.entries({ a: '1', b: '2', c: '3' }))
    const before = { record: { ...session.record, storage } }
    const limits = withLimits({ storageKeys: 1, storageBytes: 3 })
    const status = (commit: SessionCommit): string =>
      changeSession({ ...session, ...before }, { id, secretHash: good }, commit, {
        now,
        policy: limits,
      }).status

    expect(status({ storage: changes({ d: '4' }) })).toBe('tooLarge')
    expect(status({ storage: changes({ a: '11' }) })).toBe('tooLarge')
    expect(status({ storage: changes({ a: '9' }) })).toBe('committed')
    expect(status({ storage: changes({}, ['a']) })).toBe('committed')
    expect(status({ grants: { ...noGrants, privileges: ['x'.repeat(1000)] } })).toBe('committed')
  })

  it.each([
    ['storage', { storage: changes({ a: '2' }) }, false],
    ['nothing', {}, false],
    ['a lock', { lock: { token: 'a', leaseMs: 0 } }, false],
    ['grants', { grants: noGrants }, true],
    ['an idle timeout', { idleTimeoutMs: minute }, true],
    ['a secret', { newSecretHash: fresh }, true],
    ['a one-time token', { newOTP: { hash: fresh, lifespanMs: 1 } }, true],
    ['the use of one', { redeemsOTP: otp, newSecretHash: fresh }, true],
    ['a suspended client', { postpones: true }, true],
  ] satisfies [string, SessionCommit, boolean][])(
    'T3: has another revision after a change of %s: %s',
    (_, commit, isOther) => {
      const { revision } = changedBy(good, commit)

      expect(revision).toBe(session.revision + (isOther ? 1 : 0))
    },
  )

  it('T3: starts at revision 0 again after the last one', () => {
    expect(changedBy(good, { grants: noGrants }, { revision: maxRevision }).revision).toBe(0)
  })

  it('T2: never changes the given session', () => {
    const before = deepFrozen(storedSession())
    const everything: SessionCommit = {
      storage: changes({ x: '1' }, ['a']),
      idleTimeoutMs: minute,
      grants: { clears: true, userName: 'eve', privileges: ['WebAdmin'], roles: [], signsIn: true },
      newSecretHash: fresh,
      postpones: true,
      newOTP: { hash: fresh, lifespanMs: minute },
    }

    const changed = sessionIn(
      changeSession(before, { id, secretHash: good }, everything, { now, policy }),
    )

    expect(changed.record.userName).toBe('eve')
    expect(before).toEqual(storedSession())
  })

  it('P8, T6: treats names of prototypes as plain names', () => {
    const names = ['__proto__', 'constructor', 'toString']
    const grants = { ...noGrants, userName: '__proto__', privileges: names, roles: names }
    const set = Object.fromEntries(names.map((name) => [name, '{"polluted":1}']))

    const { record } = changedBy(good, { grants, storage: changes(set) })

    expect(record).toMatchObject({
      userName: '__proto__',
      privileges: ['browse', ...names],
      roles: ['Clerk', ...names],
    })
    expect(record.storage.get('constructor')).toBe('{"polluted":1}')
    expect(record.storage.get('valueOf')).toBeUndefined()
    expect(Reflect.get({}, 'polluted')).toBeUndefined()
  })
})

describe('isRefreshDue', () => {
  it('L4: is due when refreshMs have passed since the activity, up to a second early', () => {
    expect([0, 30 * second, 59 * second].map(isDueAfter)).toEqual([false, false, false])
    expect([59 * second + 1, minute, 60 * minute].map(isDueAfter)).toEqual([true, true, true])
  })

  it('L4: is due at each new millisecond with refreshMs 0', () => {
    const expiry = { ...policy.expiry, refreshMs: 0 }

    expect(isRefreshDue({ ...session, activeAt: now - 1 }, now, expiry)).toBe(true)
    expect(isRefreshDue({ ...session, activeAt: now }, now, expiry)).toBe(false)
  })

  it('K6, M8: is due for a suspended client, and never for a session without idle timeout', () => {
    const endless = { ...session, record: { ...session.record, idleTimeoutMs: Infinity } }
    const longAgo = { activeAt: 0 }

    expect(isRefreshDue({ ...session, activeAt: now, isPostponed: true }, now, policy.expiry)).toBe(
      true,
    )
    expect(isRefreshDue({ ...endless, ...longAgo }, now, policy.expiry)).toBe(false)
    expect(isRefreshDue({ ...endless, isPostponed: true }, now, policy.expiry)).toBe(true)
  })
})

describe('expiryOf', () => {
  it.each([
    [60 * minute, now + 120 * minute, now + 61 * minute],
    [60 * minute, now + 61 * minute, now + 61 * minute],
    [60 * minute, now + 30 * minute, now + 30 * minute],
    [Infinity, now + 30 * minute, now + 30 * minute],
    [60 * minute, Infinity, now + 61 * minute],
    [Infinity, Infinity, Infinity],
    [1.5, Infinity, now + minute + 2],
  ])('L4, L5: expires with an idle timeout of %s ms and the end %s at %s', (idleMs, endsAt, at) => {
    const record = { ...session.record, idleTimeoutMs: idleMs, endsAt }

    expect(expiryOf({ ...session, activeAt: now, record }, policy.expiry)).toBe(at)
  })
})

describe('summaryOf', () => {
  it('M2, H2: contains what is known, and neither storage nor secrets', () => {
    const summary = summaryOf(session, now + 5)

    expect(summary).toMatchObject({ id, userName: 'ann', isPostponed: false, now: now + 5 })
    expect(summary).not.toHaveProperty('storage')
    expect(JSON.stringify(summary)).not.toContain(good)
    expect(JSON.stringify(summary)).not.toContain(otp)
  })
})

function opens(secretHash: string): string | undefined {
  return openingOf(session, { id, secretHash }, now)
}

function isDueAfter(passedMs: number): boolean {
  return isRefreshDue({ ...session, activeAt: now - passedMs }, now, policy.expiry)
}

function created(parts: {
  readonly signsIn?: boolean
  readonly secretHash?: string
  readonly storage?: ReadonlyMap<string, string>
  readonly policy?: typeof policy | ReturnType<typeof withLimits>
}): StoredSession | undefined {
  const { signsIn = false, secretHash = good, storage = new Map(), policy: own = policy } = parts
  const credential: SessionCredential = { id, secretHash }
  return newSession({ credential, draft: draftOf({ storage }), signsIn }, now, own)
}

/** Ann's session, with a good secret, one rotated out 5 s ago, one long ago, and a one-time token. */
function storedSession(): StoredSession {
  const record: SessionRecord = {
    ...draftOf({ userName: 'ann', privileges: ['browse'], roles: ['Clerk'] }),
    storage: new Map([['a', '1']]),
    id,
    createdAt: now - 20 * minute,
    signedInAt: now - 10 * minute,
    endsAt: now + lifeMs - 10 * minute,
    generation: 3,
  }
  return {
    record,
    activeAt: now - second,
    isPostponed: false,
    secrets: [
      secretOf(good),
      secretOf(old, { rotatedAt: now - 5 * second }),
      secretOf(forgotten, { rotatedAt: now - rotatedMemoryMs - 1 }),
    ],
    otps: [{ hash: otp, goodUntil: now + minute }],
    revision: 7,
  }
}

function secretOf(hash: string, parts: Partial<StoredSecret> = {}): StoredSecret {
  return { hash, madeAt: now - 10 * minute, isJoined: false, rotatedAt: 0, ...parts }
}

function outcomeOf(
  secretHash: string,
  commit: SessionCommit,
  parts: Partial<StoredSession> = {},
): SessionChange {
  return changeSession({ ...session, ...parts }, { id, secretHash }, commit, { now, policy })
}

function changedBy(
  secretHash: string,
  commit: SessionCommit,
  parts: Partial<StoredSession> = {},
): StoredSession {
  return sessionIn(outcomeOf(secretHash, commit, parts))
}

function sessionIn(change: SessionChange): StoredSession {
  if ('session' in change) return change.session
  throw new Error(`not changed but ${change.status}`)
}

function deepFrozen<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const part of Object.values(value)) deepFrozen(part)
  }
  return value
}
