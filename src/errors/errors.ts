/**
 * Every error that this package throws, one class a reason.
 *
 * Compare `code`, never the message. Errors that Koa may answer carry `status`, `expose` and, where
 * HTTP asks for one, `headers`: Koa's `ctx.onerror` reads exactly these three. No message and no
 * property holds a secret, a token or stored data.
 *
 * @module
 */

/** The codes of all errors of this package. */
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

/** Response headers by name, as Koa's error handler takes them from an error. */
export type ErrorHeaders = Record<string, string | string[]>

// RFC 9110 section 15.5.2: a 401 names at least one challenge. `Cookie` is no registered scheme and
// is never `Basic`, so that no browser opens a password box for it.
export const cookieChallenge = 'Cookie realm="session"'

/** What all errors of this package share, but for the `TypeError`s of misuse. */
export abstract class SessionError extends Error {
  /** A stable name of the reason, `ERR_SESSION_…`. */
  abstract readonly code: SessionErrorCode
  /** The HTTP status that Koa answers with. */
  abstract readonly status: number
  /** Whether Koa shows the message to the client. */
  readonly expose: boolean = false
  /** Headers for Koa's answer; Koa drops all others when it answers an error. */
  headers?: ErrorHeaders

  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
  }
}

/** An option is unknown, of the wrong type, out of range or contradicts another. Thrown at start-up. */
export class SessionOptionError extends TypeError {
  /** A stable name of the reason. */
  readonly code = 'ERR_SESSION_OPTION'
  /** The name of the class. */
  override readonly name = 'SessionOptionError'
}

/** One thing that is wrong in a roles file. */
export interface RolesProblem {
  /** Where, as a JSON path such as `$.privileges[2].includes[0]`. */
  readonly path: string
  /** What is wrong there, one clause. */
  readonly problem: string
}

/** The roles file cannot be used. Lists everything that is wrong with it. Thrown at start-up. */
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

/** A guard refused a request because nobody is signed in. */
export class SessionGuestError extends SessionError {
  readonly code = 'ERR_SESSION_GUEST'
  readonly status = 401
  override readonly expose = true
  override headers: ErrorHeaders = { 'WWW-Authenticate': cookieChallenge }

  constructor() {
    super('sign in first')
  }
}

/** A guard refused a request of somebody who is signed in but lacks the privilege. */
export class SessionPrivilegeError extends SessionError {
  readonly code = 'ERR_SESSION_PRIVILEGE'
  readonly status = 403
  override readonly expose = true
  /** The privileges of which any one would have done. */
  readonly privileges: readonly string[]

  constructor(privileges: readonly string[]) {
    super('not allowed: a privilege is missing')
    this.privileges = privileges
  }
}

/** A guard, or a test, asks for a privilege that the roles file does not declare. */
export class SessionPrivilegeUnknownError extends SessionError {
  readonly code = 'ERR_SESSION_PRIVILEGE_UNKNOWN'
  readonly status = 500
}

/** A guard ran, or a session was asked for, where `session()` is not mounted. */
export class SessionNotMountedError extends SessionError {
  readonly code = 'ERR_SESSION_NOT_MOUNTED'
  readonly status = 500

  constructor(
    message = 'no session on this request: mount session() with app.use() before the guard',
  ) {
    super(message)
  }
}

/** A guard refused a request that a page of another site made. */
export class SessionCrossSiteError extends SessionError {
  readonly code = 'ERR_SESSION_CROSS_SITE'
  readonly status = 403
  override readonly expose = true

  constructor() {
    super('not allowed: the request comes from another site')
  }
}

/** The session has ended: signed out, terminated, expired, or its cookie value was renewed. */
export class SessionEndedError extends SessionError {
  readonly code = 'ERR_SESSION_ENDED'
  readonly status = 401
  override readonly expose = true
  override headers: ErrorHeaders = { 'WWW-Authenticate': cookieChallenge }

  constructor() {
    super('the session has ended')
  }
}

/** The store did not answer in time, or refused. What was asked of it may not have happened. */
export class SessionStoreError extends SessionError {
  readonly code = 'ERR_SESSION_STORE'
  readonly status = 503
  // RFC 9110 section 10.2.3: seconds.
  override headers: ErrorHeaders = { 'Retry-After': '1' }
}

/** The exclusive block of `use()` could not run, or outlived its lock: its changes were not applied. */
export class SessionLockTimeoutError extends SessionError {
  readonly code = 'ERR_SESSION_LOCK_TIMEOUT'
  readonly status = 503
  override headers: ErrorHeaders = { 'Retry-After': '1' }
}

/** A value is not JSON, or is nested too deep. The message names its path, never the value. */
export class StorageValueError extends SessionError {
  readonly code = 'ERR_SESSION_STORAGE_VALUE'
  readonly status = 500
  /** Where, such as `storage.cart[0].price`. */
  readonly path: string

  constructor(path: string, problem: string) {
    super(`${path} ${problem}`)
    this.path = path
  }
}

/** A name that storage does not take: `__proto__`, `constructor`, `prototype` or malformed text. */
export class StorageKeyError extends SessionError {
  readonly code = 'ERR_SESSION_STORAGE_KEY'
  readonly status = 500
  /** The object that should have got the name, such as `storage.cart`. */
  readonly path: string

  constructor(path: string, problem: string) {
    super(`${path} ${problem}`)
    this.path = path
  }
}

/** The storage of a session would become larger than the limits allow. Nothing was stored. */
export class StorageSizeError extends SessionError {
  readonly code = 'ERR_SESSION_STORAGE_SIZE'
  readonly status = 500
}

/** Something needs a cookie that the client cannot be given. The store was not touched. */
export class SessionHeadersSentError extends SessionError {
  readonly code = 'ERR_SESSION_HEADERS_SENT'
  readonly status = 500

  constructor() {
    super(
      'the session cookie cannot be set: the response headers are gone, or the client takes none',
    )
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

/**
 * A bearer token was refused: bad (401 `invalid_token`), or not of the form (400
 * `invalid_request`).
 */
export class SessionTokenError extends SessionError {
  readonly code = 'ERR_SESSION_TOKEN'
  readonly status: 400 | 401
  override readonly expose = true
  override headers: ErrorHeaders

  constructor(problem: 'invalid_token' | 'invalid_request') {
    const isMalformed = problem === 'invalid_request'
    super(isMalformed ? 'the bearer token is malformed' : 'the bearer token is not good')
    this.status = isMalformed ? 400 : 401
    this.headers = { 'WWW-Authenticate': bearerChallenge(problem) }
  }
}

/**
 * The challenge of a bearer caller. RFC 6750 section 3: without an error where no token was sent.
 *
 * @param problem What is wrong with the request.
 */
export function bearerChallenge(
  problem?: 'invalid_token' | 'invalid_request' | 'insufficient_scope',
): string {
  return problem === undefined
    ? 'Bearer realm="session"'
    : `Bearer realm="session", error="${problem}"`
}
