// A cart for every visitor and a page for admins: a whole Koa app with sessions.
//
//   npx tsx --tsconfig test/tsconfig.json examples/basic.ts     (needs a Redis; REDIS_URL says where)
//
//   curl -c jar -b jar -X POST localhost:3000/cart/tea          ["tea"]
//   curl -c jar -b jar localhost:3000/admin                     401 sign in first
//   curl -c jar -b jar -X POST localhost:3000/login             {"guest":false,"until":"2026-…"}
//   curl -c jar -b jar localhost:3000/admin                     welcome
//   curl -c jar -b jar -X POST localhost:3000/logout            {"guest":true}

import { pathToFileURL } from 'node:url'

import Router from '@koa/router'
import { Redis } from 'ioredis'
import Koa from 'koa'
import { defineRoles, recommendedRedisOptions, requirePrivilege, session } from 'koa-user-sessions'

const url = process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379'
export const redis = new Redis(url, recommendedRedisOptions)
export const app = new Koa()
const router = new Router()

const roles = defineRoles({
  privileges: [{ privilege: 'browse' }, { privilege: 'WebAdmin', includes: ['browse'] }],
  roles: [{ role: 'Admin', privileges: ['WebAdmin'] }],
})

app.use(session({ redis, roles }))

router.post('/login', (ctx) => {
  // Here a real app checks a password first.
  ctx.session.setPrivileges({ roles: 'Admin', userName: 'ann' })
  ctx.body = { guest: ctx.session.isGuest(), until: ctx.session.expirationDate }
})
router.post('/cart/:item', async (ctx) => {
  // Exclusive: parallel clicks all count.
  ctx.body = await ctx.session.use((storage) => {
    storage.cart = [...(storage.cart ?? []), ctx.params.item]
    return storage.cart
  })
})
router.get('/admin', requirePrivilege('WebAdmin'), (ctx) => {
  ctx.body = 'welcome'
})
router.post('/logout', (ctx) => {
  ctx.session = null
  ctx.body = { guest: ctx.session.isGuest() }
})

app.use(router.routes())

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  app.listen(3000, () => console.log('http://localhost:3000'))
}
