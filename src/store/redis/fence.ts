import { SessionStoreError } from '../../errors.ts'
import { RedisClock } from './clock.ts'
import type { RunOptions, RunScript, Script, ScriptCall } from './script.ts'

const lateReply = /^LATE (\d+)$/

/**
 * Keeps writes out that arrive when nobody waits for them any more: a client may send a command
 * long after it was answered as failed. The script compares its last instant with Redis' own
 * clock.
 */
export class Fence {
  readonly clock: RedisClock = new RedisClock()
  readonly #run: RunScript

  /** @param run Rejects with a `SessionStoreError`. */
  constructor(run: RunScript) {
    this.#run = run
  }

  /** Notes what an error of Redis tells of its clock. */
  noteError(error: unknown): void {
    const late = lateReply.exec(error instanceof Error ? error.message : '')
    if (late) this.clock.set(Number(late[1]))
  }

  /**
   * Runs a script that refuses by `LATE` when it is past its `untilMs`.
   *
   * Before the first reply of a process nothing is known of Redis' clock, and nothing is refused.
   */
  async run<Key extends string, Arg extends string>(
    script: Script<Key, Arg | 'untilMs'>,
    call: ScriptCall<Key, Arg | 'untilMs'>,
    options: RunOptions = {},
  ): Promise<unknown> {
    const { until = Infinity } = options
    for (let tries = 1; ; tries++) {
      const untilMs = (until < Infinity && this.clock.at(until)) || ''
      try {
        return await this.#run(script, { ...call, args: { ...call.args, untilMs } }, options)
      } catch (error) {
        const isLate = error instanceof SessionStoreError && error.message.endsWith(' LATE')
        // Redis' clock may have been set meanwhile: the refusal has told what it says now.
        if (!isLate || tries > 1 || performance.now() >= until) throw error
      }
    }
  }
}
