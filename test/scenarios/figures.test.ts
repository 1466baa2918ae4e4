import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'

import { perUser } from './figure-sizes.ts'
import {
  measureBytes,
  measureCreations,
  measureEnds,
  measureIncrements,
  measureLimits,
  measureLists,
  measurePairs,
  measureRestores,
  measureSignIns,
} from './figures.ts'
import type { Step } from './worker.ts'
import { openStage } from './workers.ts'
import type { Stage } from './workers.ts'

// The counts of `npm run figures` are 50 to 100 times as high.
const timeout = 60_000

describe('several processes', { timeout }, () => {
  let stage: Stage
  beforeAll(async () => {
    stage = await openStage(2)
  }, timeout)
  afterAll(async () => {
    await stage?.close()
  }, timeout)

  it('count every use() once, at no more than three commands each (T4)', async () => {
    const figures = await measureIncrements(stage, 2000)

    expect(figures).toMatchObject({
      total: 2000,
      acknowledged: 2000,
      lost: 0,
      doubled: 0,
      errors: 0,
    })
    expect(figures.commandsPerUse).toBeLessThanOrEqual(3)
  })

  it('keep both changes to different keys at the same time (T3)', async () => {
    const figures = await measurePairs(stage, 200)

    expect(figures).toEqual({ pairs: 200, lost: 0, errors: 0 })
  })

  it('send only what has changed, not the whole storage (T3)', async () => {
    const { counter, oneKey, allKeys } = await measureBytes(stage)

    expect(counter).toBeGreaterThan(0)
    expect(counter / allKeys).toBeLessThan(0.01)
    expect(oneKey / allKeys).toBeLessThan(0.015)
  })

  it('never find a session whose end was acknowledged, and lose no sign-in to it (L8)', async () => {
    const figures = await measureEnds(stage, 200)

    expect(figures).toMatchObject({ races: 200, alive: 0, lostSignIns: 0, errors: 0 })
    expect(figures.late).toBeGreaterThan(0)
  })

  it('never create a session over another one (L8)', async () => {
    const figures = await measureCreations(stage, 20)

    expect(figures).toEqual({ rounds: 20, wrongWinners: 0, overwritten: 0 })
  })

  it.each(['one', 'many'] as const)(
    'sign in 50 times at once on one session, as %s: every new cookie works, the old one does not (C5, C8)',
    async (users) => {
      const figures = await measureSignIns(stage, 4, users)

      expect(figures).toEqual({
        rounds: 4,
        deadCookies: 0,
        wrongSessions: 0,
        foreignRights: 0,
        openedByOld: 0,
        openedByForged: 0,
        errors: 0,
      })
    },
  )

  it('list every session of a user, and none whose end was acknowledged (M2, M3, M5)', async () => {
    const figures = await measureLists(stage, 200)

    expect(figures).toMatchObject({ races: 200, checks: 400, missing: 0, back: 0, errors: 0 })
  })

  it('let one of 100 parallel restores win, each time (X5)', async () => {
    const figures = await measureRestores(stage, 10)

    expect(figures).toEqual({
      tokens: 10,
      winners: 10,
      wrongTokens: 0,
      wrongCookies: 0,
      errors: 0,
    })
  })

  it("count every use() of the server's own session once (M8, T4)", async () => {
    const figures = await measureIncrements(stage, 500, 'server')

    expect(figures).toMatchObject({ total: 500, lost: 0, doubled: 0, errors: 0 })
    expect(figures.commandsPerUse).toBeLessThan(3.1)
  })

  it('keep everything that a sign-in grants when it finds the session gone (L8)', async () => {
    const all = ['is:ann', 'more:ann']
    const first: Step = { do: 'login', userName: 'ann', privileges: ['is:ann'] }
    const again: Step = { do: 'login', userName: 'ann', privileges: all }
    const { cookie, after } = await stage.ask(0, { steps: [first] })
    const late = stage.send(1, { cookie: cookie!, steps: [{ do: 'pause' }, again] })
    await late.paused
    await stage.ask(0, { steps: [{ do: 'terminate', id: after!.id }] })
    late.resume()

    const moved = await late.outcome
    const { view } = await stage.ask(0, { cookie: moved.cookie!, steps: [] })
    expect(view).toMatchObject({ userName: 'ann', privileges: all, storage: {} })
    expect(view?.id).not.toBe(after?.id)
  })
})

describe('several processes on a Cluster', { timeout }, () => {
  it('list every session of a user, and none whose end was acknowledged (M2, M3, M5)', async () => {
    const stage = await openStage(2, { isCluster: true })
    onTestFinished(() => stage.close())

    const figures = await measureLists(stage, 200)

    expect(figures).toMatchObject({ races: 200, checks: 400, missing: 0, back: 0, errors: 0 })
  })
})

describe('several processes that limit the sessions of a user', { timeout }, () => {
  it.each([
    ['terminateOldest', false],
    ['refuse', false],
    ['terminateOldest', true],
    ['refuse', true],
  ] as const)(
    'leave exactly the limit after 50 sign-ins at once, %s, on a Cluster: %s (M6)',
    async (onExceed, isCluster) => {
      const stage = await openStage(2, { maxSessions: { perUser, onExceed }, isCluster })
      onTestFinished(() => stage.close())

      const figures = await measureLimits(stage, 4, onExceed)

      expect(figures).toEqual({
        rounds: 4,
        wrongLive: 0,
        wrongListed: 0,
        wrongRefused: 0,
        errors: 0,
      })
    },
  )
})
