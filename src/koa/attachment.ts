import type { Context } from 'koa'

import { describeClient } from '../client/describe-client.ts'
import type { ClientDescription } from '../client/description.ts'
import { readCredentials, type SessionCredential } from '../cookie/cookie.ts'
import type { Deployment } from '../session/deployment.ts'
import { addressOf, RequestSession, type RequestFacts } from '../session/request-session.ts'
import { readBearer, type BearerCredentials } from '../tokens/bearer.ts'
import { ResponseCookie } from './response-cookie.ts'

/**
 * What `session()` attaches to a Koa context: the request as far as its session needs it. Reads the
 * request only on demand.
 */
export class Attachment implements RequestFacts {
  readonly deployment: Deployment
  readonly #ctx: Context
  // Read at once, because the connection may be gone when the app reads the session.
  readonly #isSecure: boolean
  readonly #ip: string
  #requestSession: RequestSession<never> | undefined
  #cookie: ResponseCookie | undefined

  constructor(ctx: Context, deployment: Deployment) {
    this.deployment = deployment
    this.#ctx = ctx
    this.#isSecure = ctx.secure
    this.#ip = ctx.ip
  }

  get requestSession(): RequestSession<never> {
    this.#requestSession ??= new RequestSession<never>(this.deployment, this)
    return this.#requestSession
  }

  /** The session of the request, once the app or a guard has read it. */
  get usedSession(): RequestSession<never> | undefined {
    return this.#requestSession
  }

  get cookie(): ResponseCookie {
    this.#cookie ??= new ResponseCookie(this.#ctx, this.deployment, this.#isSecure)
    return this.#cookie
  }

  /** The cookie of the response, once it is in use. */
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
    const header = (name: string): string => this.header(name)
    return describeClient(this.deployment, { header, ip: this.ip, ctx: this.#ctx })
  }

  isActivity(): boolean {
    return this.deployment.settings.countsAsActivity?.(this.#ctx) ?? true
  }
}

// Registered, so that two copies of this package in one app find each other's attachments.
const key = Symbol.for('koa-user-sessions')

/** Returns the attachment of a context, or `undefined` where `session()` is not mounted. */
export function attachmentOf(ctx: object): Attachment | undefined {
  const attachment: Attachment | undefined = Reflect.get(ctx, key)
  return attachment
}

/** Attaches a session to a context, and defines `ctx.session` for the app. */
export function attach(ctx: Context, deployment: Deployment): Attachment {
  if (!prepared.has(ctx.app.context)) defineSession(ctx.app.context)
  const attachment = new Attachment(ctx, deployment)
  // A read-only property would cost as much as everything else here.
  ctx[key] = attachment
  return attachment
}

// Prototypes of the apps' contexts that have `session` already.
const prepared = new WeakSet<object>()

/** Defines `session` once for all contexts of an app; on each context it would cost every request. */
function defineSession(context: object): void {
  if (Object.hasOwn(context, 'session')) {
    throw new TypeError('ctx.session is taken by another package, so session() cannot define it')
  }
  prepared.add(context)
  Object.defineProperty(context, 'session', {
    configurable: true,
    get(this: object): unknown {
      return attachmentOf(this)?.requestSession.session
    },
    set(this: object, value: unknown): void {
      if (value !== null) throw new TypeError('ctx.session accepts only null, which ends it')
      attachmentOf(this)?.requestSession.end()
    },
  })
}
