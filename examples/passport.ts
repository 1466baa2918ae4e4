// Passport with its local strategy on `ctx.session`. Passport finds out who the caller is;
// `setPrivileges` says whose session it is, for guards, lists and limits.
//
//   npx tsx --tsconfig test/tsconfig.json examples/passport.ts
//
//   curl -c jar -b jar -X POST localhost:3000/cart/tea                          ["tea"]
//   curl -c jar -b jar -d 'username=ann&password=tea' localhost:3000/login      Unauthorized
//   cp jar jar.before
//   curl -c jar -b jar -d 'username=ann&password=kettle' localhost:3000/login   signed in as ann
//   curl -c jar -b jar localhost:3000/     {"userName":"ann","passport":"ann","cart":["tea"]}
//   curl -b jar.before localhost:3000/     sign in first
//   curl -c jar -b jar -X POST localhost:3000/logout
//   curl -c jar -b jar localhost:3000/     sign in first

import { pathToFileURL } from 'node:url'

import Router from '@koa/router'
import Koa from 'koa'
import { KoaPassport } from 'koa-passport'
import { requireSameOrigin, requireUser, session } from 'koa-user-sessions'
import { Strategy } from 'passport-local'

// A real app has hashes of the passwords, in a database.
const passwords = new Map<unknown, string>([
  ['ann', 'kettle'],
  ['ben', 'teapot'],
])
const passport = new KoaPassport()
passport.serializeUser((user, done) => done(null, 'name' in user ? user.name : undefined))
passport.deserializeUser((name, done) => done(null, passwords.has(name) && { name: String(name) }))
passport.use(
  new Strategy((name, password, done) =>
    done(null, passwords.get(name) === password ? { name } : false),
  ),
)

export const app = new Koa()
const router = new Router()
app.use(requireSameOrigin())
app.use(session())
app.use(passport.initialize())
app.use(passport.session())

router.post('/cart/:item', (ctx) => {
  const { storage } = ctx.session
  storage.cart = [...(storage.cart ?? []), ctx.params['item']]
  ctx.body = storage.cart
})
router.use('/login', async (ctx, next) => {
  // Here a real app has a body parser.
  const { value } = await ctx.req[Symbol.asyncIterator]().next()
  ctx.state['body'] = Object.fromEntries(new URLSearchParams(String(value)))
  await next()
})
// First whose session it is: another user than the present one gets a new, empty session.
router.post('/login', passport.authenticate('local', { session: false }), async (ctx) => {
  ctx.session.setPrivileges({ userName: ctx.state.user.name })
  await ctx.login(ctx.state.user)
  ctx.body = `signed in as ${ctx.session.userName}`
})
router.get('/', requireUser(), (ctx) => {
  const { userName, storage } = ctx.session
  ctx.body = {
    userName,
    passport: ctx.isAuthenticated() && ctx.state.user.name,
    cart: storage.cart,
  }
})
router.post('/logout', async (ctx) => {
  await ctx.logout()
  // That was Passport's part; this ends the session, which is still ann's and has her cart.
  ctx.session = null
  ctx.status = 204
})
app.use(router.routes())

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  app.listen(3000, () => console.log('http://localhost:3000'))
}
