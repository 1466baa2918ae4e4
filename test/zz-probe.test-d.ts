import Router from '@koa/router'
import Koa from 'koa'
import { session, Sessions } from 'koa-user-sessions'
interface My { cart: string[]; n: number }
const chained = new Koa().use(session())
chained.use((ctx) => { ctx.session = null; ctx.session.storage.x = 1; const t: number = ctx.session; void t })
const sessions = new Sessions<My>()
const typed = new Koa().use(session(sessions))
typed.use((ctx) => { ctx.session = null; const s: number = ctx.session.storage; void s; const c: number = ctx.session.storage.cart; const z: number = ctx.session.storage.zzz; void c; void z })
const app = new Koa()
app.use(session(sessions))
const router = new Router()
router.get('/', (ctx) => { ctx.session = null; const s: number = ctx.session; void s })
app.use(router.routes())
const app2 = new Koa<{ user: string }, { db: number }>()
app2.use(session())
app2.use((ctx) => { const s: number = ctx.session; void s; ctx.session = null; void ctx.db })
