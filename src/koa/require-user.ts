import type { Middleware } from 'koa'

import { SessionGuestError } from '../errors/errors.ts'
import { createGuard, type GuardOptions } from './guard.ts'

/**
 * Guard that admits only signed-in callers: sessions with a user name or a privilege, and remote
 * ones. Others get 401 `ERR_SESSION_GUEST` and do not reach the handler.
 *
 * @example
 *   router.get('/orders', requireUser(), listOrders)
 *
 * @throws {SessionOptionError} When an option is unknown or wrong.
 */
export function requireUser(options: GuardOptions = {}): Middleware {
  return createGuard('requireUser', options, (session) =>
    session.isSignedIn() ? undefined : new SessionGuestError(),
  )
}
