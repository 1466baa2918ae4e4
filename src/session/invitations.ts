/**
 * What others need to get into a session: the claims of a nested token, and how long a one-time
 * token lives. Does no input or output.
 *
 * @module
 */

import { clientCulture, clientUICulture, clientUtcOffset } from '../client/culture.ts'
import { Grants, nothingGranted } from '../privileges/grants.ts'
import { parseGrant } from '../privileges/privileges.ts'
import { depthOf, maxActors } from '../tokens/claims.ts'
import type { NewClaims } from '../tokens/tokens.ts'
import type { SessionRules, SessionState } from './session-state.ts'
import type { NestedTokenInput } from './session.ts'

const minOTPSeconds = 10
const maxOTPSeconds = 31_536_000

/**
 * What a nested token says of its user, its session and who acts.
 *
 * @param input What the app gave.
 * @param state Of the session that it is made in.
 * @param rules Of the deployment.
 * @throws {TypeError} When the input is wrong, or the session is nested too deep itself.
 */
export function nestedClaims(
  input: NestedTokenInput,
  state: SessionState,
  rules: SessionRules,
): Omit<NewClaims, 'exp'> {
  const { userName, lifetime, ...named } = { ...input }
  if (typeof userName !== 'string' || userName === '' || userName.length > 256) {
    throw new TypeError('"userName" must be text of 1 to 256 characters')
  }
  if (lifetime !== undefined && !(Number.isInteger(lifetime) && lifetime > 0)) {
    throw new TypeError('"lifetime" must be a positive integer of seconds')
  }
  const outer = state.token?.claims.act
  if (depthOf(outer) >= maxActors) throw new TypeError(`tokens nest ${maxActors} deep at most`)
  const grants = new Grants(nothingGranted, rules.roles, rules.onUndeclared)
  grants.add(parseGrant(named))
  const { privileges, roles } = grants.granted
  const { header } = state.origin
  const inherited = state.isNested ? state.token?.claims : undefined
  const culture = inherited ? inherited.culture : clientCulture(header)
  const uiCulture = inherited ? inherited.ui_culture : clientUICulture(header)
  const utcOffset = inherited ? inherited.utc_offset : clientUtcOffset(header)
  return {
    sub: userName,
    sid: state.id,
    act: { sub: state.userName, ...(outer && { act: outer }) },
    privileges,
    roles,
    ...(culture && { culture }),
    ...(uiCulture && { ui_culture: uiCulture }),
    ...(typeof utcOffset === 'number' && { utc_offset: utcOffset }),
  }
}

/**
 * How long a one-time token lives.
 *
 * @param seconds What the app gave; `undefined` for the session's idle timeout.
 * @param state Of the session that it is made in.
 * @returns Milliseconds.
 * @throws {TypeError} When it is no number of seconds, or nobody may join the session by one.
 */
export function otpLifespanMs(seconds: number | undefined, state: SessionState): number {
  if (state.isNested || state.type === 'storedProcedure') {
    throw new TypeError("no browser can join this session: it is not a user's own")
  }
  if (seconds === undefined) return Math.max(state.idleTimeoutMs, minOTPSeconds * 1000)
  if (typeof seconds !== 'number' || !(seconds <= maxOTPSeconds)) {
    throw new TypeError(`the lifespan must be a number of seconds, at most ${maxOTPSeconds}`)
  }
  return Math.ceil(Math.max(seconds, minOTPSeconds) * 1000)
}
