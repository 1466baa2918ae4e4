import type { Carrier } from './cookie/carrier.ts'
import { SessionPrivilegeUnknownError } from './errors/errors.ts'
import { checkNames, checkObject } from './errors/option-checks.ts'
import { serverRequest } from './manager/server-session.ts'
import { Sessions, deploymentOf } from './manager/sessions.ts'
import { parseGrant, type PrivilegeSettings } from './privileges/privileges.ts'
import type { Deployment } from './session/deployment.ts'
import { RequestSession } from './session/request-session.ts'
import type { StorageOf, SessionStorage } from './storage/storage-type.ts'
import { minutesToMs } from './store/expiry.ts'

/** What `signedIn()` takes. */
export interface SignedInInput<S = SessionStorage> extends PrivilegeSettings {
  /**
   * Who is signed in; `''` for a session that is nobody's.
   *
   * @default 'user'
   */
  readonly userName?: string
  /** What the storage holds. */
  readonly storage?: StorageOf<S>
  /** Minutes, at least the option `minIdleTimeout`. By default that of all sessions. */
  readonly idleTimeout?: number
  /**
   * Whether the cookie is that of HTTPS, `__Host-session`. By default it is not, unless the option
   * `cookie.secure` is true.
   *
   * @default false
   */
  readonly secure?: boolean
}

/** What `signedIn()` answers: what a client has that has signed in. */
export interface SignedIn {
  /** Of the session. */
  readonly id: string
  /** The cookie as its name, `=` and its value: what a browser sends, without attributes. */
  readonly cookie: string
  /** The same as headers of a request. */
  readonly headers: { readonly cookie: string }
}

const inputNames = [
  'userName',
  'privileges',
  'roles',
  'storage',
  'idleTimeout',
  'secure',
] as const satisfies readonly (keyof SignedInInput)[]

/**
 * Makes a session in the store as a sign-in does, for tests of an app: without its sign-in page, a
 * password or a request. It is a session like all others, with its events, and counts for
 * `maxSessions`. Nothing is known of its client.
 *
 * Only for tests: who can call it needs no password.
 *
 * @example
 *   const { cookie, headers } = await signedIn(sessions, { userName: 'ann', roles: 'Manager' })
 *   await request.agent(app.callback()).set('Cookie', cookie).get('/admin').expect(200)
 *   await fetch(`${url}/admin`, { headers })
 *
 * @param sessions The one that the app mounts by `session(sessions)`.
 * @param input Who signs in, and what the session is to have.
 * @throws {SessionPrivilegeUnknownError} When a privilege or a role is not declared: it would not
 *   be granted.
 * @throws {SessionOptionError} When the input has an unknown name.
 * @throws {SessionLimitError} When the user has as many sessions as `maxSessions` allows.
 * @throws {SessionStoreError} When the store fails.
 * @throws {StorageValueError} When the storage is to hold what is not JSON.
 * @throws {TypeError} When a value is wrong or could not be kept, such as an `idleTimeout` below
 *   `minIdleTimeout`.
 */
export async function signedIn<S = SessionStorage>(
  sessions: Sessions<S>,
  input: SignedInInput<S> = {},
): Promise<SignedIn> {
  if (!(sessions instanceof Sessions)) throw new TypeError('signedIn() takes a Sessions')
  checkObject('signedIn', input)
  checkNames('signedIn()', input, [...inputNames])
  const { userName = 'user', privileges = [], roles = [], storage = {}, idleTimeout } = input
  checkObject('storage', storage)
  const deployment = deploymentOf(sessions)
  const name = cookieName(deployment, input.secure)
  checkDeclared(deployment, { privileges, roles })
  if (
    idleTimeout !== undefined &&
    minutesToMs(idleTimeout) < deployment.settings.minIdleTimeoutMs
  ) {
    throw new TypeError(
      '"idleTimeout" is below the option "minIdleTimeout", and would be raised to it',
    )
  }

  let value = ''
  const carrier: Carrier = {
    canSet: true,
    set(given) {
      value = given
    },
    clear() {},
    clearLegacy() {},
  }
  const { session } = new RequestSession<S>(deployment, { ...serverRequest, cookie: carrier })
  if (!session.setPrivileges({ userName, privileges, roles })) {
    throw new TypeError(`"privilegedTypes" leaves out "${session.type}": nobody can sign in`)
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

/** The app itself would leave the names out, with a warning: the test would be about something else. */
function checkDeclared({ settings: { roles: known } }: Deployment, input: PrivilegeSettings): void {
  const { privileges, roles } = parseGrant(input)
  const unknown =
    privileges.find((name) => known.privilegeNamed(name) === undefined) ??
    roles.find((name) => known.roleNamed(name) === undefined)
  if (unknown === undefined) return
  const shown = JSON.stringify(unknown.slice(0, 64))
  throw new SessionPrivilegeUnknownError(`${shown} is not declared, and would not be granted`)
}
