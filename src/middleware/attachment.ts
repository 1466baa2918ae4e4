import type { Context } from 'koa'

import type { RequestSession } from '../request-session.ts'
import type { Services } from '../services.ts'
import type { CookieCarrier } from './cookie-carrier.ts'

/** What `session()` leaves on a Koa context. */
export interface Attachment {
  /** Of the `Sessions` that is mounted. */
  readonly services: Services
  readonly request: RequestSession<never>
  readonly carrier: CookieCarrier
}

// Registered, so that two copies of this package in one app see each other.
const key = Symbol.for('koa-user-sessions')

/**
 * What `session()` has left on a context.
 *
 * @param ctx Of any request.
 * @returns `undefined` where `session()` is not mounted.
 */
export function attachmentOf(ctx: object): Attachment | undefined {
  const attachment: Attachment | undefined = Reflect.get(ctx, key)
  return attachment
}

/**
 * Leaves a session on a context, where `ctx.session` finds it.
 *
 * @param ctx Of the request.
 * @param attachment What to leave.
 */
export function attach(ctx: Context, attachment: Attachment): void {
  defineSession(ctx.app.context)
  Object.defineProperty(ctx, key, { value: attachment })
}

// Apps whose contexts have `session` from here.
const prepared = new WeakSet<object>()

/** Defines `session` once for all contexts of an app: on each one it would cost every request. */
function defineSession(context: object): void {
  if (prepared.has(context)) return
  if (Object.hasOwn(context, 'session')) {
    throw new TypeError('ctx.session is taken by another package, which excludes this one')
  }
  prepared.add(context)
  Object.defineProperty(context, 'session', {
    configurable: true,
    get(this: object): unknown {
      return attachmentOf(this)?.request.session
    },
    set(this: object, value: unknown): void {
      if (value !== null) throw new TypeError('ctx.session takes nothing but null, which ends it')
      attachmentOf(this)?.request.end()
    },
  })
}
