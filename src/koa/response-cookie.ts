import type { Context } from 'koa'

import type { Carrier } from '../cookie/carrier.ts'
import { clearCookieHeader, isSecureCookie, setCookieHeader } from '../cookie/cookie.ts'
import { clearLegacyCookieHeader, legacyCookiesIn } from '../cookie/legacy-cookies.ts'
import type { ErrorHeaders } from '../errors/errors.ts'
import { debug, type Deployment } from '../session/deployment.ts'

/** The session cookie on one Koa response. */
export class ResponseCookie implements Carrier {
  readonly #ctx: Context
  readonly #deployment: Deployment
  /** Whether the request came over HTTPS. */
  readonly #cameSecurely: boolean
  readonly #isSecure: boolean
  readonly #name: string
  /** The `Set-Cookie` headers for the response, by cookie name. */
  readonly #headers = new Map<string, string>()

  constructor(ctx: Context, deployment: Deployment, cameSecurely: boolean) {
    const { cookie } = deployment.settings
    this.#ctx = ctx
    this.#deployment = deployment
    this.#cameSecurely = cameSecurely
    this.#isSecure = isSecureCookie(cookie, cameSecurely)
    this.#name = this.#isSecure ? cookie.secureName : cookie.plainName
  }

  get canSet(): boolean {
    return !this.#ctx.headerSent
  }

  set(value: string, lifetimeMs: number): void {
    this.#warnOfProxy()
    const { cookie } = this.#deployment.settings
    this.#headers.set(this.#name, setCookieHeader(cookie, this.#isSecure, value, lifetimeMs))
    this.clearLegacy()
  }

  clear(): void {
    const { cookie } = this.#deployment.settings
    this.#headers.set(this.#name, clearCookieHeader(cookie, this.#isSecure))
    this.clearLegacy()
  }

  clearLegacy(): void {
    const { legacy, cookie } = this.#deployment.settings
    if (legacy) {
      const { sameSite } = cookie.attributes
      for (const name of legacyCookiesIn(this.#ctx.req.headers.cookie, legacy.cookies)) {
        const attributes = { secure: this.#isSecure, sameSite }
        this.#headers.set(name, clearLegacyCookieHeader(name, legacy.cookies, attributes))
      }
    }
    this.apply()
  }

  /** Sets the headers, and again after the app may have changed them. */
  apply(): void {
    if (this.#headers.size === 0 || !this.canSet) return
    const { response } = this.#ctx
    const cacheControl = response.get('Cache-Control')
    if (cacheControl !== '' && cacheControl !== 'no-store') {
      debug('replaced Cache-Control %s: the response sets a session cookie', cacheControl)
    }
    response.set('Cache-Control', 'no-store')
    response.set('Set-Cookie', this.#cookiesWithOurs(this.#ctx.res.getHeader('Set-Cookie')))
  }

  /** Returns an error's headers with these added: Koa drops the response's headers on an error. */
  headersFor(headers: ErrorHeaders): ErrorHeaders {
    if (this.#headers.size === 0) return headers
    const kept = Object.entries(headers).filter(
      ([name]) => !/^(?:set-cookie|cache-control)$/i.test(name),
    )
    const cookies = Object.entries(headers).find(([name]) => /^set-cookie$/i.test(name))?.[1]
    return {
      ...Object.fromEntries(kept),
      'Cache-Control': 'no-store',
      'Set-Cookie': this.#cookiesWithOurs(cookies),
    }
  }

  #cookiesWithOurs(present: string | number | readonly string[] | undefined): string[] {
    const cookies = present === undefined ? [] : [present].flat().map(String)
    const others = cookies.filter((cookie) => !this.#headers.has(cookie.split('=', 1)[0] ?? ''))
    return [...others, ...this.#headers.values()]
  }

  #warnOfProxy(): void {
    const { secure } = this.#deployment.settings.cookie
    if (this.#cameSecurely || secure === false) return
    const proxied = isForwardedHttps(this.#ctx)
    if (secure === 'auto' && proxied && !this.#ctx.app.proxy) {
      this.#deployment.warnOnce(
        'proxy',
        'a proxy ended TLS before this app, so the session cookie is not Secure: ' +
          'set app.proxy = true, or the option cookie: { secure: true }',
      )
    }
    if (secure === true && !proxied) {
      this.#deployment.warnOnce(
        'plain',
        'the session cookie is Secure, but the request came over HTTP, where browsers drop it: ' +
          'serve HTTPS, or set the option cookie: { secure: "auto" }',
      )
    }
  }
}

function isForwardedHttps(ctx: Context): boolean {
  return (
    /^https\b/i.test(ctx.get('X-Forwarded-Proto')) ||
    /\bproto="?https\b/i.test(ctx.get('Forwarded'))
  )
}
