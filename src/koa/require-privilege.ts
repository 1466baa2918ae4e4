import type { Middleware } from 'koa'

import {
  SessionGuestError,
  SessionPrivilegeError,
  SessionPrivilegeUnknownError,
} from '../errors/errors.ts'
import type { PrivilegeName } from '../privileges/privileges.ts'
import { createGuard, isSignedIn, type GuardOptions } from './guard.ts'

/**
 * Guard that lets only sessions with a privilege through. Who is not signed in gets 401
 * `ERR_SESSION_GUEST`, who lacks the privilege 403 `ERR_SESSION_PRIVILEGE`, and what follows is not
 * run. Two guards in a row ask for both of their privileges.
 *
 * @example
 *   router.get('/admin', requirePrivilege('WebAdmin'), showAdmin)
 *   router.get('/stock', requirePrivilege(['editStock', 'audit']), showStock)
 *
 * @param privilege Privilege name in any case, or several of which any one will do. A name that the
 *   roles file does not declare answers 500 `ERR_SESSION_PRIVILEGE_UNKNOWN`.
 * @param options What to do in place of the 401 and 403.
 * @throws {SessionPrivilegeUnknownError} When a name is no text, empty or has a comma, or there is
 *   none.
 * @throws {SessionOptionError} When an option is unknown or wrong.
 */
export function requirePrivilege(
  privilege: PrivilegeName | readonly PrivilegeName[],
  options: GuardOptions = {},
): Middleware {
  const names: readonly unknown[] = Array.isArray(privilege) ? [...privilege] : [privilege]
  if (names.length === 0 || !names.every(isName)) {
    throw new SessionPrivilegeUnknownError(
      'requirePrivilege() takes a privilege name or an array of them: text without comma, not empty',
    )
  }
  return createGuard('requirePrivilege', options, (session, roles) => {
    for (const name of names) {
      if (roles.privilegeNamed(name) !== undefined) continue
      const shown = JSON.stringify(name.slice(0, 64))
      throw new SessionPrivilegeUnknownError(`the roles file does not declare ${shown}`)
    }
    if (names.some((name) => session.hasPrivilege(name))) return undefined
    return isSignedIn(session) ? new SessionPrivilegeError(names) : new SessionGuestError()
  })
}

function isName(name: unknown): name is PrivilegeName {
  return typeof name === 'string' && name.trim() === name && name !== '' && !name.includes(',')
}
