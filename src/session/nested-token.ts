import { clientCulture, clientUICulture, clientUtcOffset } from '../client/culture.ts'
import { SessionGuestError } from '../errors/errors.ts'
import { Grants, nothingGranted } from '../privileges/grants.ts'
import { parseGrant, type PrivilegeSettings } from '../privileges/privileges.ts'
import { depthOf, maxActors } from '../tokens/claims.ts'
import type { NewClaims } from '../tokens/tokens.ts'
import type { SessionState } from './session-state.ts'

/** The argument of `session.createNestedToken()`. */
export interface NestedTokenInput {
  /** The token's user: text of 1 to 256 characters. */
  readonly userName: string
  /** Everything that the token may do, in the forms of `setPrivileges()`. By default nothing. */
  readonly privileges?: PrivilegeSettings['privileges']
  /** As `privileges`. */
  readonly roles?: PrivilegeSettings['roles']
  /** Seconds, a positive integer. By default, and at most, the lifetime of the session's own tokens. */
  readonly lifetime?: number
}

/**
 * Returns the claims of a nested token. Throws `TypeError` for wrong input, and for a session that
 * is nested too deep itself, and `SessionGuestError` where nobody is signed in.
 */
export function nestedClaims(
  input: NestedTokenInput,
  state: SessionState,
): Omit<NewClaims, 'sid' | 'gen' | 'exp'> {
  const { userName, lifetime, ...named } = { ...input }
  if (typeof userName !== 'string' || userName === '' || userName.length > 256) {
    throw new TypeError('"userName" must be text of 1 to 256 characters')
  }
  if (lifetime !== undefined && !(Number.isInteger(lifetime) && lifetime > 0)) {
    throw new TypeError('"lifetime" must be a positive integer of seconds')
  }
  if (!state.isSignedIn) throw new SessionGuestError()
  const outer = state.token?.claims.act
  if (depthOf(outer) >= maxActors) throw new TypeError(`tokens nest ${maxActors} deep at most`)
  const { settings, onUndeclared } = state.deployment
  const grants = new Grants(nothingGranted, settings.roles, onUndeclared)
  grants.add(parseGrant(named))
  const exceeds = [...grants.held.keys()].some((name) => !state.grants.held.has(name))
  if (state.isNested && exceeds) {
    throw new TypeError('a nested context cannot give more than it has itself')
  }
  const { privileges, roles } = grants.granted
  const header = (name: string): string => state.origin.request.header(name)
  const inherited = state.isNested ? state.token?.claims : undefined
  const culture = inherited ? inherited.culture : clientCulture(header)
  const uiCulture = inherited ? inherited.ui_culture : clientUICulture(header)
  const utcOffset = inherited ? inherited.utc_offset : clientUtcOffset(header)
  return {
    sub: userName,
    act: { sub: state.userName, ...(outer && { act: outer }) },
    privileges,
    roles,
    ...(culture && { culture }),
    ...(uiCulture && { ui_culture: uiCulture }),
    ...(typeof utcOffset === 'number' && { utc_offset: utcOffset }),
  }
}
