import { unknownClient } from 'koa-user-sessions/store'
import type { SessionSummary } from 'koa-user-sessions/store'
import { describe, expect, it } from 'vitest'

import { activeSessions, activityOf, infoOf } from '../../src/session/session-info.ts'

const id = '5f0c1c0e-7d3b-4a53-9d5a-3f6d1f0a7b11'
const now = Date.parse('2026-01-01T00:00:00.000Z')

const client = {
  applicationId: 'shop',
  appName: 'The Shop',
  appVersion: '17.5',
  isOfficialApp: true,
  deviceModel: 'Pixel 8',
  platform: 'Android',
  systemVersion: '14',
  machineName: "Ann's phone",
  systemUserName: 'ann.b',
  persistentID: '',
  country: 'CH',
  region: 'Zürich',
}

/** A session of ann, with the given changes. */
function summaryOf(parts: Partial<SessionSummary> = {}): SessionSummary {
  return {
    id,
    type: 'web',
    createdAt: now - 5000,
    signedInAt: now - 4000,
    endsAt: Infinity,
    generation: 0,
    idleTimeoutMs: 3_600_000,
    userName: 'ann',
    privileges: [],
    roles: [],
    ip: '192.0.2.1',
    client: unknownClient,
    activeAt: now - 3000,
    isPostponed: false,
    now,
    ...parts,
  }
}

describe('infoOf', () => {
  it('S7: has exactly these names, and what is known about the session', () => {
    const createdAt = now + 7

    expect(infoOf(summaryOf({ type: 'rest', createdAt, client }), 'sleeping')).toEqual({
      type: 'rest',
      userName: 'ann',
      machineName: "Ann's phone",
      systemUserName: 'ann.b',
      IPAddress: '192.0.2.1',
      hostType: 'browser',
      creationDateTime: '2026-01-01T00:00:00.007Z',
      state: 'sleeping',
      ID: id,
      persistentID: id,
    })
  })

  it("S7: has '' for what is not known", () => {
    expect(infoOf(summaryOf({ userName: '', ip: '' }), 'active')).toMatchObject({
      userName: '',
      machineName: '',
      systemUserName: '',
      IPAddress: '',
    })
  })
})

describe('activityOf', () => {
  it.each([
    [0, 'active'],
    [60_000, 'active'],
    [65_000, 'active'],
    [65_001, 'sleeping'],
    [Number.MAX_SAFE_INTEGER, 'sleeping'],
  ] as const)('K6: after %i ms, with a refreshMs of 5000, is %s', (ms, state) => {
    expect(activityOf(summaryOf({ activeAt: 0, now: ms }), 5000)).toBe(state)
  })

  it.each([0, 1_000_000])('K6: is postponed after %i ms', (ms) => {
    expect(activityOf(summaryOf({ activeAt: 0, now: ms, isPostponed: true }), 0)).toBe('postponed')
  })
})

describe('activeSessions', () => {
  it('M2: has exactly these names, and whole seconds', () => {
    const summary = summaryOf({ client, signedInAt: now - 4001, activeAt: now - 2999 })

    expect(activeSessions([summary], undefined)).toEqual([
      {
        id,
        isCurrent: false,
        appId: 'shop',
        appName: 'The Shop',
        appVersion: '17.5',
        isOfficialApp: true,
        deviceModel: 'Pixel 8',
        platform: 'Android',
        systemVersion: '14',
        dateCreated: now / 1000 - 5,
        dateActive: now / 1000 - 3,
        ip: '192.0.2.1',
        country: 'CH',
        region: 'Zürich',
      },
    ])
  })

  it('M2: gives the creation as the sign-in when no user has signed in', () => {
    const [session] = activeSessions([summaryOf({ signedInAt: 0 })], undefined)

    expect(session?.dateCreated).toBe(now / 1000 - 5)
  })

  it('M2: counts a sign-in as activity, and the asking request, too', () => {
    const signsIn = summaryOf({ id: 'a', signedInAt: now - 1000, activeAt: now - 9000 })
    const asks = summaryOf({ id: 'b', activeAt: now - 9000 })

    const sessions = activeSessions([signsIn, asks], 'b')

    expect(sessions.map((session) => [session.id, session.dateActive])).toEqual([
      ['b', now / 1000],
      ['a', now / 1000 - 1],
    ])
  })

  it('M2: lists the current session first, then by the most recent activity', () => {
    const summaries = [
      summaryOf({ id: 'old', activeAt: now - 30_000, signedInAt: 1 }),
      summaryOf({ id: 'current', activeAt: now - 90_000, signedInAt: 1 }),
      summaryOf({ id: 'new', activeAt: now - 10_000, signedInAt: 1 }),
      summaryOf({ id: 'middle', activeAt: now - 20_000, signedInAt: 1 }),
    ]

    expect(idsOf(summaries, 'current')).toEqual(['current', 'new', 'middle', 'old'])
    expect(idsOf(summaries, 'another')).toEqual(['new', 'middle', 'old', 'current'])
    expect(idsOf(summaries, undefined)).toEqual(['new', 'middle', 'old', 'current'])
  })

  it('M2: lists later sign-ins first within one second of activity, then goes by id', () => {
    const summaries = [
      summaryOf({ id: 'c', activeAt: now, signedInAt: now - 10_000 }),
      summaryOf({ id: 'a', activeAt: now + 1, signedInAt: now - 20_000 }),
      summaryOf({ id: 'b', activeAt: now + 2, signedInAt: now - 10_000 }),
    ]

    expect(idsOf(summaries, undefined)).toEqual(['b', 'c', 'a'])
    expect(idsOf(summaries.toReversed(), undefined)).toEqual(['b', 'c', 'a'])
  })

  it('M2: does not change the given list', () => {
    const summaries = Object.freeze([summaryOf({ id: 'b' }), summaryOf({ id: 'a' })])

    expect(idsOf(summaries, 'a')).toEqual(['a', 'b'])
    expect(summaries.map((summary) => summary.id)).toEqual(['b', 'a'])
    expect(activeSessions([], 'a')).toEqual([])
  })
})

function idsOf(summaries: readonly SessionSummary[], currentId: string | undefined): string[] {
  return activeSessions(summaries, currentId).map((session) => session.id)
}
