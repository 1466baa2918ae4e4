/**
 * The errors that this package throws: one class for each reason.
 *
 * Compare `code`, never the message. Errors that Koa may render have `status`, `expose` and, where
 * HTTP requires any, `headers`: the properties that Koa's `ctx.onerror` reads. No message and no
 * property contains a secret, a token or stored data.
 *
 * @module
 */

/** The codes of this package's errors. */
export type SessionErrorCode =
  | 'ERR_SESSION_OPTION'
  | 'ERR_SESSION_ROLES'
  | 'ERR_SESSION_GUEST'
  | 'ERR_SESSION_PRIVILEGE'
  | 'ERR_SESSION_PRIVILEGE_UNKNOWN'
  | 'ERR_SESSION_NOT_MOUNTED'
  | 'ERR_SESSION_CROSS_SITE'
  | 'ERR_SESSION_ENDED'
  | 'ERR_SESSION_STORE'
  | 'ERR_SESSION_LOCK_TIMEOUT'
  | 'ERR_SESSION_STORAGE_VALUE'
  | 'ERR_SESSION_STORAGE_KEY'
  | 'ERR_SESSION_STORAGE_SIZE'
  | 'ERR_SESSION_HEADERS_SENT'
  | 'ERR_SESSION_LIMIT'
  | 'ERR_SESSION_TOKEN'

/** Response headers by name, which Koa's error handler takes from an error. */
export type ErrorHeaders = Record<string, string | string[]>

/**
 * The challenge for callers without a good cookie; RFC 9110 section 15.5.2 requires one with a 401.
 * `Cookie` is not a registered scheme, and unlike `Basic` opens no password box in browsers.
 */
export const cookieChallenge = 'Cookie realm="session"'

/** The base class of this package's errors, except the `TypeError`s for misuse. */
export abstract class SessionError extends Error {
  /** A stable name for the reason, `ERR_SESSION_…`. */
  abstract readonly code: SessionErrorCode
  /** The HTTP status of Koa's response. */
  abstract readonly status: number
  /** Whether Koa shows the message to the client. */
  readonly expose: boolean = false
  /** Headers for Koa's response, which drops all others for an error. */
  headers?: ErrorHeaders

  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
  }
}

/** An option is unknown, wrong, out of range or contradicts another. Thrown at start-up. */
export class SessionOptionError extends TypeError {
  /** A stable name for the reason. */
  readonly code = 'ERR_SESSION_OPTION'
  /** The name of the class. */
  override readonly name = 'SessionOptionError'
}

/** One problem in a roles file. */
export interface RolesProblem {
  /** The place of the problem: a JSON path such as `$.privileges[2].includes[0]`. */
  readonly path: string
  /** The problem in one clause. */
  readonly problem: string
}

/** The roles file cannot be used. Lists all its problems. Thrown at start-up. */
export class SessionRolesError extends SessionError {
  readonly code = 'ERR_SESSION_ROLES'
  readonly status = 500
  /** All problems, by path. */
  readonly problems: readonly RolesProblem[]

  constructor(source: string, problems: readonly RolesProblem[], options?: ErrorOptions) {
    const lines = problems.map(({ path, problem }) => `\n  ${path}: ${problem}`)
    super(`${source} cannot be used:${lines.join('')}`, options)
    this.problems = problems
  }
}

/** A guard refused a request without a signed-in user. */
export class SessionGuestError extends SessionError {
  readonly code = 'ERR_SESSION_GUEST'
  readonly status = 401
  override readonly expose = true
  override headers: ErrorHeaders = { 'WWW-Authenticate': cookieChallenge }

  constructor() {
    super('sign in first')
  }
}

/** A guard refused a request because the signed-in user lacks the privilege. */
export class SessionPrivilegeError extends SessionError {
  readonly code = 'ERR_SESSION_PRIVILEGE'
  readonly status = 403
  override readonly expose = true
  /** The privileges of which the guard requires one. */
  readonly privileges: readonly string[]

  constructor(privileges: readonly string[]) {
    super('not allowed: a privilege is missing')
    this.privileges = privileges
  }
}

/** A guard or a test names a privilege that the roles file does not declare. */
export class SessionPrivilegeUnknownError extends SessionError {
  readonly code = 'ERR_SESSION_PRIVILEGE_UNKNOWN'
  readonly status = 500
}

/** A guard ran, or code asked for a session, where `session()` is not mounted. */
export class SessionNotMountedError extends SessionError {
  readonly code = 'ERR_SESSION_NOT_MOUNTED'
  readonly status = 500

  constructor(
    message = 'no session on this request: mount session() with app.use() before the guard',
  ) {
    super(message)
  }
}

/** A guard refused a request from a page of another site. */
export class SessionCrossSiteError extends SessionError {
  readonly code = 'ERR_SESSION_CROSS_SITE'
  readonly status = 403
  override readonly expose = true

  constructor() {
    super('not allowed: the request comes from another site')
  }
}

/** The session has ended: signed out, terminated, expired, or its cookie value was rotated. */
export class SessionEndedError extends SessionError {
  readonly code = 'ERR_SESSION_ENDED'
  readonly status = 401
  override readonly expose = true
  override headers: ErrorHeaders = { 'WWW-Authenticate': cookieChallenge }

  constructor() {
    super('the session has ended')
  }
}

/** The store failed or did not answer in time. The operation may or may not have happened. */
export class SessionStoreError extends SessionError {
  readonly code = 'ERR_SESSION_STORE'
  readonly status = 503
  // RFC 9110 section 10.2.3: seconds.
  override headers: ErrorHeaders = { 'Retry-After': '1' }
}

/** The block of `use()` got no lock in time or outlived its lock. Its changes were not stored. */
export class SessionLockTimeoutError extends SessionError {
  readonly code = 'ERR_SESSION_LOCK_TIMEOUT'
  readonly status = 503
  override headers: ErrorHeaders = { 'Retry-After': '1' }
}

/** JSON cannot hold a value, or it is nested too deeply. The message never contains the value. */
export class StorageValueError extends SessionError {
  readonly code = 'ERR_SESSION_STORAGE_VALUE'
  readonly status = 500
  /** The value's path, such as `storage.cart[0].price`. */
  readonly path: string

  constructor(path: string, problem: string) {
    super(`${path} ${problem}`)
    this.path = path
  }
}

/** Storage does not take a name: `__proto__`, `constructor`, `prototype` or malformed text. */
export class StorageKeyError extends SessionError {
  readonly code = 'ERR_SESSION_STORAGE_KEY'
  readonly status = 500
  /** The path of the object that would get the name, such as `storage.cart`. */
  readonly path: string

  constructor(path: string, problem: string) {
    super(`${path} ${problem}`)
    this.path = path
  }
}

/** A session's storage would exceed its limits. Nothing was stored. */
export class StorageSizeError extends SessionError {
  readonly code = 'ERR_SESSION_STORAGE_SIZE'
  readonly status = 500
}

/** A change requires a cookie that the client cannot get. The store was not changed. */
export class SessionHeadersSentError extends SessionError {
  readonly code = 'ERR_SESSION_HEADERS_SENT'
  readonly status = 500

  constructor() {
    super('the session cookie cannot be set: the headers are sent, or the client takes no cookies')
  }
}

/** A sign-in was refused: the user has as many live sessions as `maxSessions` allows. */
export class SessionLimitError extends SessionError {
  readonly code = 'ERR_SESSION_LIMIT'
  readonly status = 403
  override readonly expose = true

  constructor() {
    super('signed in on too many devices: sign out on another one first')
  }
}

/** A bearer token was refused: 401 `invalid_token`, or 400 `invalid_request` when malformed. */
export class SessionTokenError extends SessionError {
  readonly code = 'ERR_SESSION_TOKEN'
  readonly status: 400 | 401
  override readonly expose = true
  override headers: ErrorHeaders

  constructor(problem: 'invalid_token' | 'invalid_request') {
    const isMalformed = problem === 'invalid_request'
    super(isMalformed ? 'the bearer token is malformed' : 'the bearer token is invalid')
    this.status = isMalformed ? 400 : 401
    this.headers = { 'WWW-Authenticate': bearerChallenge(problem) }
  }
}

/** Returns the challenge for bearer tokens. RFC 6750 section 3: no error when no token was sent. */
export function bearerChallenge(
  problem?: 'invalid_token' | 'invalid_request' | 'insufficient_scope',
): string {
  return problem === undefined
    ? 'Bearer realm="session"'
    : `Bearer realm="session", error="${problem}"`
}
