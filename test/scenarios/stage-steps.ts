import type { Outcome, Step } from './worker.ts'
import type { Stage } from './workers.ts'

/** A session that a first request has made. */
export async function openSession(
  stage: Stage,
  steps: readonly Step[],
): Promise<{ readonly cookie: string; readonly id: string }> {
  const { cookie, after } = await expectOk(stage.ask(0, { steps }))
  if (typeof cookie !== 'string' || !after) throw new Error('the session was not stored')
  return { cookie, id: after.id }
}

export async function expectOk(outcome: Promise<Outcome>): Promise<Outcome> {
  const { error } = await outcome
  if (error !== undefined) throw new Error(error)
  return outcome
}

export function loginStep(userName: string): Step {
  return { do: 'login', userName, privileges: [`is:${userName}`] }
}

/** How many script calls the server has had: the whole cost of the sessions. */
export async function scriptCalls({ redis }: Stage): Promise<number> {
  const info = await redis.info('commandstats')
  let calls = 0
  for (const [, count] of info.matchAll(/^cmdstat_eval(?:sha)?:calls=(\d+)/gm)) {
    calls += Number(count)
  }
  return calls
}

export function range(length: number): number[] {
  return Array.from({ length }, (_, index) => index)
}
