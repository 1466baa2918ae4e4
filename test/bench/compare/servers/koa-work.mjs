import { newUserName, nextOf, right, shown, shownObject, valuesFor } from './parts.mjs'

/** The work, for the Koa peers, whose session is one object. */
export function work(ctx) {
  const { session } = ctx
  switch (ctx.path) {
    case '/page':
      ctx.body = 'page'
      return
    case '/nothing':
      ctx.body = 'nothing'
      return
    case '/object':
      ctx.body = shownObject(session.object)
      return
    case '/enter':
      Object.assign(session, valuesFor(ctx.querystring), { privileges: [right] })
      ctx.body = shown(session.privileges[0], session.key0)
      return
    case '/login':
      Object.assign(session, valuesFor(ctx.querystring), {
        userName: newUserName(),
        privileges: [right],
      })
      break
    case '/change':
      session.key0 = nextOf(session.key0)
      break
    default:
  }
  ctx.body = shown(session.userName, session.key0)
}
