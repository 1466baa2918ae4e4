import type { Context } from 'koa'
import type { GuardOptions } from 'koa-user-sessions'

import { html } from './html.ts'
import { seeOther, show } from './layout.ts'

/** What the guards of pages do: guests go to the sign-in page and come back, others get a page. */
export const denied: GuardOptions = {
  onDenied(ctx: Context, error) {
    if (error.code === 'ERR_SESSION_GUEST') {
      seeOther(ctx, `/sign-in?next=${encodeURIComponent(ctx.url)}`)
      return
    }
    show(ctx, {
      status: error.status,
      title: 'Not allowed',
      main: html`<p class="problem">
          <strong>${ctx.session.userName}</strong> may not see this page: it takes the privilege
          <strong>${error.privileges.join(' or ')}</strong>.
        </p>
        <p>
          Error 403.
          <a href="/sign-in?next=${encodeURIComponent(ctx.url)}">Sign in as somebody else</a> or go
          <a href="/">back to the shop</a>.
        </p>`,
    })
  },
}
