import { newSecret, parseCookieValue, trustedCredential } from '../cookie/cookie.ts'
import { SessionEndedError, SessionHeadersSentError } from '../errors/errors.ts'
import { endSession } from './commit.ts'
import { debug } from './deployment.ts'
import type { LiveSession } from './live-session.ts'
import { SessionState } from './session-state.ts'
import { typeRules } from './session-types.ts'

const minSeconds = 10
const maxSeconds = 31_536_000

/**
 * How long a one-time token lives.
 *
 * @param seconds What the app gave; `undefined` for the session's idle timeout.
 * @returns Milliseconds.
 * @throws {TypeError} When it is no number of seconds, or no browser may join the session.
 */
export function lifespanOf(seconds: number | undefined, state: SessionState): number {
  if (state.isNested || typeRules[state.type].user === 'server') {
    throw new TypeError("no browser can join this session: it is not a user's own")
  }
  if (seconds === undefined) return Math.max(state.times.idleTimeoutMs, minSeconds * 1000)
  if (typeof seconds !== 'number' || !(seconds <= maxSeconds)) {
    throw new TypeError(`the lifespan must be a number of seconds, at most ${maxSeconds}`)
  }
  return Math.ceil(Math.max(seconds, minSeconds) * 1000)
}

/** Makes a one-time token for a session that is stored. */
export async function makeOTP(state: SessionState, lifespanMs: number): Promise<string> {
  const otp = newSecret(state.id)
  const { credential, seen, deployment } = state
  const newOTP = { hash: otp.secretHash, lifespanMs }
  const { store, settings } = deployment
  const outcome = credential && (await store.commit(credential, { seen, newOTP }, settings.policy))
  if (outcome?.status === 'rotated') throw new SessionEndedError()
  if (outcome?.status !== 'committed') throw state.gone()
  return otp.value
}

/**
 * Lets a browser join the session that has made a one-time token. Sessions that the browser leaves
 * end.
 *
 * @param otp Anybody's text.
 * @returns The session that was joined; `undefined` when the token is not good.
 */
export async function joinByOTP(
  { deployment, cookie }: LiveSession,
  state: SessionState,
  otp: unknown,
): Promise<SessionState | undefined> {
  const presented = typeof otp === 'string' ? parseCookieValue(otp) : undefined
  if (!presented) return undefined
  // Before the token is used up.
  if (!cookie.canSet) throw new SessionHeadersSentError()
  const { store, settings, events } = deployment
  const secret = newSecret(presented.id)
  const outcome = await store.commit(
    trustedCredential(presented.id),
    { redeemsOTP: presented.secretHash, newSecretHash: secret.secretHash },
    settings.policy,
  )
  if (outcome.status !== 'committed' || !outcome.record) return undefined
  const { record, seen, now } = outcome
  const { id } = record
  const credential = { id, secretHash: secret.secretHash }
  const joined = SessionState.loaded(
    deployment,
    { ...state.origin, now },
    { record, seen, credential, now },
  )
  cookie.set(secret.value, joined.times.lifetimeMs)
  events.emit('session:rotated', { id })
  // The browser has gone over, whatever becomes of what it has left.
  const left = state.left.replaces.filter((stored) => stored !== id)
  await Promise.allSettled(left.map((stored) => endSession(deployment, stored, 'replaced')))
  debug('the session %s was left for %s', state.id, id)
  return joined
}
