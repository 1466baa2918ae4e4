// An admin acts as a customer, by a token within the admin's session. The token has exactly the
// privileges that it names. Everything done with the token is logged with both names.
//
//   npx tsx --tsconfig test/tsconfig.json examples/nested-token.ts
//
//   curl -c jar -b jar -X POST localhost:3000/login/Admin/root     {"privileges":["WebAdmin",…]}
//   curl -c jar -b jar -X POST localhost:3000/act-as/ann           {"token":"eyJhbGciOiJIUzI1NiIs…"}
//   AS_ANN='Authorization: Bearer eyJhbGciOiJIUzI1NiIs…'
//   curl -H "$AS_ANN" -X POST localhost:3000/orders/lamp           {"orders":["lamp"]}
//     the program prints                                    audit: root orders lamp for ann
//   curl -H "$AS_ANN" localhost:3000/admin                         403 not allowed: …
//   curl -c jar -b jar -X POST localhost:3000/order-for/ann/rope   {"orders":["lamp","rope"]}

import { randomBytes } from 'node:crypto'
import { pathToFileURL } from 'node:url'

import Router from '@koa/router'
import Koa from 'koa'
import { requirePrivilege, session, Sessions } from 'koa-user-sessions'

const sessions = new Sessions({
  roles: 'examples/roles.json',
  // A real app keeps its keys.
  tokens: {
    keys: [{ kid: '2026', alg: 'HS256', secret: randomBytes(32) }],
    issuer: 'http://localhost:3000',
    audience: 'http://localhost:3000',
  },
  // So that `order()` knows who is calling without being told.
  asyncContext: true,
})
const orders = new Map<string, string[]>()

/** Orders something for whoever is calling, in a request or not. */
function order(item: string): string[] {
  const { userName = '', actor = null } = sessions.current ?? {}
  const list = [...(orders.get(userName) ?? []), item]
  orders.set(userName, list)
  console.log(`audit: ${actor ?? userName} orders ${item} for ${userName}`)
  return list
}

export const app = new Koa()
const router = new Router()

app.use(session(sessions))

router.post('/login/:role/:name', (ctx) => {
  // Here a real app checks a password first, and knows the role.
  const { role = '', name = '' } = ctx.params
  ctx.session.setPrivileges({ roles: role, userName: name })
  ctx.body = { privileges: ctx.session.getPrivileges() }
})
router.post('/orders/:item', requirePrivilege('browse'), (ctx) => {
  ctx.body = { orders: order(ctx.params['item'] ?? '') }
})
router.get('/admin', requirePrivilege('WebAdmin'), (ctx) => {
  ctx.body = 'welcome'
})

// The token goes to the admin's tools, for ten minutes.
router.post('/act-as/:customer', requirePrivilege('WebAdmin'), async (ctx) => {
  const userName = ctx.params['customer'] ?? ''
  const rights = { privileges: 'browse', lifetime: 10 * 60 }
  ctx.body = { token: await ctx.session.createNestedToken({ userName, ...rights }) }
})
// The same within the server: the token leaves it not at all.
router.post('/order-for/:customer/:item', requirePrivilege('WebAdmin'), async (ctx) => {
  const { customer = '', item = '' } = ctx.params
  const token = await ctx.session.createNestedToken({ userName: customer, lifetime: 60 })
  ctx.body = { orders: await sessions.run(token, () => order(item)) }
})

app.use(router.routes())

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  app.listen(3000, () => console.log('http://localhost:3000'))
}
