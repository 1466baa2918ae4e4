import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { RedisClock } from '../../../src/store/redis/connection.ts'

const redisTime = 1_763_000_000_000

describe('RedisClock', () => {
  it('knows no time until it is told one', () => {
    const { clock } = stoppedClock()

    expect(clock.isKnown).toBe(false)
    clock.note(redisTime)
    expect(clock.isKnown).toBe(true)
    expect(clock.now).toBe(redisTime)
  })

  it('L4: advances with the monotonic clock of the process, whatever its date becomes', () => {
    const { clock, pass } = stoppedClock()
    clock.note(redisTime)

    pass(1500)
    vi.setSystemTime(0)

    expect(clock.now).toBe(redisTime + 1500)
  })

  it('L4: keeps the latest of the times that it was told, so that it is never early', () => {
    const { clock, pass } = stoppedClock()
    clock.note(redisTime)
    pass(100)

    // This reply took 80 ms, and the next one 5 ms longer than the first.
    clock.note(redisTime + 20)
    expect(clock.now).toBe(redisTime + 100)
    clock.note(redisTime + 95)
    expect(clock.now).toBe(redisTime + 100)
    clock.note(redisTime + 101)
    expect(clock.now).toBe(redisTime + 101)
  })

  it('F5: follows a clock that was set back, after ten seconds', () => {
    const { clock, pass } = stoppedClock()
    clock.note(redisTime)

    pass(10_000)
    clock.note(redisTime)
    const before = clock.now
    pass(1)
    clock.note(redisTime)

    expect(before).toBe(redisTime + 10_000)
    expect(clock.now).toBe(redisTime)
  })

  it('F5: follows set() at once, even backwards', () => {
    const { clock } = stoppedClock()
    clock.note(redisTime)

    clock.set(redisTime - 60_000)

    expect(clock.now).toBe(redisTime - 60_000)
  })

  it('F5: converts a process time to the clock of Redis, and Infinity to the last date', () => {
    const { clock } = stoppedClock()
    clock.note(redisTime)

    expect(clock.at(performance.now() + 1000)).toBe(redisTime + 1000)
    expect(clock.at(Infinity)).toBe(8.64e15)
  })

  it('L3: must be asked until a time is known, and then every five seconds', () => {
    const { clock, pass } = stoppedClock()

    const atFirst = [clock.mustAsk(), clock.mustAsk()]
    clock.note(redisTime)
    const known = [clock.mustAsk()]
    pass(4999)
    known.push(clock.mustAsk())
    pass(1)
    const later = [clock.mustAsk(), clock.mustAsk()]

    expect(atFirst).toEqual([true, true])
    expect(known).toEqual([false, false])
    expect(later).toEqual([true, false])
  })
})

/** A clock in a process whose time stands still. */
function stoppedClock(): { readonly clock: RedisClock; readonly pass: (ms: number) => void } {
  vi.useFakeTimers({ toFake: ['performance', 'Date'] })
  onTestFinished(() => {
    vi.useRealTimers()
  })
  return { clock: new RedisClock(), pass: (ms) => vi.advanceTimersByTime(ms) }
}
