import type { Redis } from 'ioredis'
import type { RedisClient } from 'koa-user-sessions'

import { scripts } from './scripts.ts'

/** The names of a stepped client's calls: the scripts, and `get` and `getrange` themselves. */
export type CommandName = keyof typeof scripts | 'get' | 'getrange'

/** The commands that some work has sent to Redis. */
export interface RoundTrips {
  /** The commands that were sent before any of their replies came, one list per round trip. */
  readonly trips: readonly (readonly string[])[]
  /** Those that were never answered during the work. */
  readonly unanswered: readonly string[]
}

interface HeldCall {
  readonly name: string
  readonly reply: Promise<unknown>
  readonly deliver: () => void
}

/**
 * A client that can hold replies of Redis back: those to everything that was sent together are
 * delivered together, so that each delivery is a round trip, however fast Redis is.
 */
export class SteppedRedis implements RedisClient {
  readonly isCluster: boolean
  readonly #client: Redis
  #unanswered: readonly string[] | undefined
  readonly #held: HeldCall[] = []
  readonly #late: HeldCall[] = []
  #wake = (): void => {}

  /**
   * @param client Sends the commands, in the order of the calls.
   * @param isCluster Whether the client says that it is a Cluster.
   */
  constructor(client: Redis, isCluster = false) {
    this.#client = client
    this.isCluster = isCluster
  }

  get(key: string): Promise<string | null> {
    return this.#ask('get', () => this.#client.get(key))
  }

  getrange(key: string, start: number, end: number): Promise<string> {
    return this.#ask('getrange', () => this.#client.getrange(key, start, end))
  }

  evalsha(sha1: string, keyCount: number, ...keysAndArgs: string[]): Promise<unknown> {
    const name = nameOf((script) => script.sha1 === sha1)
    return this.#ask(name, () => this.#client.evalsha(sha1, keyCount, ...keysAndArgs))
  }

  eval(lua: string, keyCount: number, ...keysAndArgs: string[]): Promise<unknown> {
    const name = nameOf((script) => script.lua === lua)
    return this.#ask(name, () => this.#client.eval(lua, keyCount, ...keysAndArgs))
  }

  /**
   * Counts the round trips of some work.
   *
   * @param work What is observed. Redis should know the scripts, or each costs another round trip.
   * @param unanswered Commands that get no reply before the work is over: it would never end if it
   *   waited for one. By default those that the store runs in the background.
   */
  async roundTrips(
    work: () => Promise<unknown>,
    unanswered: readonly CommandName[] = ['keep', 'refresh', 'remove', 'time'],
  ): Promise<RoundTrips> {
    const trips: string[][] = []
    this.#unanswered = unanswered
    const state = { isOver: false }
    const working = work().finally(() => {
      state.isOver = true
      this.#wake()
    })
    // The caller gets its failure, below.
    working.catch(() => {})
    while (!state.isOver) {
      await this.#sent(() => state.isOver)
      await this.#answered()
      const trip = this.#held.splice(0)
      if (trip.length > 0) trips.push(trip.map(({ name }) => name))
      for (const { deliver } of trip) deliver()
    }
    // Commands that the work does not await go out with the next turn of the event loop.
    for (let turns = 0; turns < 2; turns++) {
      await new Promise((resolve) => {
        setImmediate(resolve)
      })
    }
    this.#unanswered = undefined
    const late = this.#late.splice(0)
    for (const { deliver } of late) deliver()
    await working
    return { trips, unanswered: late.map(({ name }) => name) }
  }

  async #ask<T>(name: string, send: () => Promise<T>): Promise<T> {
    const reply = send()
    if (this.#unanswered === undefined) return reply
    // It may fail before anything awaits it.
    reply.catch(() => {})
    const list = this.#unanswered.includes(name) ? this.#late : this.#held
    await new Promise<void>((resolve) => {
      list.push({ name, reply, deliver: resolve })
      this.#wake()
    })
    return reply
  }

  /** Fulfilled when something waits for its reply. */
  async #sent(isOver: () => boolean): Promise<void> {
    while (this.#held.length === 0 && !isOver()) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  /** Fulfilled when Redis has answered all that waits. */
  async #answered(): Promise<void> {
    let count: number
    do {
      count = this.#held.length
      await Promise.allSettled(this.#held.map(({ reply }) => reply))
    } while (count < this.#held.length)
  }
}

function nameOf(
  isIt: (script: { readonly sha1: string; readonly lua: string }) => boolean,
): string {
  const found = Object.entries(scripts).find(([, script]) => isIt(script))
  return found?.[0] ?? 'unknown'
}
