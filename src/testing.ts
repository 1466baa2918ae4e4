import { noCarrier } from './cookie/carrier.ts'
import { SessionPrivilegeUnknownError } from './errors/errors.ts'
import { checkNames, checkObject } from './errors/option-checks.ts'
import { serverRequest } from './manager/server-session.ts'
import { Sessions, deploymentOf } from './manager/sessions.ts'
import { parseGrant, type PrivilegeSettings } from './privileges/privileges.ts'
import type { Deployment } from './session/deployment.ts'
import { RequestSession } from './session/request-session.ts'
import type { StorageOf, SessionStorage } from './storage/storage-type.ts'
import { minutesToMs } from './store/expiry.ts'

/** The argument of `signedIn()`. */
export interface SignedInInput<S = SessionStorage> extends PrivilegeSettings {
  /**
   * The signed-in user; `''` for a session without one.
   *
   * @default 'user'
   */
  readonly userName?: string
  /** The content of the storage. */
  readonly storage?: StorageOf<S>
  /** Minutes, at least the option `minIdleTimeout`. By default the option `idleTimeout`. */
  readonly idleTimeout?: number
  /**
   * Whether the cookie is for HTTPS, `__Host-session`. By default the option `cookie.secure`, where
   * `auto` counts as false.
   */
  readonly secure?: boolean
}

/** What `signedIn()` returns: what a signed-in client has. */
export interface SignedIn {
  /** The session's id. */
  readonly id: string
  /** The cookie as a browser sends it: name, `=` and value. */
  readonly cookie: string
  /** The same as the headers of a request. */
  readonly headers: { readonly cookie: string }
}

const inputNames = ['userName', 'privileges', 'roles', 'storage', 'idleTimeout', 'secure']

/**
 * Makes a session in the store as a sign-in does, for an app's tests: without a sign-in page,
 * password or request. It is like any other session, emits the events, and counts for
 * `maxSessions`. Its client is unknown.
 *
 * Only for tests: the caller needs no password.
 *
 * @example
 *   const { cookie, headers } = await signedIn(sessions, { userName: 'ann', roles: 'Manager' })
 *   await request.agent(app.callback()).set('Cookie', cookie).get('/admin').expect(200)
 *   await fetch(`${url}/admin`, { headers })
 *
 * @param sessions The one that the app mounts by `session(sessions)`.
 * @throws {SessionPrivilegeUnknownError} When a privilege or a role is not declared.
 * @throws {SessionOptionError} When the input has an unknown name.
 * @throws {SessionLimitError} When the user has reached `maxSessions`.
 * @throws {SessionStoreError} When the store fails.
 * @throws {StorageValueError} When the storage is not JSON.
 * @throws {TypeError} When a value is wrong, or would be changed, such as an `idleTimeout` below
 *   `minIdleTimeout`.
 */
export async function signedIn<S = SessionStorage>(
  sessions: Sessions<S>,
  input: SignedInInput<S> = {},
): Promise<SignedIn> {
  if (!(sessions instanceof Sessions)) throw new TypeError('signedIn() takes a Sessions')
  checkObject('signedIn', input)
  checkNames('signedIn()', input, inputNames)
  const { userName = 'user', privileges = [], roles = [], storage = {}, idleTimeout } = input
  checkObject('storage', storage)
  const deployment = deploymentOf(sessions)
  const name = cookieName(deployment, input.secure)
  checkDeclared(deployment, { privileges, roles })
  if (
    idleTimeout !== undefined &&
    minutesToMs(idleTimeout) < deployment.settings.minIdleTimeoutMs
  ) {
    throw new TypeError('"idleTimeout" must not be below the option "minIdleTimeout"')
  }

  let value = ''
  const set = (given: string): void => {
    value = given
  }
  const carrier = { ...noCarrier, canSet: true, set }
  const { session } = new RequestSession<S>(deployment, { ...serverRequest, cookie: carrier })
  if (!session.setPrivileges({ userName, privileges, roles })) {
    throw new TypeError(`"privilegedTypes" lacks "${session.type}", so users cannot sign in`)
  }
  Object.assign(session.storage, storage)
  if (idleTimeout !== undefined) session.idleTimeout = idleTimeout
  await session.save()
  const cookie = `${name}=${value}`
  return { id: session.id, cookie, headers: { cookie } }
}

function cookieName({ settings }: Deployment, isSecure: unknown): string {
  const { secure, secureName, plainName } = settings.cookie
  if (isSecure !== undefined && typeof isSecure !== 'boolean') {
    throw new TypeError('"secure" must be true or false')
  }
  if (isSecure !== undefined && secure !== 'auto' && isSecure !== secure) {
    throw new TypeError(`"secure" contradicts the option "cookie.secure", which is ${secure}`)
  }
  return (secure === 'auto' ? isSecure : secure) ? secureName : plainName
}

/** The app would only warn of such names, and the test would then check something else. */
function checkDeclared({ settings: { roles: known } }: Deployment, input: PrivilegeSettings): void {
  const { privileges, roles } = parseGrant(input)
  const unknown =
    privileges.find((name) => known.privilegeNamed(name) === undefined) ??
    roles.find((name) => known.roleNamed(name) === undefined)
  if (unknown === undefined) return
  const shown = JSON.stringify(unknown.slice(0, 64))
  throw new SessionPrivilegeUnknownError(`${shown} is not declared, and would not be granted`)
}
