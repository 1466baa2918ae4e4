// One of several processes that share sessions: it carries out what `workers.ts` sends. A request is
// one without HTTP: the session is looked up by a cookie value, used, and committed, in the order of
// the middleware.

import { Redis } from 'ioredis'
import { Sessions } from 'koa-user-sessions'
import type { RedisClient, Session, SessionsOptions } from 'koa-user-sessions'
import { unknownClient } from 'koa-user-sessions/store'

import type { Carrier } from '../../src/cookie/carrier.ts'
import { newSecret, parseCookieValue } from '../../src/cookie/cookie.ts'
import { SessionError } from '../../src/errors/errors.ts'
import { storedProcedure } from '../../src/manager/server-session.ts'
import { deploymentOf } from '../../src/manager/sessions.ts'
import { RequestSession } from '../../src/session/request-session.ts'
import { destroyAll } from '../store/contract-parts.ts'

/** What a worker is started with, as JSON in the environment variable `SCENARIO`. */
export interface WorkerOptions {
  readonly redisUrl: string
  readonly prefix: string
  /**
   * Whether its client says that it is a Cluster. The store then waits more often, and the reply to
   * the first step of a sign-in is late.
   */
  readonly isCluster?: boolean
  readonly maxSessions?: NonNullable<SessionsOptions['maxSessions']>
}

/** A step of a request with its session, or beside it. */
export type Step =
  | { readonly do: 'write'; readonly key: string; readonly value: unknown }
  /** Adds 1 in a `use()` block. */
  | { readonly do: 'increment'; readonly key: string }
  /** The same in the session of the server's own code. */
  | { readonly do: 'incrementOwn'; readonly key: string }
  | { readonly do: 'login'; readonly userName: string; readonly privileges: readonly string[] }
  | { readonly do: 'regenerate' | 'touch' | 'save' | 'destroy' }
  /** Takes all privileges and the user name away. */
  | { readonly do: 'clear' }
  /** Like `ctx.session = null`. */
  | { readonly do: 'logout' }
  /** Ends any session by its id. */
  | { readonly do: 'terminate'; readonly id: string }
  /** Ends all sessions of a user. */
  | { readonly do: 'terminateAll'; readonly userName: string }
  /** Takes all privileges and the user name away from all sessions of a user. */
  | { readonly do: 'clearAll'; readonly userName: string }
  | { readonly do: 'list'; readonly userName: string }
  /** Asks the store for a new session under an id of the caller's choice. */
  | { readonly do: 'create'; readonly id: string }
  | { readonly do: 'createOTP' }
  | { readonly do: 'restore'; readonly otp: string }
  /** Waits until the driver releases it. */
  | { readonly do: 'pause' }

/** A request. */
export interface WorkerRequest {
  /** The cookie value, if any. */
  readonly cookie?: string | undefined
  readonly steps: readonly Step[]
}

/** A session as a request sees it. */
export interface View {
  readonly id: string
  readonly userName: string
  readonly privileges: readonly string[]
  readonly storage: Readonly<Record<string, unknown>>
}

/** The result of a request. Instants are milliseconds on a clock that all processes share. */
export interface Outcome {
  readonly invoked: number
  /** When the session had been looked up. */
  readonly loaded: number
  /** When the steps were done and the commit began. */
  readonly committing: number
  readonly returned: number
  /** Whether the store has answered the lookup. */
  readonly isLoaded: boolean
  /** What the lookup found; absent for a guest. */
  readonly view?: View
  /** The request's session after the commit; absent when the request has ended it. */
  readonly after?: View
  /** The new cookie value; `null` when the cookie was cleared. */
  readonly cookie?: string | null
  /** The results of steps, in order: for `list` and `terminateAll` a list of ids. */
  readonly values: readonly unknown[]
  /** The code of the error that was thrown, or its text when it has none. */
  readonly error?: string
  /** Bytes that this process sent to Redis meanwhile, including those for other requests. */
  readonly sentBytes: number
}

/** The same request many times. */
export interface Repetition {
  readonly request: WorkerRequest
  readonly times: number
  readonly inFlight: number
}

/** The result of a repetition. */
export interface RepetitionOutcome {
  readonly values: readonly unknown[]
  /** How many requests failed with each error. */
  readonly errors: Readonly<Record<string, number>>
}

/** From the driver: JSON of a list of these. */
export type ToWorker =
  | { readonly kind: 'request'; readonly call: number; readonly request: WorkerRequest }
  | { readonly kind: 'repeat'; readonly call: number; readonly repetition: Repetition }
  | { readonly kind: 'resume'; readonly call: number }

/** To the driver, in the same way. */
export type FromWorker =
  | { readonly kind: 'ready' }
  | { readonly kind: 'paused'; readonly call: number }
  | { readonly kind: 'done'; readonly call: number; readonly outcome: Outcome }
  | { readonly kind: 'repeated'; readonly call: number; readonly outcome: RepetitionOutcome }
  | { readonly kind: 'broken'; readonly call: number; readonly reason: string }

const options: WorkerOptions = JSON.parse(process.env['SCENARIO'] ?? '{}')
const { redisUrl, prefix, isCluster = false, maxSessions } = options
const redis = new Redis(redisUrl)
// The driver sees failures through the requests.
redis.on('error', () => {})
const client: RedisClient = {
  isCluster,
  get: (key) => redis.get(key),
  getrange: (...args) => redis.getrange(...args),
  eval: (...args) => redis.eval(...args),
  async evalsha(...args) {
    const reply = await redis.evalsha(...args)
    // A user's index is farther away, so that more can happen between the steps of a sign-in.
    const isFar = isCluster && args[2]?.startsWith(`${prefix}user:`)
    if (isFar) for (let trips = 0; trips < 3; trips++) await redis.ping()
    return reply
  },
}
const sessions = new Sessions<Record<string, unknown>>({
  redis: client,
  prefix,
  // A refresh is always due, so that a load writes too.
  refreshSeconds: 0,
  // A busy machine is not a fault.
  storeTimeoutMs: 20_000,
  lockTimeoutMs: 30_000,
  ...(maxSessions && { maxSessions }),
})
const deployment = deploymentOf(sessions)

const resumers = new Map<number, () => void>()
const outbox: FromWorker[] = []

process.on('message', (text: string) => {
  const batch: readonly ToWorker[] = JSON.parse(text)
  for (const message of batch) receive(message)
})
// The driver has exited.
process.on('disconnect', () => process.exit())
await redis.ping()
post({ kind: 'ready' })

function post(message: FromWorker): void {
  outbox.push(message)
  if (outbox.length > 1) return
  setImmediate(() => {
    if (process.connected) process.send?.(JSON.stringify(outbox.splice(0)))
  })
}

function receive(message: ToWorker): void {
  const { call } = message
  if (message.kind === 'resume') {
    resumers.get(call)?.()
    return
  }
  const work =
    message.kind === 'request'
      ? perform(message.request, () => pause(call)).then((outcome) =>
          post({ kind: 'done', call, outcome }),
        )
      : repeat(message.repetition).then((outcome) => post({ kind: 'repeated', call, outcome }))
  work.catch((error: unknown) => post({ kind: 'broken', call, reason: String(error) }))
}

function pause(call: number): Promise<void> {
  post({ kind: 'paused', call })
  return new Promise((resolve) => {
    resumers.set(call, () => {
      resumers.delete(call)
      resolve()
    })
  })
}

async function repeat({ request, times, inFlight }: Repetition): Promise<RepetitionOutcome> {
  const values: unknown[] = []
  const errors: Record<string, number> = {}
  let started = 0
  const lane = async (): Promise<void> => {
    while (started < times) {
      started++
      const outcome = await perform(request, () => Promise.resolve())
      values.push(...outcome.values)
      if (outcome.error !== undefined) errors[outcome.error] = (errors[outcome.error] ?? 0) + 1
    }
  }
  await Promise.all(Array.from({ length: inFlight }, lane))
  return { values, errors }
}

async function perform(request: WorkerRequest, pause: () => Promise<void>): Promise<Outcome> {
  const sentBefore = redis.stream.bytesWritten
  const invoked = now()
  const carrier = new RecordingCarrier()
  const credential = parseCookieValue(request.cookie ?? '')
  const session = new RequestSession<Record<string, unknown>>(deployment, {
    credentials: credential ? [credential] : [],
    cookie: carrier,
    ip: '127.0.0.1',
    header: () => '',
    describeClient: async () => unknownClient,
    isActivity: () => true,
  })
  await session.load()
  const loaded = now()
  let view: View | undefined
  let committing = loaded
  let isLoaded = false
  let error: string | undefined
  const values: unknown[] = []
  try {
    if (!session.session.isNew) view = viewOf(session)
    isLoaded = true
    for (const step of request.steps) await take(step, session, { values, pause })
    committing = now()
    await session.commit()
  } catch (reason) {
    error = codeOf(reason)
    // In the order of the middleware.
    if (reason instanceof SessionError && reason.status < 500) {
      await session.commit()?.catch((failure: unknown) => {
        error = codeOf(failure)
      })
    }
  }
  const returned = now()
  const ends = request.steps.some((step) => step.do === 'logout' || step.do === 'destroy')
  return {
    invoked,
    loaded,
    committing,
    returned,
    isLoaded,
    ...(view && { view }),
    ...(isLoaded && !ends && { after: viewOf(session) }),
    ...(carrier.cookie !== undefined && { cookie: carrier.cookie }),
    values,
    ...(error !== undefined && { error }),
    sentBytes: redis.stream.bytesWritten - sentBefore,
  }
}

async function take(
  step: Step,
  request: RequestSession<Record<string, unknown>>,
  { values, pause }: { readonly values: unknown[]; readonly pause: () => Promise<void> },
): Promise<void> {
  const { session } = request
  switch (step.do) {
    case 'write':
      session.storage[step.key] = step.value
      break
    case 'increment':
      values.push(await increment(session, step.key))
      break
    case 'incrementOwn':
      values.push(await increment(await storedProcedure(deployment), step.key))
      break
    case 'login':
      session.setPrivileges({ userName: step.userName, privileges: step.privileges })
      break
    case 'regenerate':
    case 'touch':
    case 'save':
    case 'destroy':
      await session[step.do]()
      break
    case 'clear':
      session.clearPrivileges()
      break
    case 'logout':
      request.end()
      break
    case 'terminate':
      values.push(await deployment.store.destroy(step.id))
      break
    case 'terminateAll':
      values.push(await destroyAll(deployment.store, step.userName))
      break
    case 'clearAll':
      values.push(await sessions.clearPrivileges(step.userName))
      break
    case 'list':
      values.push((await sessions.list(step.userName)).map(({ id }) => id))
      break
    case 'create':
      values.push(await create(step.id))
      break
    case 'createOTP':
      values.push(await session.createOTP())
      break
    case 'restore':
      values.push(await session.restore(step.otp))
      break
    case 'pause':
      await pause()
      break
  }
}

function increment(session: Session<Record<string, unknown>>, key: string): Promise<number> {
  return session.use((storage) => {
    const count = Number(storage[key] ?? 0) + 1
    storage[key] = count
    return count
  })
}

/** Returns the cookie value; `undefined` when a session with that id exists. */
async function create(id: string): Promise<string | undefined> {
  const { value } = newSecret(id)
  const credential = parseCookieValue(value)
  if (!credential) throw new TypeError('no session id')
  const outcome = await deployment.store.create(
    {
      credential,
      draft: {
        type: 'web',
        ip: '',
        client: unknownClient,
        idleTimeoutMs: deployment.settings.idleTimeoutMs,
        userName: '',
        privileges: [],
        roles: [],
        storage: new Map([['value', JSON.stringify(value)]]),
      },
      signsIn: false,
    },
    deployment.settings.policy,
  )
  return outcome.status === 'created' ? value : undefined
}

function viewOf({ session }: RequestSession<Record<string, unknown>>): View {
  const { id, userName } = session
  return { id, userName, privileges: session.getPrivileges(), storage: { ...session.storage } }
}

function codeOf(error: unknown): string {
  if (error instanceof SessionError) return error.code
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error)
}

function now(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

class RecordingCarrier implements Carrier {
  readonly canSet = true
  cookie: string | null | undefined

  set(value: string): void {
    this.cookie = value
  }

  clear(): void {
    this.cookie = null
  }

  clearLegacy(): void {}
}
