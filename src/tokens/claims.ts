import { isSessionId } from '../cookie/cookie.ts'

/** Who acts for the user of a nested token (RFC 8693 section 4.1). The outermost acts now. */
export interface Actor {
  /** The actor's user name. */
  readonly sub: string
  /** The previous actor, who delegated to this one: history only. */
  readonly act?: Actor
}

/** The claims of a verified token, frozen, named as in RFC 7519, RFC 8693 and this package. */
export interface TokenClaims {
  /** The issuer: the option `tokens.issuer`. */
  readonly iss: string
  /** The audience: the option `tokens.audience`. */
  readonly aud: string
  /** The user's name. */
  readonly sub: string
  /** The session's id. */
  readonly sid: string
  /** The token's own id. */
  readonly jti: string
  /** When the token was issued, in seconds since 1970. */
  readonly iat: number
  /** When the token expires, in seconds since 1970. */
  readonly exp: number
  /** The application's id, in a token that `open()` made for an application. */
  readonly client_id?: string
  /** Who acts for the user, in a nested token. */
  readonly act?: Actor
  /** The session's generation in which a nested token was issued, and is good. */
  readonly gen?: number
  /** The privileges that a nested token gives. */
  readonly privileges?: readonly string[]
  /** The roles that a nested token gives. */
  readonly roles?: readonly string[]
  /** The `clientCulture` of the request that issued a nested token. */
  readonly culture?: string
  /** The `clientUICulture` of that request. */
  readonly ui_culture?: string
  /** The `clientUtcOffset` of that request: minutes east of UTC. */
  readonly utc_offset?: number
}

/** The most actors in a chain: nobody could follow a longer one. */
export const maxActors = 3
const maxNames = 64
/** The most characters in each text of a token. */
export const maxNameLength = 256

/**
 * Reads the claims of a token whose signature is valid, and drops unknown ones. Returns `undefined`
 * unless they have the shape for this kind of token: the keys may have signed other payloads.
 */
export function readClaims(
  payload: Readonly<Record<string, unknown>>,
  isNested: boolean,
): TokenClaims | undefined {
  const { iss, aud, sub, sid, jti, iat, exp, client_id: clientId } = payload
  if (!isName(iss) || !isName(aud) || !isName(sub) || !isSessionId(sid)) return undefined
  if (typeof jti !== 'string' || !/^[\w-]{22,64}$/.test(jti)) return undefined
  if (!isWhole(iat) || !isWhole(exp)) return undefined
  if (clientId !== undefined && !isName(clientId)) return undefined
  const common = { iss, aud, sub, sid, jti, iat, exp, ...(clientId && { client_id: clientId }) }
  if (!isNested) return payload['act'] === undefined ? Object.freeze(common) : undefined

  const act = readActor(payload['act'], maxActors)
  const { gen, privileges, roles, culture, ui_culture: uiCulture, utc_offset: utcOffset } = payload
  if (!act || !isWhole(gen) || !isNames(privileges) || !isNames(roles)) return undefined
  if (culture !== undefined && !isName(culture)) return undefined
  if (uiCulture !== undefined && !isName(uiCulture)) return undefined
  if (utcOffset !== undefined && !isWhole(utcOffset)) return undefined
  return Object.freeze({
    ...common,
    act,
    gen,
    privileges: Object.freeze([...privileges]),
    roles: Object.freeze([...roles]),
    ...(culture && { culture }),
    ...(uiCulture && { ui_culture: uiCulture }),
    ...(utcOffset !== undefined && { utc_offset: utcOffset }),
  })
}

/** Returns the number of actors in a chain, given the outermost one. */
export function depthOf(act: Actor | undefined): number {
  let depth = 0
  for (let one = act; one; one = one.act) depth++
  return depth
}

function readActor(value: unknown, depth: number): Actor | undefined {
  if (depth === 0 || typeof value !== 'object' || value === null) return undefined
  const sub: unknown = Reflect.get(value, 'sub')
  const act: unknown = Reflect.get(value, 'act')
  // The actor may be a guest, whose name is empty.
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

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value)
}
