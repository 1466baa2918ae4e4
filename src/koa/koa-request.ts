import type { Context } from 'koa'

import { describeClient } from '../client/describe-client.ts'
import type { ClientDescription } from '../client/description.ts'
import { addressOf } from '../session/request-session.ts'
import type { SessionRequest } from '../session/request-session.ts'
import type { Services } from '../session/services.ts'
import { readBearer } from '../tokens/bearer.ts'
import type { BearerCredentials } from '../tokens/bearer.ts'
import { CookieCarrier } from './response-cookie.ts'

const noBearer: BearerCredentials = { status: 'none' }

/** A Koa request, as far as its session goes. Looks at it only when it is asked. */
export class KoaRequest implements SessionRequest {
  readonly #ctx: Context
  readonly #services: Services
  readonly #ip: string
  readonly carrier: CookieCarrier
  readonly bearer: BearerCredentials

  /**
   * @param isSecure Whether it came over HTTPS.
   * @param ip Its address, as Koa tells it.
   */
  constructor(ctx: Context, services: Services, isSecure: boolean, ip: string) {
    this.#ctx = ctx
    this.#services = services
    this.#ip = ip
    this.carrier = new CookieCarrier(ctx, services, isSecure)
    this.bearer = bearerOf(ctx, services)
  }

  get cookies(): readonly string[] {
    return this.carrier.values
  }

  get ip(): string {
    return addressOf(this.#ip)
  }

  header(name: string): string {
    return this.#ctx.get(name)
  }

  describeClient(): Promise<ClientDescription> {
    const { ip } = this
    return describeClient(this.#services, {
      header: (name) => this.header(name),
      ip,
      ctx: this.#ctx,
    })
  }

  isActivity(): boolean {
    return this.#services.settings.countsAsActivity?.(this.#ctx) ?? true
  }
}

/** The bearer token of a request, where tokens are on. */
function bearerOf({ req }: Context, { tokens }: Services): BearerCredentials {
  if (!tokens || req.headers.authorization === undefined) return noBearer
  return readBearer(req.headersDistinct['authorization'] ?? [])
}
