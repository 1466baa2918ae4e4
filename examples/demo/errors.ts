import type { Next } from 'koa'

import { isApi } from './api-errors.ts'
import { facts } from './error-facts.ts'
import { html } from './html.ts'
import { show, showPlain } from './layout.ts'
import type { Page } from './layout.ts'
import type { ShopContext } from './shop.ts'

const titles: Record<number, string> = {
  400: 'That did not work',
  401: 'Please sign in again',
  403: 'Not allowed',
  404: 'No such page',
  405: 'Not that way',
  413: 'Too much at once',
  415: 'Not a form',
  500: 'Something broke',
  503: 'Back in a moment',
}

const explanations: Record<number, string> = {
  401: 'The session has ended.',
  404: 'There is nothing at this address.',
  405: 'This address takes other requests than this one.',
  500: 'That is our fault, and it was written down. What you were doing was not kept.',
  503: 'We cannot get at the sessions right now. Nothing was changed; please try again.',
}

/**
 * Shows what is thrown as a page. Mounted outside `session()`, for two reasons. `session()` has to
 * see the error, because it commits the changes of a request that throws below 500 and drops those
 * of one that fails. And it commits when everything inside has answered, so what goes wrong then, a
 * 503 when the store is away, is seen by what stands outside alone.
 *
 * Cookies survive: `session()` has set them on the response by now, and only Koa's own error
 * handler, which this leaves nothing to do, clears the headers of a response. The page shows
 * nothing of the session: there may be none, and after a 500 it would show what was not kept.
 */
export async function errorPages(ctx: ShopContext, next: Next): Promise<void> {
  try {
    await next()
  } catch (error) {
    if (ctx.headerSent) throw error
    const { status, message, headers } = facts(error)
    if (status >= 500) ctx.app.emit('error', error, ctx)
    ctx.remove('Location')
    ctx.set(headers)
    showPlain(ctx, errorPage(status, explanations[status] ?? message))
  }
}

/** Shows a page where nobody has answered: inside `session()`, so that it says who is signed in. */
export async function emptyPages(ctx: ShopContext, next: Next): Promise<void> {
  await next()
  if (isApi(ctx)) return
  if (ctx.status >= 400 && ctx.body == null) show(ctx, errorPage(ctx.status))
}

/** The page of an error. */
export function errorPage(status: number, message = explanations[status] ?? ''): Page {
  return {
    status,
    title: titles[status] ?? 'That did not work',
    main: html`<p class="problem">${sentence(message)}</p>
      <p>Error ${status}. <a href="/">Back to the shop</a></p>`,
  }
}

function sentence(text: string): string {
  return text === ''
    ? ''
    : `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`
}
