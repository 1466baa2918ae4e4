// A typical app. It is compiled with the packages of a row, against the built declarations, with the
// declarations of the packages checked, too. It is not run.

import { Redis } from 'ioredis'
import Koa from 'koa'
import type { Context, Middleware } from 'koa'
import { requirePrivilege, session, Sessions } from 'koa-user-sessions'
import { sessionRoutes } from 'koa-user-sessions/routes'

interface State {
  readonly language: string
}

interface Own {
  readonly requestId: number
}

const sessions = new Sessions({ redis: new Redis({ lazyConnect: true }) })
const app = new Koa<State, Own>()
app.use(session(sessions))
app.use(sessionRoutes(sessions).routes())
app.use(requirePrivilege('WebAdmin'))
app.use(async (ctx, next) => {
  const id: number = ctx.requestId
  const language: string = ctx.state.language
  ctx.session.storage['cart'] = ['tea']
  ctx.body = { id, language, userName: ctx.session.userName }
  ctx.session = null
  await next()
})
app.use((ctx) => {
  // @ts-expect-error: `any` would accept this
  ctx.body = ctx.session.nothing
})

/** Typed in Koa's own context too. */
export const signIn: Middleware = async (ctx: Context) => {
  ctx.session.setPrivileges({ userName: 'ann' })
}
