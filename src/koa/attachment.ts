import type { Context } from 'koa'

import { describeClient } from '../client/describe-client.ts'
import type { ClientDescription } from '../client/description.ts'
import { readCredentials, type SessionCredential } from '../cookie/cookie.ts'
import type { Deployment } from '../session/deployment.ts'
import { addressOf, RequestSession, type RequestFacts } from '../session/request-session.ts'
import { readBearer, type BearerCredentials } from '../tokens/bearer.ts'
import { ResponseCookie } from './response-cookie.ts'

/**
 * What `session()` leaves on a Koa context: the request as far as its session goes. Looks at the
 * request when it is asked.
 */
export class Attachment implements RequestFacts {
  readonly deployment: Deployment
  readonly #ctx: Context
  // Of the connection, which may be gone when somebody asks for the session.
  readonly #isSecure: boolean
  readonly #ip: string
  #request: RequestSession<never> | undefined
  #cookie: ResponseCookie | undefined

  constructor(ctx: Context, deployment: Deployment) {
    this.deployment = deployment
    this.#ctx = ctx
    this.#isSecure = ctx.secure
    this.#ip = ctx.ip
  }

  /** The session of the request. */
  get request(): RequestSession<never> {
    this.#request ??= new RequestSession<never>(this.deployment, this)
    return this.#request
  }

  /** The same, if anything has asked for it. */
  get usedRequest(): RequestSession<never> | undefined {
    return this.#request
  }

  get cookie(): ResponseCookie {
    this.#cookie ??= new ResponseCookie(this.#ctx, this.deployment, this.#isSecure)
    return this.#cookie
  }

  /** The same, if anything has asked for it. */
  get usedCookie(): ResponseCookie | undefined {
    return this.#cookie
  }

  get credentials(): readonly SessionCredential[] {
    const { cookie } = this.deployment.settings
    return readCredentials(this.#ctx.req.headers.cookie, cookie, this.#isSecure)
  }

  get bearer(): BearerCredentials {
    return readBearer(this.#ctx.req.headersDistinct['authorization'] ?? [])
  }

  get ip(): string {
    return addressOf(this.#ip)
  }

  header(name: string): string {
    return this.#ctx.get(name)
  }

  describeClient(): Promise<ClientDescription> {
    const { ip } = this
    const header = (name: string): string => this.header(name)
    return describeClient(this.deployment, { header, ip, ctx: this.#ctx })
  }

  isActivity(): boolean {
    return this.deployment.settings.countsAsActivity?.(this.#ctx) ?? true
  }
}

// Registered, so that two copies of this package in one app see each other.
const key = Symbol.for('koa-user-sessions')

/**
 * What `session()` has left on a context.
 *
 * @returns `undefined` where `session()` is not mounted.
 */
export function attachmentOf(ctx: object): Attachment | undefined {
  const attachment: Attachment | undefined = Reflect.get(ctx, key)
  return attachment
}

/** Leaves a session on a context, where `ctx.session` finds it. */
export function attach(ctx: Context, deployment: Deployment): Attachment {
  if (!prepared.has(ctx.app.context)) defineSession(ctx.app.context)
  const attachment = new Attachment(ctx, deployment)
  // Not defined as read-only: that would cost as much as all the rest.
  ctx[key] = attachment
  return attachment
}

// Apps whose contexts have `session` from here.
const prepared = new WeakSet<object>()

/** Defines `session` once for all contexts of an app: on each one it would cost every request. */
function defineSession(context: object): void {
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
