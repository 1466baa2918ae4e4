import type { Context, Middleware, Next } from 'koa'

import {
  SessionNotMountedError,
  SessionTokenError,
  type SessionGuestError,
  type SessionPrivilegeError,
} from '../errors/errors.ts'
import { checkFunction, checkNames, checkObject } from '../errors/option-checks.ts'
import type { SessionRefusalCode } from '../events/events.ts'
import type { Roles } from '../privileges/roles.ts'
import type { Session } from '../session/session.ts'
import { attachmentOf, type Attachment } from './attachment.ts'

/** Options of the guards. */
export interface GuardOptions {
  /**
   * Answers a refused request in place of the error, such as by a redirect to the sign-in page. The
   * handler does not run whatever this does.
   */
  readonly onDenied?: (ctx: Context, error: SessionGuestError | SessionPrivilegeError) => unknown
}

/** Why a session is refused; `undefined` when it is not. */
export type Refusal = SessionGuestError | SessionPrivilegeError | undefined

/**
 * Makes a guard: middleware that runs what follows only for sessions that pass a check.
 *
 * @param name What Koa's debug output calls it.
 * @param options Of the guard, not checked yet.
 * @param check Why a session is refused; what it throws is the answer.
 */
export function createGuard(
  name: string,
  options: GuardOptions,
  check: (session: Session<never>, roles: Roles) => Refusal,
): Middleware {
  checkObject('guard', options)
  checkNames(`${name}()`, options, ['onDenied'])
  const { onDenied } = options
  if (onDenied !== undefined) checkFunction('onDenied', onDenied)

  const guard = async (ctx: Context, next: Next): Promise<unknown> => {
    const attachment = attachmentOf(ctx)
    if (!attachment) throw new SessionNotMountedError()
    const { request, deployment } = attachment
    // Closed, also where pages show a guest in place of whoever it is.
    if (request.fault) {
      if (request.fault instanceof SessionTokenError) tellRefusal(attachment, request.fault)
      throw request.fault
    }
    const refusal = check(request.session, deployment.settings.roles)
    if (!refusal) return next()
    tellRefusal(attachment, refusal)
    Object.assign(refusal, { headers: { ...refusal.headers, ...request.challengeFor(refusal) } })
    if (!onDenied) throw refusal
    await onDenied(ctx, refusal)
    return undefined
  }
  return Object.defineProperty(guard, 'name', { value: name })
}

/**
 * Tells the events of a refusal, with what is known of the caller: a request that has not asked for
 * its session does not come to depend on it by this.
 *
 * @param attachment Of the request.
 * @param error What it is refused with.
 */
export function tellRefusal(
  { request, deployment }: Attachment,
  { code }: { readonly code: SessionRefusalCode },
): void {
  const session = request.isAttached && !request.fault ? request.session : undefined
  deployment.events.emit('session:refused', {
    ...(session && !session.isNew && { id: session.id }),
    userName: session?.userName ?? '',
    code,
  })
}

/**
 * Whether somebody is signed in: there is a user name or a privilege, or the session is remote.
 *
 * @param session Any session.
 */
export function isSignedIn(session: Session<never>): boolean {
  return session.userName !== '' || !session.isGuest() || session.type === 'remote'
}
