import type { Middleware } from 'koa'

import { SessionGuestError } from '../errors/errors.ts'
import { createGuard, isSignedIn, type GuardOptions } from './guard.ts'

/**
 * Guard that lets only who is signed in through: sessions with a user name or a privilege. Others
 * get 401 `ERR_SESSION_GUEST`, and what follows is not run.
 *
 * @example
 *   router.get('/orders', requireUser(), listOrders)
 *
 * @param options What to do in place of the 401.
 * @throws {SessionOptionError} When an option is unknown or wrong.
 */
export function requireUser(options: GuardOptions = {}): Middleware {
  return createGuard('requireUser', options, (session) =>
    isSignedIn(session) ? undefined : new SessionGuestError(),
  )
}
