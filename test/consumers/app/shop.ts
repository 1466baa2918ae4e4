// An app on the packed package, compiled by each compiler with each module resolution, as ES module
// and as CommonJS. Every line under `@ts-expect-error` proves that a type exists and is not `any`.

import Router from '@koa/router'
import { Redis } from 'ioredis'
import Koa from 'koa'
import { defineRoles, requirePrivilege, session, Sessions } from 'koa-user-sessions'
import type { PrivilegesOf, Session } from 'koa-user-sessions'
import { sessionRoutes } from 'koa-user-sessions/routes'
import { signedIn } from 'koa-user-sessions/testing'

const roles = defineRoles({
  privileges: [{ privilege: 'browse' }, { privilege: 'WebAdmin', includes: ['browse'] }],
  roles: [{ role: 'Admin', privileges: ['WebAdmin'] }],
})

declare module 'koa-user-sessions' {
  interface SessionStorage {
    cart: string[]
  }
  interface Privileges extends PrivilegesOf<typeof roles> {}
}

export const redis: Redis = new Redis({ lazyConnect: true })
export const sessions: Sessions = new Sessions({ redis, roles })
export const app: Koa = new Koa()
const router = new Router()

app.use(session(sessions))
app.use(sessionRoutes(sessions).routes())
router.get('/admin', requirePrivilege('WebAdmin'), (ctx) => {
  const current: Session = ctx.session
  const cart: string[] | undefined = current.storage.cart
  ctx.body = cart
  current.setPrivileges({ roles: 'Admin', privileges: ['browse'], userName: 'ann' })
  // @ts-expect-error a name that is not declared
  current.storage.cat = []
  // @ts-expect-error a value of another type
  current.storage.cart = 'tea'
  // @ts-expect-error it may be absent
  current.storage.cart.push('tea')
  // @ts-expect-error a misspelt privilege
  current.hasPrivilege('WebAdmim')
  // @ts-expect-error nothing but null
  ctx.session = {}
  ctx.session = null
})
// @ts-expect-error a misspelt privilege
router.get('/typo', requirePrivilege('WebAdmim'))
// @ts-expect-error no such option
export const wrong: unknown = (): unknown => session({ idleTimout: 60 })
export const test = (): Promise<{ readonly cookie: string }> =>
  signedIn(sessions, { roles: 'Admin' })
app.use(router.routes())
