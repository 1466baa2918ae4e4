import type { Middleware } from 'koa'

import {
  SessionGuestError,
  SessionPrivilegeError,
  SessionPrivilegeUnknownError,
} from '../errors/errors.ts'
import type { PrivilegeName } from '../privileges/privileges.ts'
import { createGuard, type GuardOptions } from './guard.ts'

/**
 * Guard that admits only sessions with a privilege. Others do not reach the handler: callers who
 * are not signed in get 401 `ERR_SESSION_GUEST`, and those without the privilege 403
 * `ERR_SESSION_PRIVILEGE`. Two guards in a row require both privileges.
 *
 * @example
 *   router.get('/admin', requirePrivilege('WebAdmin'), showAdmin)
 *   router.get('/stock', requirePrivilege(['editStock', 'audit']), showStock)
 *
 * @param privilege A name in any case, or several names of which one is enough. A name that the
 *   roles file does not declare fails with 500 `ERR_SESSION_PRIVILEGE_UNKNOWN`.
 * @throws {SessionPrivilegeUnknownError} When there is no name, or a name is not text, is empty or
 *   has a comma.
 * @throws {SessionOptionError} When an option is unknown or wrong.
 */
export function requirePrivilege(
  privilege: PrivilegeName | readonly PrivilegeName[],
  options: GuardOptions = {},
): Middleware {
  const names: readonly unknown[] = Array.isArray(privilege) ? [...privilege] : [privilege]
  if (names.length === 0 || !names.every(isName)) {
    throw new SessionPrivilegeUnknownError(
      'requirePrivilege() takes a privilege name or an array of names: text without comma, not empty',
    )
  }
  return createGuard('requirePrivilege', options, (session, roles) => {
    for (const name of names) {
      if (roles.privilegeNamed(name) !== undefined) continue
      const shown = JSON.stringify(name.slice(0, 64))
      throw new SessionPrivilegeUnknownError(`the roles file does not declare ${shown}`)
    }
    if (names.some((name) => session.hasPrivilege(name))) return undefined
    return session.isSignedIn() ? new SessionPrivilegeError(names) : new SessionGuestError()
  })
}

function isName(name: unknown): name is PrivilegeName {
  return typeof name === 'string' && name.trim() === name && name !== '' && !name.includes(',')
}
