import type { Context, Next } from 'koa'

const readingMethods = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * Refuses forms that another site has sent (CSRF). The cookie's `SameSite=Lax` already keeps the
 * session out of them; this also covers neighbours on the same site, another port of localhost
 * among them, and a stranger's form that would sign somebody in.
 */
export function refuseCrossSite(ctx: Context, next: Next): Promise<unknown> {
  if (!readingMethods.has(ctx.method) && !isSameOrigin(ctx)) {
    ctx.throw(403, 'this form was sent by another site')
  }
  return next()
}

function isSameOrigin(ctx: Context): boolean {
  const site = ctx.get('Sec-Fetch-Site')
  if (site !== '') return site === 'same-origin' || site === 'none'
  // Browsers send Sec-Fetch-Site over HTTPS and to localhost only, Origin everywhere. What sends
  // neither, as curl does, is no browser: nobody's cookies are in it but its own.
  const origin = ctx.get('Origin')
  return origin === '' || (URL.canParse(origin) && new URL(origin).host === ctx.host)
}
