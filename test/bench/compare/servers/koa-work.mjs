import { newUserName, nextOf, shown, valuesFor } from './parts.mjs'

/** The work, for the Koa peers, whose session is one object. */
export function work(ctx) {
  const { session } = ctx
  if (ctx.path === '/page') {
    ctx.body = 'page'
    return
  }
  if (ctx.path === '/login') {
    Object.assign(session, valuesFor(ctx.querystring), { userName: newUserName() })
  } else if (ctx.path === '/change') {
    session.key0 = nextOf(session.key0)
  }
  ctx.body = shown(session.userName, session.key0)
}
