import { isSessionId } from '../cookie/credential.ts'

/** Who acts for the user of a nested token (RFC 8693 section 4.1); the outermost is the present one. */
export interface Actor {
  /** The actor's user name. */
  readonly sub: string
  /** For whom that one acted, and so on: history only. */
  readonly act?: Actor
}

/** The claims of a verified token, frozen, by their names in RFC 7519, RFC 8693 and here. */
export interface TokenClaims {
  /** Who made it: the option `tokens.issuer`. */
  readonly iss: string
  /** For whom: the option `tokens.audience`. */
  readonly aud: string
  /** The user's name. */
  readonly sub: string
  /** The session's id. */
  readonly sid: string
  /** The token's own id. */
  readonly jti: string
  /** When it was made. Seconds since 1970. */
  readonly iat: number
  /** When it ends. Seconds since 1970. */
  readonly exp: number
  /** The application's id, of a token that `open()` has made for one. */
  readonly client_id?: string
  /** Who acts for the user, in a nested token. */
  readonly act?: Actor
  /** The privileges that a nested token gives. */
  readonly privileges?: readonly string[]
  /** The roles that a nested token gives. */
  readonly roles?: readonly string[]
  /** The `clientCulture` of the request that made a nested token. */
  readonly culture?: string
  /** The `clientUICulture` of that request. */
  readonly ui_culture?: string
  /** The `clientUtcOffset` of that request: minutes ahead of UTC. */
  readonly utc_offset?: number
}

/** Beyond it nobody can say any more for whom somebody acts. */
export const maxActors = 3
const maxNames = 64
/** Of each text in a token, in characters. */
export const maxNameLength = 256

/**
 * Reads the claims of a token whose signature is right. They are still checked for their shape, and
 * only those that are known are kept: keys may have signed other things.
 *
 * @param payload What the token holds.
 * @param isNested Which of the two kinds it says it is.
 * @returns `undefined` when they are not those of a token of that kind.
 */
export function readClaims(
  payload: Readonly<Record<string, unknown>>,
  isNested: boolean,
): TokenClaims | undefined {
  const { iss, aud, sub, sid, jti, iat, exp, client_id: clientId } = payload
  if (!isName(iss) || !isName(aud) || !isName(sub) || !isSessionId(sid)) return undefined
  if (typeof jti !== 'string' || !/^[\w-]{22,64}$/.test(jti)) return undefined
  if (!isSeconds(iat) || !isSeconds(exp)) return undefined
  if (clientId !== undefined && !isName(clientId)) return undefined
  const common = { iss, aud, sub, sid, jti, iat, exp, ...(clientId && { client_id: clientId }) }
  if (!isNested) return payload['act'] === undefined ? Object.freeze(common) : undefined

  const act = readActor(payload['act'], maxActors)
  const { privileges, roles, culture, ui_culture: uiCulture, utc_offset: utcOffset } = payload
  if (!act || !isNames(privileges) || !isNames(roles)) return undefined
  if (culture !== undefined && !isName(culture)) return undefined
  if (uiCulture !== undefined && !isName(uiCulture)) return undefined
  if (utcOffset !== undefined && !isSeconds(utcOffset)) return undefined
  return Object.freeze({
    ...common,
    act,
    privileges: Object.freeze([...privileges]),
    roles: Object.freeze([...roles]),
    ...(culture && { culture }),
    ...(uiCulture && { ui_culture: uiCulture }),
    ...(utcOffset !== undefined && { utc_offset: utcOffset }),
  })
}

/**
 * How many actors there are in a chain.
 *
 * @param act The outermost one.
 */
export function depthOf(act: Actor | undefined): number {
  let depth = 0
  for (let one = act; one; one = one.act) depth++
  return depth
}

function readActor(value: unknown, depth: number): Actor | undefined {
  if (depth === 0 || typeof value !== 'object' || value === null) return undefined
  const sub: unknown = Reflect.get(value, 'sub')
  const act: unknown = Reflect.get(value, 'act')
  // A guest may act too, and has no name.
  if (typeof sub !== 'string' || sub.length > maxNameLength) return undefined
  if (act === undefined) return Object.freeze({ sub })
  const inner = readActor(act, depth - 1)
  return inner && Object.freeze({ sub, act: inner })
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= maxNameLength
}

function isNames(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.length <= maxNames && value.every(isName)
}

function isSeconds(value: unknown): value is number {
  return Number.isSafeInteger(value)
}
