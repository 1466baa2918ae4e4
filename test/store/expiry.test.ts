import { describe, expect, it } from 'vitest'

import { expiresAt } from '../../src/store/expiry.ts'
import { timeToLiveMs } from '../../src/store/stored-session.ts'

const minute = 60_000

describe('timeToLiveMs', () => {
  it.each([
    [60 * minute, minute, 61 * minute],
    [1, 0, 1],
    [1, 1, 2],
    [525_600 * minute, 3_600_000, 525_660 * minute],
  ])(
    'L4: equals the idle timeout plus the refresh time: %d and %d',
    (idleTimeoutMs, refreshMs, ttl) => {
      expect(timeToLiveMs(idleTimeoutMs, { refreshMs, absoluteTimeoutMs: minute })).toBe(ttl)
    },
  )

  it('L4: is a whole number, and never less than requested', () => {
    const policy = { refreshMs: 0.4, absoluteTimeoutMs: Infinity }

    expect(timeToLiveMs(1000.3, policy)).toBe(1001)
  })
})

describe('expiresAt', () => {
  const now = Date.UTC(2026, 10, 22)

  it.each([
    ['the idle timeout when there is no end', Infinity, now + 60 * minute],
    ['the idle timeout when the end is later', now + 61 * minute, now + 60 * minute],
    ['the end when that is sooner', now + 59 * minute, now + 59 * minute],
    ['the end when that has passed', now - 1, now - 1],
  ])('S3: is %s', (_, endsAt, expected) => {
    expect(expiresAt(now, 60 * minute, endsAt)).toBe(expected)
  })
})
