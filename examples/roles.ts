// Roles and privileges from a roles file, and guards that require them.
//
//   npx tsx --tsconfig test/tsconfig.json examples/roles.ts
//
//   curl -c jar -b jar localhost:3000/prices                    401 sign in first
//   curl -c jar -b jar -X POST localhost:3000/login/Clerk       {"privileges":["seePrices","browse"]}
//   curl -c jar -b jar localhost:3000/prices                    {"tea":4.5,"kettle":39}
//   curl -c jar -b jar localhost:3000/stock                     403 not allowed: …
//   curl -c jar -b jar -X POST localhost:3000/recount           {"counted":true,"audit":false}

import { pathToFileURL } from 'node:url'

import Router from '@koa/router'
import Koa from 'koa'
import { requirePrivilege, requireUser, session } from 'koa-user-sessions'

export const app = new Koa()
const router = new Router()

app.use(session({ roles: 'examples/roles.json' }))

router.post('/login/:role', (ctx) => {
  // The role would come from the user's record. One that the file does not declare gives nothing.
  ctx.session.setPrivileges({ roles: [ctx.params.role ?? ''], userName: 'ann' })
  ctx.body = { privileges: ctx.session.getPrivileges() }
})

// A clerk's role gives `seePrices`, which includes `browse`.
router.get('/prices', requirePrivilege('seePrices'), (ctx) => {
  ctx.body = { tea: 4.5, kettle: 39 }
})

// Any one of several.
router.get('/stock', requirePrivilege(['editStock', 'audit']), (ctx) => {
  ctx.body = { tea: 120, kettle: 7 }
})

// Lends a privilege to the rest of this request; nobody else sees it, and nothing is stored.
router.post('/recount', requireUser(), (ctx) => {
  const loan = ctx.session.promote('audit')
  const counted = ctx.session.hasPrivilege('audit')
  ctx.session.demote(loan)
  ctx.body = { counted, audit: ctx.session.hasPrivilege('audit') }
})

// A browser is better served by a page than by an error.
const onDenied = (ctx: Koa.Context) => ctx.redirect('/login.html')
router.get('/admin', requirePrivilege('WebAdmin', { onDenied }), (ctx) => {
  ctx.body = 'welcome'
})

app.use(router.routes())

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  app.listen(3000, () => console.log('http://localhost:3000'))
}
