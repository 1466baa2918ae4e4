import type { Context } from 'koa'

import { RequestSession } from '../session/request-session.ts'
import type { Services } from '../session/services.ts'
import { KoaRequest } from './koa-request.ts'
import type { CookieCarrier } from './response-cookie.ts'

/** What `session()` leaves on a Koa context. Made complete when somebody asks for the session. */
export class Attachment {
  /** Of the `Sessions` that is mounted. */
  readonly services: Services
  readonly #ctx: Context
  // Of the connection, which may be gone when somebody asks for the session.
  readonly #isSecure: boolean
  readonly #ip: string
  #koaRequest: KoaRequest | undefined
  #request: RequestSession<never> | undefined

  constructor(ctx: Context, services: Services) {
    this.#ctx = ctx
    this.#isSecure = ctx.secure
    this.#ip = ctx.ip
    this.services = services
  }

  /** Whether anything comes with the request that may open a session. */
  get hasCredentials(): boolean {
    const { cookie, authorization } = this.#ctx.req.headers
    return (
      cookie !== undefined || (authorization !== undefined && this.services.tokens !== undefined)
    )
  }

  /** Whether anybody has asked for the session. */
  get isUsed(): boolean {
    return this.#request !== undefined
  }

  get request(): RequestSession<never> {
    this.#request ??= new RequestSession<never>(this.services, this.#made)
    return this.#request
  }

  get carrier(): CookieCarrier {
    return this.#made.carrier
  }

  get #made(): KoaRequest {
    this.#koaRequest ??= new KoaRequest(this.#ctx, this.services, this.#isSecure, this.#ip)
    return this.#koaRequest
  }
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
 * @param services Of the `Sessions` that is mounted.
 */
export function attach(ctx: Context, services: Services): Attachment {
  defineSession(ctx.app.context)
  const attachment = new Attachment(ctx, services)
  // Not defined as read-only: that would cost as much as all the rest.
  ctx[key] = attachment
  return attachment
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
