import { fileURLToPath } from 'node:url'

import Router from '@koa/router'
import type { Redis } from 'ioredis'
import Koa from 'koa'
import type { Next } from 'koa'
import {
  requirePrivilege,
  requireSameOrigin,
  requireUser,
  session,
  Sessions,
} from 'koa-user-sessions'
import type { SessionContext } from 'koa-user-sessions'

import { locate } from '../locate.ts'
import { endUserSessions, showUserSessions } from './admin-sessions.ts'
import { fail, showAdmin } from './admin.ts'
import { apiErrors } from './api-errors.ts'
import { apiOptions, endSession, listStock, openSession, showMe } from './api.ts'
import { serveAssets } from './assets.ts'
import { changeCart, showCart } from './cart.ts'
import { denied } from './denied.ts'
import { endDevice, showDevices } from './devices.ts'
import { emptyPages, errorPages } from './errors.ts'
import { placeOf } from './place.ts'
import { securityHeaders } from './security-headers.ts'
import { changeIdleTimeout, floorMinutes, showSession } from './session-page.ts'
import { shopFront } from './shop-front.ts'
import { openShop } from './shop.ts'
import type { Shop, ShopState, ShopStorage } from './shop.ts'
import { showSignIn, signIn, signOut } from './sign-in.ts'
import { changeStock, showStock } from './stock.ts'

export interface ShopOptions {
  /** Where the sessions are kept; without it they are kept in memory. */
  readonly redis?: Redis
  /** What their keys in Redis start with. */
  readonly prefix?: string
}

/** Makes a shop with sessions, a stock and visits of its own. */
export function createApp({ redis, prefix = 'demo:' }: ShopOptions = {}): ShopApp {
  const sessions = new Sessions<ShopStorage>({
    ...(redis && { redis, prefix }),
    roles: fileURLToPath(new URL('../roles.json', import.meta.url)),
    minIdleTimeout: floorMinutes,
    locate,
    ...apiOptions(),
  })
  const shop = openShop(placeOf(redis))
  countSessions(sessions, shop)

  const app: ShopApp = new Koa()
  app.use((ctx, next) => {
    ctx.state.shop = shop
    ctx.state.sessions = sessions
    return next()
  })
  app.use(securityHeaders)
  app.use(errorPages)
  app.use(apiErrors)
  app.use(serveAssets)
  app.use(session(sessions))
  // After it, because callers with a bearer token are exempt: no cookie counts beside one.
  app.use(requireSameOrigin())
  app.use(emptyPages)
  const router = routes(shop)
  app.use(router.routes())
  app.use(router.allowedMethods())
  return app
}

type ShopApp = Koa<ShopState, SessionContext<ShopStorage>>
type ShopRouter = Router<ShopState, SessionContext<ShopStorage>>

function routes({ visits }: Shop): ShopRouter {
  const router: ShopRouter = new Router()
  router.use(async (ctx, next: Next) => {
    await next()
    // The route and not the path: people may ask for any number of paths.
    const { method, _matchedRoute: route } = ctx
    const page = `${method} ${route}`
    visits.set(page, (visits.get(page) ?? 0) + 1)
  })
  router.get('/', shopFront)
  router.get('/cart', showCart)
  router.post('/cart', changeCart)
  router.get('/sign-in', showSignIn)
  router.post('/sign-in', signIn)
  router.post('/sign-out', signOut)
  router.get('/session', showSession)
  router.post('/session', changeIdleTimeout)
  router.get('/devices', requireUser(denied), showDevices)
  router.post('/devices', requireUser(denied), endDevice)
  router.get('/stock', requirePrivilege('editStock', denied), showStock)
  router.post('/stock', requirePrivilege('editStock', denied), changeStock)
  router.get('/admin', requirePrivilege('WebAdmin', denied), showAdmin)
  router.get('/admin/sessions', requirePrivilege('WebAdmin', denied), showUserSessions)
  router.post('/admin/sessions', requirePrivilege('WebAdmin', denied), endUserSessions)
  router.get('/admin/fault', requirePrivilege('WebAdmin', denied), fail)
  router.post('/api/sessions', openSession)
  router.delete('/api/sessions/current', requireUser(), endSession)
  router.get('/api/me', requireUser(), showMe)
  router.get('/api/stock', requirePrivilege('editStock'), listStock)
  return router
}

function countSessions(sessions: Sessions<ShopStorage>, shop: Shop): void {
  const counts = shop.sessions
  sessions.on('session:created', () => (counts.created += 1))
  sessions.on('session:signedIn', () => (counts.signedIn += 1))
  sessions.on('session:ended', () => (counts.ended += 1))
}
