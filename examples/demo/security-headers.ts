import type { Context, Next } from 'koa'

const contentSecurityPolicy = [
  "default-src 'none'",
  "style-src 'self'",
  "script-src 'self'",
  "connect-src 'self'",
  "img-src 'self'",
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ')

/** Sets the headers of every answer. */
export function securityHeaders(ctx: Context, next: Next): Promise<unknown> {
  ctx.set({
    'Content-Security-Policy': contentSecurityPolicy,
    'X-Content-Type-Options': 'nosniff',
    // Not `no-referrer`: with it browsers send `Origin: null` with our own forms too, which
    // requireSameOrigin() could not tell from a stranger's.
    'Referrer-Policy': 'same-origin',
    // Every page says who is signed in: after signing out, Back must not show it again.
    'Cache-Control': 'no-store',
    // Browsers that know these tell `Windows 11` from 10, and the model of a phone.
    'Accept-CH': 'Sec-CH-UA-Platform-Version, Sec-CH-UA-Model',
  })
  return next()
}
