// What parallel requests on several processes must reach: nothing lost, no session back, and no rights
// of other users. Prints a table; the exit code is 1 when a figure was missed.
//
//   npm run figures
//   npm run figures -- --scale 0.02

import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

import { newSecret } from '../../src/cookie/cookie.ts'
import { decodeSession } from '../../src/store/session-text.ts'
import {
  incrementRows,
  pairRow,
  byteRows,
  endRow,
  signInRow,
  listRow,
  limitRow,
  restoreRow,
  ownIncrementRow,
} from './figure-rows.ts'
import type { Row } from './figure-rows.ts'
import { inFlight, perUser, restoresPerToken } from './figure-sizes.ts'
import { openSession, expectOk, loginStep, scriptCalls, range } from './stage-steps.ts'
import type { Outcome, Step } from './worker.ts'
import { inLanes, openStage, Random } from './workers.ts'
import type { Sent, Stage, StageSettings } from './workers.ts'

const lanes = 24

/** The result of increments of one key by `use()`. */
export interface IncrementFigures {
  /** The counter at the end. */
  readonly total: number
  readonly acknowledged: number
  /** Acknowledged ones that are missing from the total. */
  readonly lost: number
  /** Acknowledged ones that got the same number as another one. */
  readonly doubled: number
  /** Commands per request that the workers sent to Redis: its load, its lock, its commit. */
  readonly commandsPerUse: number
  readonly errors: number
}

/**
 * Requests that add 1 to one key of one session with `use()`, 50 in flight in each process.
 *
 * @param stage The servers and processes.
 * @param uses How many.
 * @param whose A browser's session, or that of the server's own code.
 */
export async function measureIncrements(
  stage: Stage,
  uses: number,
  whose: 'browser' | 'server' = 'browser',
): Promise<IncrementFigures> {
  const { cookie, id } =
    whose === 'browser'
      ? await openSession(stage, [{ do: 'write', key: 'count', value: 0 }])
      : { cookie: undefined, id: (await stage.sessions.storedProcedure()).id }
  const step = whose === 'browser' ? 'increment' : 'incrementOwn'
  const before = await scriptCalls(stage)
  const share = Math.ceil(uses / stage.workerCount)
  const outcomes = await Promise.all(
    range(stage.workerCount).map((worker) =>
      stage.repeat(worker, {
        request: { cookie, steps: [{ do: step, key: 'count' }] },
        times: Math.min(share, uses - worker * share),
        inFlight,
      }),
    ),
  )
  const commands = (await scriptCalls(stage)) - before
  const storage = await stage.sessions.storage(id)
  const values = outcomes.flatMap((outcome) => outcome.values)
  const total = Number(storage?.['count'])
  return {
    total,
    acknowledged: values.length,
    lost: values.length - total,
    doubled: values.length - new Set(values).size,
    commandsPerUse: commands / uses,
    errors: outcomes
      .flatMap(({ errors }) => Object.values(errors))
      .reduce((sum, count) => sum + count, 0),
  }
}

/** The result of pairs of requests that change different keys. */
export interface PairFigures {
  readonly pairs: number
  readonly lost: number
  readonly errors: number
}

/**
 * Pairs of requests, in two processes, on one session: both have loaded it before either commits a
 * key of its own.
 *
 * @param stage Where.
 * @param pairs How many.
 */
export async function measurePairs(stage: Stage, pairs: number): Promise<PairFigures> {
  const opened = await Promise.all(
    range(lanes).map(() => openSession(stage, [{ do: 'write', key: 'start', value: 0 }])),
  )
  const free = [...opened]
  let lost = 0
  let errors = 0
  await inLanes(pairs, lanes, async (index) => {
    const session = free.pop()!
    const { cookie, id } = session
    const names = ['left', 'right']
    const sent = names.map((key, worker) =>
      stage.send(worker, { cookie, steps: [{ do: 'write', key, value: index }, { do: 'pause' }] }),
    )
    await Promise.all(sent.map(({ paused }) => paused))
    for (const { resume } of sent) resume()
    const outcomes = await Promise.all(sent.map(({ outcome }) => outcome))
    errors += outcomes.filter(({ error }) => error !== undefined).length
    const storage = await stage.sessions.storage(id)
    lost += names.filter((key) => storage?.[key] !== index).length
    free.push(session)
  })
  return { pairs, lost, errors }
}

/** Bytes that a request sends to Redis, its load included. */
export interface ByteFigures {
  /** When it changes a counter. */
  readonly counter: number
  /** When it changes one of the keys to another text of the same length. */
  readonly oneKey: number
  /** When it changes all keys. */
  readonly allKeys: number
}

/**
 * What changing one of 100 keys of a session costs, against rewriting all of them.
 *
 * @param stage Where.
 */
export async function measureBytes(stage: Stage): Promise<ByteFigures> {
  const writeAll = (letter: string): Step[] => [
    { do: 'write', key: 'counter', value: letter.codePointAt(0) },
    ...range(99).map((index): Step => textStep(index, letter)),
  ]
  const { cookie } = await openSession(stage, writeAll('a'))
  const sentBy = async (steps: readonly Step[]): Promise<number> => {
    const { sentBytes } = await expectOk(stage.ask(0, { cookie, steps }))
    return sentBytes
  }
  // Redis knows the scripts after these.
  await sentBy(writeAll('b'))
  return {
    counter: await sentBy([{ do: 'write', key: 'counter', value: 1 }]),
    oneKey: await sentBy([textStep(7, 'c')]),
    allKeys: await sentBy(writeAll('d')),
  }
}

function textStep(index: number, letter: string): Step {
  return { do: 'write', key: `text${index}`, value: letter.repeat(2000) }
}

/** The result of races against the end of a session. */
export interface EndFigures {
  readonly races: number
  /** Sessions that were found after their end was acknowledged. */
  readonly alive: number
  /** Sign-ins that were acknowledged with a cookie that opens nothing. */
  readonly lostSignIns: number
  /** Requests that a race was against, and those that found the session gone or rotated. */
  readonly contenders: number
  readonly late: number
  /** Errors other than the end of the session. */
  readonly errors: number
}

/**
 * Races of a sign-out, `destroy()` or an end by id against requests that write, use, touch, rotate
 * or sign in, some of which have loaded the session before.
 *
 * @param stage Where.
 * @param races How many.
 * @param seed What is raced, and how.
 */
export async function measureEnds(stage: Stage, races: number, seed = 1): Promise<EndFigures> {
  const sums = { alive: 0, lostSignIns: 0, contenders: 0, late: 0, errors: 0 }
  await inLanes(races, lanes, async (index) => {
    const random = new Random(seed * 1_000_003 + index)
    const result = await raceEnd(stage, random)
    for (const name of ['alive', 'lostSignIns', 'contenders', 'late', 'errors'] as const) {
      sums[name] += result[name]
    }
  })
  return { races, ...sums }
}

async function raceEnd(stage: Stage, random: Random): Promise<Omit<EndFigures, 'races'>> {
  const start: Step = random.chance(0.5)
    ? loginStep('ann')
    : { do: 'write', key: 'start', value: true }
  const { cookie, id } = await openSession(stage, [start])
  const worker = (): number => random.below(stage.workerCount)

  const end: Step = random.pick<Step>([
    { do: 'logout' },
    { do: 'destroy' },
    { do: 'terminate', id },
  ])
  // First, because a sign-out by a value that was rotated before has no session to end.
  const ender = stage.send(worker(), { cookie, steps: [{ do: 'pause' }, end] })
  await ender.paused
  const plans = range(3).map(() => ({
    worker: worker(),
    step: random.pick<Step>([
      { do: 'write', key: 'late', value: true },
      { do: 'increment', key: 'count' },
      { do: 'touch' },
      { do: 'regenerate' },
      loginStep('ann'),
      loginStep('bob'),
    ]),
    isPaused: random.chance(0.6),
    isFirst: random.chance(0.5),
  }))
  const paused = plans
    .filter(({ isPaused }) => isPaused)
    .map((plan) => {
      const steps: Step[] = plan.isFirst
        ? [plan.step, { do: 'pause' }]
        : [{ do: 'pause' }, plan.step]
      return stage.send(plan.worker, { cookie, steps })
    })
  await Promise.all(paused.map((sent) => sent.paused))
  const free = plans
    .filter(({ isPaused }) => !isPaused)
    .map((plan) => stage.send(plan.worker, { cookie, steps: [plan.step] }))
  for (const { resume } of random.chance(0.5) ? [ender, ...paused] : [...paused, ender]) resume()

  const ended = await ender.outcome
  let isAlive = await isThere(stage, id, [cookie])
  const outcomes = await Promise.all([...paused, ...free].map(({ outcome }) => outcome))
  const given = outcomes.flatMap(({ cookie: value }) => (typeof value === 'string' ? [value] : []))
  isAlive = (await isThere(stage, id, [cookie, ...given])) || isAlive
  const moved = outcomes.filter(({ after, error }) => !error && after && after.id !== id)
  let lostSignIns = 0
  for (const { cookie: value, after } of moved) {
    if (typeof value !== 'string') continue
    const { view } = await stage.ask(worker(), { cookie: value, steps: [] })
    if (view?.id !== after?.id || view?.userName !== after?.userName) lostSignIns++
  }
  return {
    alive: isAlive ? 1 : 0,
    lostSignIns,
    contenders: outcomes.length,
    late: outcomes.filter(({ error, after }) => error === 'ERR_SESSION_ENDED' || after?.id !== id)
      .length,
    errors: [ended, ...outcomes].filter(
      ({ error }) => error !== undefined && error !== 'ERR_SESSION_ENDED',
    ).length,
  }
}

/** Whether a session exists, or any of these cookie values opens it. */
async function isThere(stage: Stage, id: string, cookies: readonly string[]): Promise<boolean> {
  const [exists, ...outcomes] = await Promise.all([
    stage.redis.exists(stage.keyOf(id)),
    ...cookies.map((cookie, index) => stage.ask(index, { cookie, steps: [] })),
  ])
  return exists === 1 || outcomes.some(({ view }) => view?.id === id)
}

/** The result of parallel sign-ins on one session. */
export interface SignInFigures {
  readonly rounds: number
  /** Responses whose cookie does not open the session that they showed. */
  readonly deadCookies: number
  /** Rounds with a number of sessions other than the rules require. */
  readonly wrongSessions: number
  /** Sessions that show another user, or other rights, than the sign-in of their cookie gave. */
  readonly foreignRights: number
  /** Rounds after which the previous cookie value opens a session. */
  readonly openedByOld: number
  /** Rounds after which a value that was never issued opens a session. */
  readonly openedByForged: number
  readonly errors: number
}

/**
 * Parallel sign-ins by requests that have all loaded the same guest session before.
 *
 * @param stage Where.
 * @param rounds How often.
 * @param users Whether all sign in as one user, or each as another one.
 */
export async function measureSignIns(
  stage: Stage,
  rounds: number,
  users: 'one' | 'many',
): Promise<SignInFigures> {
  const sums = {
    deadCookies: 0,
    wrongSessions: 0,
    foreignRights: 0,
    openedByOld: 0,
    openedByForged: 0,
    errors: 0,
  }
  await inLanes(rounds, 2, async (round) => {
    const { cookie, id } = await openSession(stage, [{ do: 'write', key: 'cart', value: round }])
    const names = range(inFlight).map((index) => (users === 'one' ? 'ann' : `user${index}`))
    const sent = names.map((name, index) =>
      stage.send(index, { cookie, steps: [{ do: 'pause' }, loginStep(name)] }),
    )
    await Promise.all(sent.map(({ paused }) => paused))
    for (const { resume } of sent) resume()
    const outcomes = await Promise.all(sent.map(({ outcome }) => outcome))

    sums.errors += outcomes.filter(({ error }) => error !== undefined).length
    const old = await stage.ask(round, { cookie, steps: [] })
    if (old.view) sums.openedByOld++
    const forged = await stage.ask(round, { cookie: newSecret(id).value, steps: [] })
    if (forged.view) sums.openedByForged++
    const visits = await Promise.all(
      outcomes.map(({ cookie: value }, index) =>
        stage.ask(index + 1, { cookie: value ?? undefined, steps: [] }),
      ),
    )
    const ids = new Set<string>()
    for (const [index, { view }] of visits.entries()) {
      if (!view || view.id !== outcomes[index]?.after?.id) sums.deadCookies++
      if (!view) continue
      ids.add(view.id)
      const rights = [view.userName, ...view.privileges, view.storage['cart']]
      const own = [names[index], `is:${names[index]}`, round]
      if (JSON.stringify(rights) !== JSON.stringify(own)) sums.foreignRights++
    }
    if (!ids.has(id) || ids.size !== (users === 'one' ? 1 : inFlight)) sums.wrongSessions++
  })
  return { rounds, ...sums }
}

/** The result of parallel creations under one id. */
export interface CreationFigures {
  readonly rounds: number
  /** Rounds in which not exactly one call was told that it has created the session. */
  readonly wrongWinners: number
  /** Rounds after which the session is not the winner's. */
  readonly overwritten: number
}

/**
 * Parallel creations under one id, as if two servers drew the same one: the second must never take
 * over a session.
 *
 * @param stage Where.
 * @param rounds How often.
 */
export async function measureCreations(stage: Stage, rounds: number): Promise<CreationFigures> {
  const sums = { wrongWinners: 0, overwritten: 0 }
  await inLanes(rounds, lanes, async () => {
    const id = crypto.randomUUID()
    const outcomes = await Promise.all(
      range(8).map((worker) => stage.ask(worker, { steps: [{ do: 'create', id }] })),
    )
    const winners = outcomes.flatMap(({ values }) =>
      values.filter((value) => typeof value === 'string'),
    )
    if (winners.length !== 1) sums.wrongWinners++
    const { view } = await stage.ask(0, { cookie: winners[0], steps: [] })
    if (view?.id !== id || view.storage['value'] !== winners[0]) sums.overwritten++
  })
  return { rounds, ...sums }
}

/** The result of races over the sessions of a user. */
export interface ListFigures {
  readonly races: number
  /** How often the list was compared with the sessions, during a race or after it. */
  readonly checks: number
  /** Live sessions with an acknowledged sign-in that a list missed. */
  readonly missing: number
  /** Sessions that were listed, stored or opened after their end was acknowledged. */
  readonly back: number
  /** Entries in the indexes after a last look at each. */
  readonly stale: number
  readonly errors: number
}

/**
 * Races of sign-ins, refreshes, ends by id and of all, sign-outs, lists, and requests that take the
 * user name away, on two sessions of one user, each user in a race of its own.
 *
 * @param stage Where.
 * @param races How many.
 * @param seed What is raced, and how.
 */
export async function measureLists(stage: Stage, races: number, seed = 1): Promise<ListFigures> {
  const sums = { checks: 0, missing: 0, back: 0, stale: 0, errors: 0 }
  await inLanes(races, lanes, async (index) => {
    const random = new Random(seed * 1_000_003 + index)
    const result = await new ListRace(stage, random, `listed${index}`).run()
    for (const name of ['checks', 'missing', 'back', 'stale', 'errors'] as const) {
      sums[name] += result[name]
    }
  })
  return { races, ...sums }
}

class ListRace {
  readonly #stage: Stage
  readonly #random: Random
  readonly #userName: string
  /** Sessions whose sign-in was acknowledged. */
  readonly #signedIn = new Set<string>()
  /** Sessions whose end was acknowledged. */
  readonly #ended = new Set<string>()
  /** The cookie values of sessions. */
  readonly #cookies: { readonly id: string; readonly cookie: string }[] = []
  readonly #figures = { checks: 0, missing: 0, back: 0, stale: 0, errors: 0 }

  constructor(stage: Stage, random: Random, userName: string) {
    this.#stage = stage
    this.#random = random
    this.#userName = userName
  }

  async run(): Promise<Omit<ListFigures, 'races'>> {
    const random = this.#random
    const userName = this.#userName
    const login = loginStep(userName)
    let first = await this.#open([login])
    const second = await this.#open([random.chance(0.5) ? login : { do: 'save' }])
    // Its entry is one that a list removes.
    const isCleared = random.chance(0.6)
    if (isCleared) {
      await this.#ask(first.cookie, [{ do: 'clear' }])
      first = this.#cookies.findLast(({ id }) => id === first.id)!
    }

    const plans = range(4).map((): { readonly cookie?: string; readonly steps: Step[] } => {
      const { id, cookie } = random.pick([first, first, second])
      const step = random.pick<Step | undefined>([
        login,
        login,
        login,
        undefined,
        { do: 'touch' },
        { do: 'clear' },
        { do: 'clearAll', userName },
        { do: 'logout' },
        { do: 'terminate', id },
        { do: 'terminateAll', userName },
      ])
      const steps = step ? [step] : []
      return random.chance(0.15) ? { steps } : { cookie, steps }
    })
    // A sign-in to a session that a list takes for a guest's.
    if (isCleared) plans[0] = { cookie: first.cookie, steps: [login] }
    const sent = plans.map(({ cookie, steps }) => this.#send(cookie, [...this.#delay(), ...steps]))
    const lists = range(3).map(() =>
      this.#send(undefined, [...this.#delay(), { do: 'list', userName }]),
    )
    await Promise.all([...sent, ...lists].map(({ paused }) => paused))
    const noted = [
      ...sent.map(({ outcome }, index) => this.#note(outcome, plans[index]!.steps)),
      ...lists.map(({ outcome }) => this.#note(outcome, [])),
    ]
    const starting = [...sent, ...lists]
    while (starting.length > 0) starting.splice(random.below(starting.length), 1)[0]!.resume()
    await Promise.all([...noted, this.#check()])

    await this.#settle()
    await this.#check()
    await this.#settle()
    await this.#look()
    return this.#figures
  }

  /** A request that waits after its load. */
  #send(cookie: string | undefined, steps: readonly Step[]): Sent {
    const worker = this.#random.below(this.#stage.workerCount)
    return this.#stage.send(worker, { cookie, steps: [{ do: 'pause' }, ...steps] })
  }

  /** Some round trips, so that any step of one request can fall between any two of another. */
  #delay(): readonly Step[] {
    return range(this.#random.below(4)).map(() => ({ do: 'list', userName: 'nobody' }))
  }

  /** A session that a first request has made. */
  async #open(steps: readonly Step[]): Promise<{ readonly id: string; readonly cookie: string }> {
    const opened = await openSession(this.#stage, steps)
    this.#cookies.push(opened)
    if (steps.some((step) => step.do === 'login')) this.#signedIn.add(opened.id)
    return opened
  }

  #ask(cookie: string | undefined, steps: readonly Step[], worker = 0): Promise<void> {
    return this.#note(this.#stage.ask(worker, { cookie, steps }), steps)
  }

  /** Records what was acknowledged. */
  async #note(asked: Promise<Outcome>, steps: readonly Step[]): Promise<void> {
    const { view, after, cookie, values, error } = await asked
    if (error !== undefined) {
      if (error !== 'ERR_SESSION_ENDED') this.#figures.errors++
      return
    }
    if (after && typeof cookie === 'string') this.#cookies.push({ id: after.id, cookie })
    for (const step of steps) {
      if (step.do === 'login' && after) this.#signedIn.add(after.id)
      if (step.do === 'logout' && view) this.#ended.add(view.id)
      if (step.do === 'terminate' && values.at(-1) === true) this.#ended.add(step.id)
      if (step.do === 'terminateAll') for (const id of idsIn(values.at(-1))) this.#ended.add(id)
    }
  }

  /** Compares the list with the sessions before and after it. */
  async #check(): Promise<void> {
    const ended = [...this.#ended]
    const before = await this.#live()
    const sessions = await this.#stage.sessions.list(this.#userName)
    const listed = new Set(sessions.map(({ id }) => id))
    const after = await this.#live()
    this.#figures.checks++
    for (const [id, signIn] of before) {
      // The same sign-in throughout.
      if (after.get(id) === signIn && !listed.has(id)) this.#figures.missing++
    }
    this.#figures.back += ended.filter((id) => listed.has(id)).length
  }

  /** The sessions that belong to the user by an acknowledged sign-in, and that sign-in. */
  async #live(): Promise<ReadonlyMap<string, string>> {
    const ids = [...this.#signedIn]
    const { redis } = this.#stage
    const found = await Promise.all(ids.map((id) => redis.get(this.#stage.keyOf(id))))
    return new Map(
      ids.flatMap((id, index) => {
        const session = decodeSession(id, found[index] ?? '')
        if (session?.record.userName !== this.#userName) return []
        const secrets = session.secrets.map(({ hash }) => hash)
        return [[id, [session.record.signedInAt, ...secrets.toSorted()].join(' ')]]
      }),
    )
  }

  /** Whether anything of an ended session remains, and how long the index is. */
  async #look(): Promise<void> {
    const { redis } = this.#stage
    const ended = [...this.#ended]
    const exist = await Promise.all(ended.map((id) => redis.exists(this.#stage.keyOf(id))))
    const views = await Promise.all(
      this.#cookies
        .filter(({ id }) => this.#ended.has(id))
        .map(async ({ id, cookie }, index) => {
          const { view } = await this.#stage.ask(index, { cookie, steps: [] })
          return view?.id === id
        }),
    )
    const isBack = [...exist.map((count) => count > 0), ...views]
    this.#figures.back += isBack.filter(Boolean).length
    const entries = await redis.zcard(this.#stage.userKeyOf(this.#userName))
    this.#figures.stale += entries - (await this.#live()).size
  }

  /**
   * Redis answers a connection in order: after this, no earlier command is running in the
   * background.
   */
  async #settle(): Promise<void> {
    const steps: Step[] = [{ do: 'list', userName: 'nobody' }]
    await Promise.all(
      range(this.#stage.workerCount).map((worker) => this.#stage.ask(worker, { steps })),
    )
    await this.#stage.redis.ping()
  }
}

function idsIn(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.map(String) : []
}

/** The result of parallel sign-ins over `maxSessions`. */
export interface LimitFigures {
  readonly rounds: number
  /** Rounds after which the number of the user's sessions differs from the limit. */
  readonly wrongLive: number
  /** Rounds after which the listed number differs. */
  readonly wrongListed: number
  /** Rounds with a number of refused sign-ins other than the rules require. */
  readonly wrongRefused: number
  readonly errors: number
}

/**
 * Parallel sign-ins as one user, half of them from guest sessions.
 *
 * @param stage One whose workers have `maxSessions` with {@link perUser}.
 * @param rounds How often.
 * @param onExceed The setting of the workers.
 */
export async function measureLimits(
  stage: Stage,
  rounds: number,
  onExceed: 'terminateOldest' | 'refuse',
): Promise<LimitFigures> {
  const sums = { wrongLive: 0, wrongListed: 0, wrongRefused: 0, errors: 0 }
  await inLanes(rounds, 2, async (round) => {
    const userName = `limited${round}`
    const guests = await Promise.all(
      range(inFlight / 2).map(() => openSession(stage, [{ do: 'save' }])),
    )
    const sent = range(inFlight).map((index) =>
      stage.send(index, {
        cookie: guests[index]?.cookie,
        steps: [{ do: 'pause' }, loginStep(userName)],
      }),
    )
    await Promise.all(sent.map(({ paused }) => paused))
    for (const { resume } of sent) resume()
    const outcomes = await Promise.all(sent.map(({ outcome }) => outcome))

    const refused = outcomes.filter(({ error }) => error === 'ERR_SESSION_LIMIT')
    const errors = outcomes.filter(({ error }) => error !== undefined)
    sums.errors += errors.length - refused.length
    if (refused.length !== (onExceed === 'refuse' ? inFlight - perUser : 0)) sums.wrongRefused++
    const ids = outcomes.flatMap(({ after }) => after?.id ?? [])
    const found = await Promise.all(ids.map((id) => stage.redis.get(stage.keyOf(id))))
    const live = ids.filter(
      (id, index) => decodeSession(id, found[index] ?? '')?.record.userName === userName,
    )
    if (live.length !== perUser) sums.wrongLive++
    const listed = await stage.sessions.list(userName)
    const isListed = listed.every(({ id }) => live.includes(id))
    if (listed.length !== perUser || !isListed) sums.wrongListed++
  })
  return { rounds, ...sums }
}

/** The result of parallel restores of one-time tokens. */
export interface RestoreFigures {
  readonly tokens: number
  readonly winners: number
  /** Tokens that did not let exactly one browser in. */
  readonly wrongTokens: number
  /** Browsers that got a cookie although they were refused, or none that opens the session. */
  readonly wrongCookies: number
  readonly errors: number
}

/**
 * Browsers without a session that all bring the same one-time token at once.
 *
 * @param stage Where.
 * @param tokens How many, of a session each.
 */
export async function measureRestores(stage: Stage, tokens: number): Promise<RestoreFigures> {
  const sums = { winners: 0, wrongTokens: 0, wrongCookies: 0, errors: 0 }
  await inLanes(tokens, 2, async (index) => {
    const { cookie, id } = await openSession(stage, [loginStep('ann')])
    const made = await expectOk(stage.ask(index, { cookie, steps: [{ do: 'createOTP' }] }))
    const otp = String(made.values[0])
    const sent = range(restoresPerToken).map((worker) =>
      stage.send(worker, { steps: [{ do: 'pause' }, { do: 'restore', otp }] }),
    )
    await Promise.all(sent.map(({ paused }) => paused))
    for (const { resume } of sent) resume()
    const outcomes = await Promise.all(sent.map(({ outcome }) => outcome))

    const winners = outcomes.filter(({ values }) => values[0] === true)
    sums.winners += winners.length
    if (winners.length !== 1) sums.wrongTokens++
    sums.errors += outcomes.filter(({ error }) => error !== undefined).length
    sums.wrongCookies += outcomes.filter(
      (outcome) => outcome.values[0] !== true && outcome.cookie !== undefined,
    ).length
    const cookies = [cookie, ...winners.map((winner) => winner.cookie ?? undefined)]
    const visits = await Promise.all(
      cookies.map((value, worker) => stage.ask(worker, { cookie: value, steps: [] })),
    )
    sums.wrongCookies += visits.filter(
      ({ view }) => view?.id !== id || view.userName !== 'ann',
    ).length
  })
  return { tokens, ...sums }
}

async function main(scale: number): Promise<void> {
  const scaled = (count: number): number => Math.max(2, Math.round(count * scale))
  const stage = await openStage(2)
  const rows: Row[] = []
  const timed = async (measure: () => Promise<Row[]>): Promise<void> => {
    const start = performance.now()
    const measured = await measure()
    const seconds = ((performance.now() - start) / 1000).toFixed(1)
    rows.push(...measured)
    process.stderr.write(`${measured[0]?.figure ?? ''} … ${seconds} s\n`)
  }
  try {
    const uses = scaled(100_000)
    await timed(async () => incrementRows(uses, await measureIncrements(stage, uses)))
    await timed(async () => [pairRow(await measurePairs(stage, scaled(10_000)))])
    await timed(async () => byteRows(await measureBytes(stage)))
    await timed(async () => [endRow(await measureEnds(stage, scaled(10_000)))])
    await timed(async () => [
      signInRow('one user', await measureSignIns(stage, scaled(300), 'one')),
    ])
    await timed(async () => [
      signInRow('50 users', await measureSignIns(stage, scaled(300), 'many')),
    ])
    await timed(async () => [restoreRow(await measureRestores(stage, scaled(200)))])
    const ownUses = scaled(10_000)
    await timed(async () => [
      ownIncrementRow(ownUses, await measureIncrements(stage, ownUses, 'server')),
    ])
    await timed(async () => [listRow('', await measureLists(stage, scaled(10_000)))])
  } finally {
    await stage.close()
  }
  const onStage = async (
    settings: StageSettings,
    measure: (stage: Stage) => Promise<Row>,
  ): Promise<void> => {
    const special = await openStage(2, settings)
    try {
      await timed(async () => [await measure(special)])
    } finally {
      await special.close()
    }
  }
  await onStage({ isCluster: true }, async (special) =>
    listRow(', as on a Cluster', await measureLists(special, scaled(10_000))),
  )
  for (const onExceed of ['terminateOldest', 'refuse'] as const) {
    await onStage({ maxSessions: { perUser, onExceed } }, async (special) =>
      limitRow(onExceed, await measureLimits(special, scaled(60), onExceed)),
    )
  }
  const width = Math.max(...rows.map(({ figure }) => figure.length))
  for (const { figure, reached, isMet } of rows) {
    process.stdout.write(`${isMet ? 'ok    ' : 'MISSED'}  ${figure.padEnd(width)}  ${reached}\n`)
  }
  if (rows.some(({ isMet }) => !isMet)) process.exitCode = 1
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { scale: { type: 'string', default: '1' } } })
  const scale = Number(values.scale)
  if (!(scale > 0)) throw new TypeError('--scale must be a number above 0')
  await main(scale)
}
