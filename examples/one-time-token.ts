// A link by mail that signs a second browser in. Following the link changes nothing, because
// programs that scan mails follow links too: the page has a button, and its POST uses the token.
//
//   npx tsx --tsconfig test/tsconfig.json examples/one-time-token.ts
//
//   curl -c laptop -b laptop -X POST localhost:3000/login/ann      signed in
//   curl -c laptop -b laptop -X POST localhost:3000/link           look into your mail
//     the program prints                 To ann: http://localhost:3000/join?token=GFJMLMkzSI-J8B…
//   curl -c phone -b phone 'localhost:3000/join?token=GFJMLMkz…'   a page with a button
//   curl -c phone -b phone -d token=GFJMLMkz… localhost:3000/join  303 See Other
//   curl -c phone -b phone localhost:3000/                         signed in as ann
//   curl -d token=GFJMLMkz… localhost:3000/join                    400 this link was used already, …

import { pathToFileURL } from 'node:url'

import Router from '@koa/router'
import Koa from 'koa'
import { requireSameOrigin, requireUser, session } from 'koa-user-sessions'

// Never made from the Host header of a request: a stranger could have the token sent to his server.
const origin = process.env['ORIGIN'] ?? 'http://localhost:3000'

export const app = new Koa()
const router = new Router()

app.use(requireSameOrigin())
app.use(session())
app.use((ctx, next) => {
  // The token is in the address: it is to be in no cache, and in no Referer elsewhere.
  ctx.set({ 'Cache-Control': 'no-store', 'Referrer-Policy': 'same-origin' })
  return next()
})

router.post('/login/:name', (ctx) => {
  // Here a real app checks a password first.
  ctx.session.setPrivileges({ userName: ctx.params['name'] ?? '' })
  ctx.body = 'signed in'
})
router.get('/', requireUser(), (ctx) => {
  ctx.body = `signed in as ${ctx.session.userName}`
})

router.post('/link', requireUser(), async (ctx) => {
  const token = await ctx.session.createOTP(10 * 60)
  // A real app sends it to the address that it has of this user.
  console.log(`To ${ctx.session.userName}: ${origin}/join?token=${token}`)
  ctx.body = 'look into your mail'
})
router.get('/join', (ctx) => {
  const token = String(ctx.query['token'])
  if (!/^[\w-]{64}$/.test(token)) ctx.throw(400, 'this is no link of ours')
  ctx.type = 'html'
  ctx.body = `<!doctype html><title>Sign in</title><form method="post" action="/join">
<input type="hidden" name="token" value="${token}"><button>Sign this browser in</button></form>`
})
router.post('/join', async (ctx) => {
  let form = ''
  for await (const chunk of ctx.req) {
    form += String(chunk)
    if (form.length > 1000) ctx.throw(413)
  }
  const isIn = await ctx.session.restore(new URLSearchParams(form).get('token') ?? '')
  if (!isIn) ctx.throw(400, 'this link was used already, or is too old')
  ctx.status = 303
  ctx.redirect('/')
})

app.use(router.routes())

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  app.listen(new URL(origin).port || 3000, () => console.log(origin))
}
