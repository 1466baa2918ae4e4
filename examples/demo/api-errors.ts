import { STATUS_CODES } from 'node:http'

import type { Context, Next } from 'koa'

import { facts } from './error-facts.ts'

/** Whether a request is for the API and not for a page. */
export function isApi({ path }: Pick<Context, 'path'>): boolean {
  return path.startsWith('/api/')
}

/** Answers errors of the API as JSON. Outside `session()`, as the pages of errors are. */
export async function apiErrors(ctx: Context, next: Next): Promise<void> {
  if (!isApi(ctx)) return next()
  try {
    await next()
    if (ctx.status >= 400 && ctx.body == null) answer(ctx, ctx.status)
  } catch (error) {
    if (ctx.headerSent) throw error
    const { status, message, code, headers } = facts(error)
    if (status >= 500) ctx.app.emit('error', error, ctx)
    ctx.set(headers)
    answer(ctx, status, message, code)
  }
}

function answer(ctx: Context, status: number, message = STATUS_CODES[status], code?: string): void {
  ctx.body = { ...(code !== undefined && { code }), message }
  // After the body, which would make it 200.
  ctx.status = status
}
