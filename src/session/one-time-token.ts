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
 * Returns the lifespan of a one-time token in milliseconds. Throws `TypeError` unless it is a
 * number of seconds or `undefined`, and for a session that browsers cannot join.
 */
export function lifespanOf(seconds: number | undefined, state: SessionState): number {
  if (state.isNested || typeRules[state.type].user === 'server') {
    throw new TypeError('browsers cannot join a nested session or the stored-procedure session')
  }
  if (seconds === undefined) return Math.max(state.times.idleTimeoutMs, minSeconds * 1000)
  if (typeof seconds !== 'number' || !(seconds <= maxSeconds)) {
    throw new TypeError(`the lifespan must be a number of seconds, at most ${maxSeconds}`)
  }
  return Math.ceil(Math.max(seconds, minSeconds) * 1000)
}

/** Makes a one-time token for a stored session. */
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
 * Lets a browser join the session that made a one-time token, and ends the sessions that the
 * browser leaves. Returns the joined session, or `undefined` for a bad token.
 */
export async function joinByOTP(
  { deployment, cookie }: LiveSession,
  state: SessionState,
  otp: unknown,
): Promise<SessionState | undefined> {
  const presented = typeof otp === 'string' ? parseCookieValue(otp) : undefined
  if (!presented) return undefined
  // Checked before the token is used up.
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
  const origin = { ...state.origin, now }
  const joined = new SessionState(deployment, origin, { record, seen, credential, now })
  cookie.set(secret.value, joined.times.lifetimeMs)
  events.emit('session:rotated', { id })
  // The browser has joined, even if its old sessions cannot be ended.
  const left = state.left.replaces.filter((stored) => stored !== id)
  await Promise.allSettled(left.map((stored) => endSession(deployment, stored, 'replaced')))
  debug('the session %s was left for %s', state.id, id)
  return joined
}
