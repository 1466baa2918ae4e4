import { SessionStoreError } from '../../errors/errors.ts'
import { Gathering } from '../gathering.ts'
import type { RedisClient } from './client.ts'
import { RedisClock } from './clock.ts'
import { storeError } from './failure.ts'
import { replyOf, valuesOf } from './script.ts'
import type { Script, ScriptCall } from './script.ts'
import { tellTime } from './scripts/tell-time.ts'
import { slotOf } from './slot.ts'

// A client that has lost its connection, or has none any more. What it is given then it keeps, by
// ioredis' own options, until it has one again or many tries later. One that connects first is not
// among them: its commands wait for milliseconds.
const awayStates: ReadonlySet<string | undefined> = new Set(['close', 'reconnecting', 'end'])

// What no session's text is.
const foreignText = '?'
// Longer than what a session's head takes but in rare cases.
const headBytes = 512

/** Sends commands to Redis, those of one turn together, and knows what time it is there. */
export class RedisConnection {
  readonly isCluster: boolean
  readonly #redis: RedisClient
  /** Sends the commands of a turn as one write: it costs more than all the commands in it. */
  readonly #gathering: Gathering
  // One for each node, because the nodes of a Cluster need not agree.
  readonly #clocks = new Map<string, RedisClock>()

  constructor(redis: RedisClient) {
    this.#redis = redis
    let stream: RedisClient['stream']
    const cork = (): void => {
      ;({ stream } = redis)
      stream?.cork()
    }
    this.#gathering = new Gathering(cork, () => stream?.uncork())
    this.isCluster = redis.isCluster ?? false
  }

  /**
   * Reads a string.
   *
   * @param key Its key.
   * @returns `undefined` when there is no such key; a text that is no session's when it holds
   *   something else.
   * @throws {SessionStoreError} When Redis fails.
   */
  get(key: string): Promise<string | undefined> {
    return this.#read(() => this.#redis.get(key))
  }

  /**
   * Reads a session's text without its entries, or with a few of them.
   *
   * @param key The session's key.
   * @returns As {@link get}.
   * @throws {SessionStoreError} When Redis fails.
   */
  async getHead(key: string): Promise<string | undefined> {
    const start = await this.#read(() => this.#redis.getrange(key, 0, headBytes - 1))
    if (!start) return undefined
    // Cut, it may have lost up to three bytes of its last character.
    const isWhole = start.includes('\n') || Buffer.byteLength(start) < headBytes - 3
    return isWhole ? start : this.get(key)
  }

  /**
   * Runs a script in one round trip, or two when Redis does not know it yet: after a start, a
   * failover or a `SCRIPT FLUSH`.
   *
   * @param script What `defineScript()` has made.
   * @param call Keys and arguments by name.
   * @returns What the reply means.
   * @throws {SessionStoreError} When Redis fails.
   */
  async run<Key extends string, Arg extends string, Outcome>(
    script: Script<Key, Arg, Outcome>,
    call: ScriptCall<Key, Arg>,
  ): Promise<Outcome> {
    const { keyCount, values } = valuesOf(script, call)
    await this.#gathering.next()
    this.#checkConnected()
    try {
      return script.parse(replyOf(await this.#evalsha(script, keyCount, values)))
    } catch (error) {
      throw storeError(error)
    }
  }

  /**
   * The clock of the Redis that has a key. On a Cluster the key may move: take it once for each
   * call.
   *
   * @param key A session's.
   */
  clockOf(key: string): RedisClock {
    const node = this.nodeOf(key)
    let clock = this.#clocks.get(node)
    if (!clock) this.#clocks.set(node, (clock = new RedisClock()))
    return clock
  }

  /**
   * Asks Redis for its time, if that is not known well enough.
   *
   * @param key A session's.
   * @param clock The clock of the Redis that has it.
   * @returns What must be waited for; `undefined` when the clock can be used.
   */
  askTime(key: string, clock: RedisClock): Promise<void> | undefined {
    if (!clock.mustAsk()) return undefined
    const asking = this.#askTime(key, clock)
    if (!clock.isKnown) return asking
    // The time that is known is good enough.
    asking.catch(() => undefined)
    return undefined
  }

  /**
   * Which Redis has a key.
   *
   * @param key Any.
   * @returns `''` where there is one Redis.
   */
  nodeOf(key: string): string {
    return (this.isCluster && this.#redis.slots?.[slotOf(key)]?.[0]) || ''
  }

  async #askTime(key: string, clock: RedisClock): Promise<void> {
    clock.note(await this.run(tellTime, { keys: { session: key }, args: {} }))
  }

  async #read(read: () => Promise<string | null>): Promise<string | undefined> {
    await this.#gathering.next()
    this.#checkConnected()
    try {
      return (await read()) ?? undefined
    } catch (error) {
      if (error instanceof Error && error.message.startsWith('WRONGTYPE')) return foreignText
      throw storeError(error)
    }
  }

  async #evalsha(
    { sha1, lua }: Pick<Script<string, string, unknown>, 'sha1' | 'lua'>,
    keyCount: number,
    values: readonly string[],
  ): Promise<unknown> {
    try {
      return await this.#redis.evalsha(sha1, keyCount, ...values)
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error
      return this.#redis.eval(lua, keyCount, ...values)
    }
  }

  #checkConnected(): void {
    if (awayStates.has(this.#redis.status)) throw new SessionStoreError('Redis is away')
  }
}
