import type { Context, Middleware, Next } from 'koa'

import {
  SessionNotMountedError,
  SessionTokenError,
  type SessionGuestError,
  type SessionPrivilegeError,
} from '../errors/errors.ts'
import { checkFunction, checkNames, checkObject, namesOf } from '../errors/option-checks.ts'
import type { SessionRefusalCode } from '../events/events.ts'
import type { Roles } from '../privileges/roles.ts'
import type { Session } from '../session/session.ts'
import { attachmentOf, type Attachment } from './attachment.ts'

/** Options of `requirePrivilege()` and `requireUser()`. */
export interface GuardOptions {
  /**
   * Responds to a refused request instead of the error, for example with a redirect to the sign-in
   * page. The handler never runs.
   */
  readonly onDenied?: (ctx: Context, error: SessionGuestError | SessionPrivilegeError) => unknown
}

/** Why a session is refused, or `undefined`. */
export type Refusal = SessionGuestError | SessionPrivilegeError | undefined

/**
 * Makes a guard: middleware that runs the next ones only for sessions that pass a check.
 *
 * @param name Koa's debug output shows it.
 * @param options Not checked yet.
 * @param check Returns why a session is refused. The request fails with anything it throws.
 */
export function createGuard(
  name: string,
  options: GuardOptions,
  check: (session: Session<never>, roles: Roles) => Refusal,
): Middleware {
  checkObject('guard', options)
  checkNames(`${name}()`, options, namesOf<GuardOptions>({ onDenied: true }))
  const { onDenied } = options
  if (onDenied !== undefined) checkFunction('onDenied', onDenied)

  const guard = async (ctx: Context, next: Next): Promise<unknown> => {
    const attachment = attachmentOf(ctx)
    if (!attachment) throw new SessionNotMountedError()
    const { requestSession: request, deployment } = attachment
    // Closed even where pages show a guest because the caller is unknown.
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
 * Emits a refusal with what is known of the caller. Does not make the response depend on a session
 * that the request has not read.
 */
export function tellRefusal(
  { requestSession: request, deployment }: Attachment,
  { code }: { readonly code: SessionRefusalCode },
): void {
  const session = request.affectsResponse && !request.fault ? request.session : undefined
  deployment.events.emit('session:refused', {
    ...(session && !session.isNew && { id: session.id }),
    userName: session?.userName ?? '',
    code,
  })
}
