import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { inspect } from 'node:util'

import { requirePrivilege } from 'koa-user-sessions'
import { expect, vi } from 'vitest'

import { newSecret, newSessionId } from '../../src/cookie/cookie.ts'
import { cookieOf, setCookies } from './apps.ts'
import type { Handler, TestApp } from './apps.ts'

/** The kinds of callers, each of which sends requests again and again. */
export type Lane =
  /** A page that does not use sessions, without a cookie. */
  | 'guest'
  /** A guarded page, with a well-formed cookie that was never issued. */
  | 'stranger'
  /** A guarded page, as a user without the privilege. */
  | 'other'
  /** A guarded page, as a user with the privilege. */
  | 'admin'
  /** The name of the user. */
  | 'reader'
  /** Changes its own session, each time to a new value. */
  | 'writer'
  /** Counts in a `use()` block, in a session that all counters share. */
  | 'counter'
  /** Signs in, as a new user each time. */
  | 'signIn'

/** One answered request of a load. */
export interface Answer {
  readonly lane: Lane
  /** Both by `performance.now()`. */
  readonly askedAt: number
  readonly answeredAt: number
  readonly status: number
  readonly retryAfter: string | undefined
  /** The user that the app reports, if it does. */
  readonly user: string | undefined
  /** The requested change. */
  readonly change?: Change
}

/** A change, and where the response says that it is stored. */
export interface Change {
  readonly id: string
  readonly key: string
  readonly number: number
  /** What opens the session. */
  readonly cookie: string
}

/** What the app returns to a load. */
interface Said {
  readonly id?: string
  readonly user?: string
  readonly count?: number
}

// A part of each stored value, and so of what no error may reveal.
const storedText = `stored-${randomBytes(6).toString('hex')}`
const nobody = 'nobody'
// One lane for each name.
const askers: Readonly<Record<Lane, readonly string[]>> = {
  guest: [''],
  stranger: [nobody],
  other: ['bob'],
  admin: ['ann'],
  reader: ['ann', 'ann'],
  writer: ['will', 'wanda'],
  counter: ['cat', 'cat'],
  signIn: [''],
}
const lanes = [
  'guest',
  'stranger',
  'other',
  'admin',
  'reader',
  'writer',
  'counter',
  'signIn',
] as const
/** The lanes that need the store. */
export const needsStore: readonly Lane[] = ['reader', 'admin', 'writer', 'counter', 'signIn']

// Few enough for the limits of storage.
const keysOfWriter = 100
const pauseMs = 40
// Far above any deadline: it separates what hangs from what is slow.
const hangsMs = 15_000

/** What an app must have to be put under load. */
export const loadHandlers: Readonly<Record<string, Handler>> = {
  '/who': say,
  '/admin': (ctx) => requirePrivilege('WebAdmin')(ctx, async () => say(ctx)),
  '/put': (ctx) => {
    const { key, number } = ctx.query
    ctx.session.storage[String(key)] = `${storedText} ${String(number)}`
    say(ctx)
  },
  '/count': async (ctx) => {
    const count = await ctx.session.use((storage) => {
      storage['count'] = Number(storage['count'] ?? 0) + 1
      return Number(storage['count'])
    })
    ctx.body = { id: ctx.session.id, user: ctx.session.userName, count }
  },
  '/sign-in': (ctx) => {
    ctx.session.storage['mark'] = `${storedText} 0`
    ctx.session.setPrivileges({ userName: String(ctx.query['user']), privileges: 'browse' })
    say(ctx)
  },
}

/** A lane, and its browser. */
interface Asker {
  readonly lane: Lane
  cookie: string
  /** The id of its session, as far as it knows. */
  id: string
}

/** Several requests at a time to an app, of all kinds, until it is stopped. */
export class Load {
  /** All responses so far, in order. */
  readonly answers: Answer[] = []
  readonly #app: TestApp
  readonly #secrets: readonly string[]
  readonly #rejections: unknown[] = []
  readonly #onRejection = (reason: unknown): number => this.#rejections.push(reason)
  #isStopped = false
  #lanes: Promise<unknown> = Promise.resolve()

  private constructor(app: TestApp, askers: readonly Asker[]) {
    this.#app = app
    this.#secrets = askers.flatMap(({ cookie }) => cookie.split('=')[1] ?? [])
  }

  /**
   * Signs its users in and starts.
   *
   * @param app Has {@link loadHandlers}.
   */
  static async start(app: TestApp): Promise<Load> {
    app.app.silent = true
    const signedIn = new Map([
      ['', { cookie: '', id: '' }],
      [nobody, { cookie: unknownCookie(), id: '' }],
    ])
    for (const name of new Set(Object.values(askers).flat())) {
      if (signedIn.has(name)) continue
      const privileges = name === 'ann' ? 'WebAdmin' : 'browse'
      signedIn.set(name, await signIn(app, name, privileges))
    }
    const all: Asker[] = []
    for (const lane of lanes) {
      for (const name of askers[lane]) {
        all.push({ lane, ...signedIn.get(name)! })
      }
    }
    const load = new Load(app, all)
    process.on('unhandledRejection', load.#onRejection)
    load.#lanes = Promise.all(all.map((asker) => load.#run(asker)))
    return load
  }

  /**
   * Waits until every lane has had this many responses.
   *
   * @param rounds How often, for requests that begin after this call.
   * @returns Those responses.
   */
  async watch(rounds = 2): Promise<readonly Answer[]> {
    const since = performance.now()
    const begun = (): readonly Answer[] => this.answers.filter(({ askedAt }) => askedAt >= since)
    await vi.waitFor(
      () => {
        const answers = begun()
        for (const lane of lanes) {
          const count = answers.filter((answer) => answer.lane === lane).length
          expect(count, lane).toBeGreaterThanOrEqual(rounds * askers[lane].length)
        }
      },
      { timeout: 30_000, interval: 10 },
    )
    return begun()
  }

  /** Waits until no request is answered 503 any more. */
  async recovered(): Promise<readonly Answer[]> {
    for (let tries = 0; tries < 100; tries++) {
      const answers = await this.watch(2)
      if (!answers.some(({ status }) => status === 503)) return answers
    }
    throw new Error('the app does not get well again')
  }

  /** Waits for the last responses. */
  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#lanes
    // An unhandled rejection is reported after the turn of the event loop in which it happened.
    await delay(0)
    process.off('unhandledRejection', this.#onRejection)
  }

  /** What holds under any fault: F1, F2, F8, G4, H2. To be called after it has stopped. */
  expectPromises(): void {
    expect(statuses(this.answers, 'guest')).toEqual([200])
    expect([401, 503]).toEqual(expect.arrayContaining(statuses(this.answers, 'stranger')))
    // 401 once it has lost its session.
    expect([401, 403, 503]).toEqual(expect.arrayContaining(statuses(this.answers, 'other')))
    expect([200, 401, 403, 503]).toEqual(expect.arrayContaining(statuses(this.answers)))
    const refused = this.answers.filter(({ status }) => status === 503)
    expect(refused.filter(({ retryAfter }) => retryAfter !== '1')).toEqual([])
    const admitted = this.answers.filter(({ lane, status }) => lane === 'admin' && status < 300)
    expect(admitted.filter(({ user }) => user !== 'ann')).toEqual([])
    const slow = this.answers.filter(({ askedAt, answeredAt }) => answeredAt - askedAt > hangsMs)
    expect(slow).toEqual([])
    expect(this.#rejections).toEqual([])
    const told = inspect([this.#app.errors, this.#app.events], { depth: 12, maxArrayLength: null })
    expect(told).not.toContain(storedText)
    for (const secret of this.#secrets) expect(told).not.toContain(secret)
  }

  /**
   * What the store lacks of the acknowledged changes, and what it has that was never requested or
   * was counted twice. To be called after it has stopped and Redis is healthy.
   *
   * @param since When the store has last lost everything, by `performance.now()`.
   * @returns One line for each; none when all is right.
   */
  async wrongs(since = 0): Promise<readonly string[]> {
    const changes = this.answers.filter(({ change, askedAt }) => change && askedAt >= since)
    const wrongs: string[] = []
    const signIns = changes.filter((answer) => answer.lane === 'signIn' && isGood(answer))
    const others = changes.filter(({ lane }) => lane !== 'signIn')
    for (const [id, answers] of groups(others, ({ id }) => id)) {
      // A busy machine is not a fault.
      const stored = await vi.waitFor(() => this.#app.sessions.storage(id), { timeout: 10_000 })
      const storage = stored ?? {}
      const isCounter = answers[0]?.lane === 'counter'
      wrongs.push(...(isCounter ? wrongCount(storage, answers) : wrongValues(storage, answers)))
    }
    for (const { change, user } of signIns.slice(-20)) {
      const said: Said = await vi.waitFor(
        async () => {
          const response = await this.#app.visit('/who', change!.cookie)
          expect(response.status).toBe(200)
          return response.body
        },
        { timeout: 10_000 },
      )
      if (said.user !== user) wrongs.push(`${user} is not signed in any more`)
    }
    return wrongs
  }

  async #run(asker: Asker): Promise<void> {
    for (let number = 1; !this.#isStopped; number++) {
      this.answers.push(await this.#ask(asker, number))
      await delay(pauseMs)
    }
  }

  async #ask(asker: Asker, number: number): Promise<Answer> {
    const { lane } = asker
    const key = `k${number % keysOfWriter}`
    const path = {
      guest: '/page',
      stranger: '/admin',
      other: '/admin',
      admin: '/admin',
      reader: '/who',
      writer: `/put?key=${key}&number=${number}`,
      counter: '/count',
      signIn: `/sign-in?user=new${number}`,
    }[lane]
    const askedAt = performance.now()
    const response = await this.#app.visit(path, asker.cookie)
    const answeredAt = performance.now()
    const { status } = response
    const said: Said = status === 200 && lane !== 'guest' ? response.body : {}
    const cookie = setCookies(response).length > 0 ? cookieOf(response) : asker.cookie
    // A new user each time has no cookie yet.
    if (lane !== 'signIn') Object.assign(asker, { cookie, id: said.id ?? asker.id })
    const change = { id: said.id ?? asker.id, key, number: said.count ?? number, cookie }
    return {
      lane,
      askedAt,
      answeredAt,
      status,
      retryAfter: response.headers['retry-after'],
      user: said.user,
      ...(['writer', 'counter', 'signIn'].includes(lane) && { change }),
    }
  }
}

/** A fault that comes and goes. */
export interface Fault {
  readonly begin: () => unknown
  /** Not before every lane has met it. */
  readonly end: () => unknown
}

/** The responses to a load. */
export interface Answered {
  readonly during: readonly Answer[]
  /** After the recovery. */
  readonly after: readonly Answer[]
  readonly all: readonly Answer[]
}

/**
 * Puts an app under load through a fault, and expects what holds under any: nothing lost, nothing
 * doubled, no one let in without rights, no guest refused, no secret revealed.
 *
 * @param app Has {@link loadHandlers}.
 * @param fault What happens meanwhile.
 * @param rounds How often each lane meets it.
 */
export async function loadThrough(app: TestApp, fault: Fault, rounds?: number): Promise<Answered> {
  const load = await Load.start(app)
  try {
    await load.watch()
    await fault.begin()
    const during = await load.watch(rounds)
    await fault.end()
    const after = await load.recovered()
    await load.stop()
    load.expectPromises()
    expect(await load.wrongs()).toEqual([])
    return { during, after, all: load.answers }
  } finally {
    await load.stop()
  }
}

/**
 * The statuses of responses, without duplicates, in order.
 *
 * @param answers The responses to a load.
 * @param only For these lanes; for all by default.
 */
export function statuses(answers: readonly Answer[], ...only: readonly Lane[]): number[] {
  const of = answers.filter(({ lane }) => only.length === 0 || only.includes(lane))
  return [...new Set(of.map(({ status }) => status))].toSorted((one, other) => one - other)
}

/**
 * The users in the responses to a lane, without duplicates, in order.
 *
 * @param answers The responses to a load.
 * @param only For this lane.
 */
export function users(answers: readonly Answer[], only: Lane): string[] {
  const of = answers.filter(({ lane, status }) => lane === only && status === 200)
  return [...new Set(of.map(({ user }) => user ?? ''))].toSorted()
}

async function signIn(
  app: TestApp,
  user: string,
  privileges: string,
): Promise<{ readonly cookie: string; readonly id: string }> {
  // A busy machine is not a fault.
  return vi.waitFor(
    async () => {
      const cookie = cookieOf(await app.visit(`/login?user=${user}&privileges=${privileges}`))
      const said: Said = (await app.visit('/who', cookie)).body
      expect(said.user).toBe(user)
      return { cookie, id: said.id ?? '' }
    },
    { timeout: 20_000 },
  )
}

/** Well-formed, but of no session. */
function unknownCookie(): string {
  return `session=${newSecret(newSessionId()).value}`
}

/** Changes by session or by key. */
function groups(
  answers: readonly Answer[],
  by: (change: Change) => string,
): ReadonlyMap<string, readonly Answer[]> {
  const all = new Map<string, Answer[]>()
  for (const answer of answers) {
    const name = by(answer.change!)
    all.set(name, [...(all.get(name) ?? []), answer])
  }
  return all
}

function say(ctx: Parameters<Handler>[0]): void {
  ctx.body = { id: ctx.session.id, user: ctx.session.userName }
}

function isGood({ status }: Answer): boolean {
  return status === 200
}

/** A lane sends one request at a time, so a lower number than an acknowledged one came too late. */
function wrongValues(
  storage: Readonly<Record<string, unknown>>,
  answers: readonly Answer[],
): readonly string[] {
  const wrongs: string[] = []
  for (const [key, changes] of groups(answers, ({ key }) => key)) {
    const acknowledged = changes.filter(isGood).map(({ change }) => change!.number)
    const last = acknowledged.at(-1)
    const possible = changes
      .map(({ change }) => change!.number)
      .filter((number) => last === undefined || number >= last)
      .map((number) => `${storedText} ${number}`)
    const value = storage[key]
    const isRight = typeof value === 'string' ? possible.includes(value) : last === undefined
    if (!isRight) {
      wrongs.push(`${key} is ${JSON.stringify(value)}, acknowledged was ${last}`)
    }
  }
  return wrongs
}

/** Each acknowledged number once, and no more counted than requested. */
function wrongCount(
  storage: Readonly<Record<string, unknown>>,
  answers: readonly Answer[],
): readonly string[] {
  const acknowledged = answers.filter(isGood).map(({ change }) => change!.number)
  const unknown = answers.length - acknowledged.length
  const count = Number(storage['count'] ?? 0)
  const wrongs: string[] = []
  if (new Set(acknowledged).size < acknowledged.length) wrongs.push('a number was counted twice')
  if (count < Math.max(0, ...acknowledged) || count < acknowledged.length) {
    wrongs.push(`the count is ${count} after ${acknowledged.length} acknowledged increments`)
  }
  if (count > acknowledged.length + unknown) {
    wrongs.push(
      `the count is ${count}, of ${acknowledged.length} increments and ${unknown} unknown`,
    )
  }
  return wrongs
}
