import { lockTurnMs } from 'koa-user-sessions/store'
import { describe, expect, it } from 'vitest'

import { askForLock, extendLock } from '../../src/store/lock-rules.ts'
import type { LockState } from '../../src/store/lock-rules.ts'

const now = 1_763_000_000_000
const ann = { token: 'ann', leaseMs: 1000 }
const held: LockState = { holder: { token: 'bob', until: now + 500 } }

describe('askForLock', () => {
  it('T4: grants a free lock from now on, for the lease', () => {
    expect(askForLock({}, ann, now)).toEqual({
      isLocked: true,
      state: { holder: { token: 'ann', until: now + 1000 }, next: undefined },
    })
  })

  it('T4: extends it for its holder', () => {
    const { state } = askForLock({}, ann, now)

    expect(askForLock(state, { ...ann, leaseMs: 5000 }, now + 900)).toMatchObject({
      isLocked: true,
      state: { holder: { token: 'ann', until: now + 5900 } },
    })
  })

  it('T4: refuses a lock that another holds, and notes who was refused first', () => {
    const first = askForLock(held, ann, now)
    const second = askForLock(first.state, { ...ann, token: 'eve' }, now)

    expect(first).toEqual({
      isLocked: false,
      state: { ...held, next: { token: 'ann', until: now + lockTurnMs } },
    })
    expect(second).toEqual({ isLocked: false, state: first.state })
  })

  it('T4: renews the place of the first in the queue whenever it asks again', () => {
    const { state } = askForLock(held, ann, now)

    expect(askForLock(state, ann, now + 100).state.next).toEqual({
      token: 'ann',
      until: now + 100 + lockTurnMs,
    })
  })

  it('T4: reserves a free lock for the first that was refused', () => {
    const state: LockState = { next: { token: 'ann', until: now + lockTurnMs } }

    const eves = askForLock(state, { ...ann, token: 'eve' }, now)
    const anns = askForLock(eves.state, ann, now)

    expect(eves).toEqual({ isLocked: false, state })
    expect(anns).toMatchObject({ isLocked: true, state: { next: undefined } })
  })

  it('T4: ends a queue turn and a lease at their last millisecond', () => {
    const state: LockState = { ...held, next: { token: 'ann', until: now + lockTurnMs } }
    const eve = { ...ann, token: 'eve' }

    expect(askForLock({ next: state.next }, eve, now + lockTurnMs - 1).isLocked).toBe(false)
    expect(askForLock({ next: state.next }, eve, now + lockTurnMs).isLocked).toBe(true)
    expect(askForLock(held, eve, now + 499).isLocked).toBe(false)
    expect(askForLock(held, eve, now + 500).isLocked).toBe(true)
  })

  it('T4: extends the lock for its holder though another waits, who keeps its place', () => {
    const state: LockState = { ...held, next: { token: 'ann', until: now + lockTurnMs } }

    const { isLocked, state: after } = askForLock(state, { token: 'bob', leaseMs: 1000 }, now)

    expect(isLocked).toBe(true)
    expect(after).toEqual({ holder: { token: 'bob', until: now + 1000 }, next: state.next })
  })
})

describe('extendLock', () => {
  it('T4: counts the lease from now, or releases the lock with a lease of 0', () => {
    const bob = { token: 'bob', leaseMs: 1000 }
    const next = { token: 'ann', until: now + 100 }

    expect(extendLock({ ...held, next }, bob, now)).toEqual({
      holder: { token: 'bob', until: now + 1000 },
      next,
    })
    expect(extendLock({ ...held, next }, { ...bob, leaseMs: 0 }, now)).toEqual({
      holder: undefined,
      next,
    })
  })

  it.each([
    ['another one holds', held, now],
    ['is free', {}, now],
    ['whose lease is over', { holder: { token: 'ann', until: now } }, now],
    ['that is only next', { next: { token: 'ann', until: now + 100 } }, now],
  ])('T4: extends no lock that %s', (_, state, at) => {
    expect(extendLock(state, ann, at)).toBeUndefined()
    expect(extendLock(state, { ...ann, leaseMs: 0 }, at)).toBeUndefined()
  })
})
