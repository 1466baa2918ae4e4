import { RedisClock } from './clock.ts'
import { storeError } from './failure.ts'
import type { RunOptions, RunScript, Script, ScriptCall } from './script.ts'
import { tellTime } from './scripts/tell-time.ts'

const lateReply = /^LATE (\d+)$/

/** The keys of a script that changes a session. */
type SessionKeys = ScriptCall<'session', never>['keys']

/**
 * Keeps writes out that arrive when nobody waits for them any more: a client may send a command
 * long after it was answered as failed. The script compares its last instant with the clock of the
 * Redis that runs it.
 */
export class Fence {
  readonly #run: RunScript
  readonly #nodeOf: (sessionKey: string) => string
  // One each, because the nodes of a Cluster need not agree.
  readonly #clocks = new Map<string, RedisClock>()

  /**
   * @param run Rejects with what Redis says.
   * @param nodeOf Which Redis has a key.
   */
  constructor(run: RunScript, nodeOf: (sessionKey: string) => string) {
    this.#run = run
    this.#nodeOf = nodeOf
  }

  /** Notes the time in a reply about a session. Epoch milliseconds. */
  note({ session }: SessionKeys, time: number): void {
    this.#clock(session).note(time)
  }

  /**
   * Asks for the time of the Redis that has a session, if nothing is known of it.
   *
   * @throws {SessionStoreError} When it does not tell it.
   */
  async ready(keys: SessionKeys): Promise<void> {
    const clock = this.#clock(keys.session)
    if (clock.isKnown) return
    try {
      clock.note(Number(await this.#run(tellTime, { keys, args: {} })))
    } catch (error) {
      throw storeError(error)
    }
  }

  /**
   * Runs a script that refuses by `LATE` and the time when it is past its `untilMs`.
   *
   * @throws {SessionStoreError} When it was refused, or Redis fails.
   */
  async run<Arg extends string>(
    script: Script<'session', Arg | 'untilMs'>,
    call: ScriptCall<'session', Arg | 'untilMs'>,
    { until = Infinity, isWhole = false }: RunOptions = {},
  ): Promise<unknown> {
    const clock = this.#clock(call.keys.session)
    if (until < Infinity && !clock.isKnown) await this.ready(call.keys)
    for (let tries = 1; ; tries++) {
      const untilMs = until < Infinity ? clock.at(until) : ''
      try {
        return await this.#run(script, { ...call, args: { ...call.args, untilMs } }, { isWhole })
      } catch (error) {
        const late = lateReply.exec(error instanceof Error ? error.message : '')
        if (late) clock.set(Number(late[1]))
        // Redis' clock may have been set meanwhile: the refusal has told what it says now.
        if (!late || tries > 1 || performance.now() >= until) throw storeError(error)
      }
    }
  }

  #clock(sessionKey: string): RedisClock {
    const node = this.#nodeOf(sessionKey)
    let clock = this.#clocks.get(node)
    if (!clock) this.#clocks.set(node, (clock = new RedisClock()))
    return clock
  }
}
