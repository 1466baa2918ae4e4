import { readFileSync } from 'node:fs'
import { extname } from 'node:path'

import type { Context, Next } from 'koa'

const assets = new Map(
  ['shop.css', 'devices.js', 'icon.svg'].map((name) => [
    `/${name}`,
    readFileSync(new URL(name, import.meta.url), 'utf8'),
  ]),
)

/**
 * Serves the style sheet, the script and the icon. Mounted before `session()`: they need none, so
 * none is read.
 */
export async function serveAssets(ctx: Context, next: Next): Promise<void> {
  const asset = assets.get(ctx.path)
  if (asset === undefined || !['GET', 'HEAD'].includes(ctx.method)) {
    await next()
    return
  }
  ctx.set('Cache-Control', 'no-cache')
  ctx.type = extname(ctx.path)
  ctx.body = asset
}
