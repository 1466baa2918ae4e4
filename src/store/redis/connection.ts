import { SessionStoreError } from '../../errors/errors.ts'
import { lastInstant } from '../session-text.ts'
import type { RedisClient } from './client.ts'
import { storeError } from './failure.ts'
import { unexpectedReply, type Reply, type Script, type ScriptCall } from './script.ts'
import { tellTime } from './scripts/tell-time.ts'
import { slotOf } from './slot.ts'

// In these states a client keeps commands until it is connected again or, by ioredis' default
// options, has retried many times. A first connection is not among them: there, commands wait for
// milliseconds.
const awayStates: ReadonlySet<string | undefined> = new Set(['close', 'reconnecting', 'end'])

// Stands for a value that is not a session's text.
const foreignText = '?'
// Longer than nearly all heads.
const headBytes = 512

// Kept from load time, because apps may fake timers in their tests.
const later = setImmediate
// Longer than any reply's delay, and short enough to follow a clock that was set back.
const trustedForMs = 10_000
// Within this time, two clocks drift apart by less than a millisecond.
const freshForMs = 5000

/** Redis refused a write after its deadline, and returned its time. */
interface Late {
  readonly status: 'late'
  readonly now: number
}

/** Sends commands to Redis, those of one turn of the event loop together, and estimates its time. */
export class RedisConnection {
  readonly isCluster: boolean
  readonly #redis: RedisClient
  #isCorked = false
  // One for each node, because the clocks of a Cluster's nodes may differ.
  readonly #clocks = new Map<string, RedisClock>()

  constructor(redis: RedisClient) {
    this.#redis = redis
    this.isCluster = redis.isCluster ?? false
  }

  /** Reads a string. For a key of another type, returns a text that is not a session's. */
  get(key: string): Promise<string | undefined> {
    return this.#read(() => this.#redis.get(key))
  }

  /** Reads a session's text without its storage, or with only part of it. */
  async getHead(key: string): Promise<string | undefined> {
    const start = await this.#read(() => this.#redis.getrange(key, 0, headBytes - 1))
    if (!start) return undefined
    // The cut may have taken up to three bytes of the last character.
    const isWhole = start.includes('\n') || Buffer.byteLength(start) < headBytes - 3
    return isWhole ? start : this.get(key)
  }

  /**
   * Runs a script in one round trip, or two when Redis does not have it yet: after a start, a
   * failover or a `SCRIPT FLUSH`.
   */
  async run<Key extends string, Arg extends string, Outcome>(
    script: Script<Key, Arg, Outcome>,
    call: ScriptCall<Key, Arg>,
  ): Promise<Outcome> {
    const { keyCount, values } = valuesOf(script, call)
    this.#prepare()
    try {
      const { sha1, lua } = script
      const reply = await this.#redis.evalsha(sha1, keyCount, ...values).catch((error: unknown) => {
        if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error
        return this.#redis.eval(lua, keyCount, ...values)
      })
      return script.parse(replyOf(reply))
    } catch (error) {
      throw storeError(error)
    }
  }

  /**
   * Returns the clock of the Redis that has a key. On a Cluster the key may move, so take the clock
   * once for each call.
   */
  clockOf(key: string): RedisClock {
    const node = this.isCluster ? this.nodeOf(key) : ''
    let clock = this.#clocks.get(node)
    if (!clock) this.#clocks.set(node, (clock = new RedisClock()))
    return clock
  }

  /**
   * Asks Redis for its time, if that is not known well enough. Returns what the caller must await
   * before it uses the clock, or `undefined`.
   */
  askTime(key: string, clock: RedisClock): Promise<void> | undefined {
    if (!clock.mustAsk()) return undefined
    const asking = this.#askTime(key, clock)
    if (!clock.isKnown) return asking
    // The known time is good enough.
    asking.catch(() => undefined)
    return undefined
  }

  /**
   * Tries a write until it succeeds. Throws `SessionStoreError` once the caller has stopped
   * waiting.
   *
   * @param until When the caller stops waiting, by `performance.now()`.
   * @param attempt Returns `undefined` for another try.
   */
  async inTime<T extends { readonly outcome: unknown }>(
    key: string,
    until: number,
    attempt: (clock: RedisClock) => Promise<T | Late | undefined>,
  ): Promise<T> {
    const clock = this.clockOf(key)
    const asking = this.askTime(key, clock)
    if (asking) await asking
    for (;;) {
      const result = await attempt(clock)
      if (result && 'outcome' in result) return result
      // The refusal tells Redis' time.
      if (result) clock.set(result.now)
      if (performance.now() >= until) throw new SessionStoreError('Redis answered too late')
    }
  }

  /** Returns the server that has a key, `''` without a Cluster. */
  nodeOf(key: string): string {
    return this.#redis.slots?.[slotOf(key)]?.[0] ?? ''
  }

  async #askTime(key: string, clock: RedisClock): Promise<void> {
    clock.note(await this.run(tellTime, { keys: { session: key }, args: {} }))
  }

  async #read(read: () => Promise<string | null>): Promise<string | undefined> {
    this.#prepare()
    try {
      return (await read()) ?? undefined
    } catch (error) {
      if (error instanceof Error && error.message.startsWith('WRONGTYPE')) return foreignText
      throw storeError(error)
    }
  }

  /**
   * Sends the commands of one turn of the event loop as one write, which costs more than all the
   * commands in it.
   */
  #prepare(): void {
    const { status, stream } = this.#redis
    if (awayStates.has(status)) throw new SessionStoreError('Redis is away')
    if (this.#isCorked || !stream) return
    this.#isCorked = true
    stream.cork()
    later(() => {
      this.#isCorked = false
      stream.uncork()
    })
  }
}

/** Returns a call's keys and arguments in the form for Redis. */
export function valuesOf<Key extends string, Arg extends string>(
  { keys, args }: Pick<Script<Key, Arg, unknown>, 'keys' | 'args'>,
  call: ScriptCall<Key, Arg>,
): { readonly keyCount: number; readonly values: readonly string[] } {
  const values: string[] = []
  for (const name of keys) {
    const key = call.keys[name]
    if (key !== undefined) values.push(key)
  }
  const keyCount = values.length
  if (args.length > 0) {
    // The empty arguments at the end are not sent.
    let lines = ''
    let breaks = ''
    for (const name of args) {
      const value = call.args[name]
      if (value !== '') {
        lines += breaks + value
        breaks = ''
      }
      breaks += '\n'
    }
    values.push(lines)
  }
  if (call.rest) values.push(...call.rest)
  return { keyCount, values }
}

/** Splits a script's reply. Throws `SessionStoreError` unless it is a text. */
export function replyOf(reply: unknown): Reply {
  if (typeof reply !== 'string') throw unexpectedReply()
  const end = reply.indexOf('\n')
  const [word = '', ...numbers] = (end < 0 ? reply : reply.slice(0, end)).split(' ')
  return { word, numbers: numbers.map(Number), text: end < 0 ? '' : reply.slice(end + 1) }
}

/**
 * Estimates the clock of one Redis from the times in replies and a monotonic clock. The estimate
 * may be behind by a reply's travel time, but is never ahead.
 */
export class RedisClock {
  #offsetMs = -Infinity
  #since = 0
  #askedAt = -Infinity

  get isKnown(): boolean {
    return this.#offsetMs > -Infinity
  }

  /** Redis' estimated time, in epoch milliseconds. */
  get now(): number {
    return Math.floor(performance.now() + this.#offsetMs)
  }

  /**
   * Returns whether the caller must ask Redis for its time, because none is known or the last one
   * is 5 seconds old. After true, other callers get false for as long.
   */
  mustAsk(): boolean {
    const now = performance.now()
    if (this.#offsetMs > -Infinity && now - this.#askedAt < freshForMs) return false
    this.#askedAt = now
    return true
  }

  /** Notes Redis' time in a reply, in epoch milliseconds. */
  note(time: number): void {
    const now = performance.now()
    const offsetMs = time - now
    // A delayed reply gives too early a time, so the latest time is the best.
    if (offsetMs > this.#offsetMs || now - this.#since > trustedForMs) {
      this.#offsetMs = offsetMs
      this.#since = now
    }
  }

  /** Notes a time, and discards all earlier ones. */
  set(time: number): void {
    this.#offsetMs = -Infinity
    this.note(time)
  }

  /** Converts an instant of `performance.now()` to Redis' time, in epoch milliseconds. */
  at(instant: number): number {
    // At most the last instant that has a date: a caller may wait for ever.
    return Math.floor(Math.min(instant + this.#offsetMs, lastInstant))
  }
}
