import { once } from 'node:events'
import type { Server } from 'node:http'

import Koa from 'koa'
import { requirePrivilege, session, Sessions } from 'koa-user-sessions'
import type { SessionsOptions } from 'koa-user-sessions'

import { makeKey, tokensWith } from './tokens.ts'

/** A listening app with a path for each kind of request that a `Mix` sends. */
export interface MixedApp {
  readonly sessions: Sessions
  readonly listening: Server
  readonly port: number
}

/**
 * Starts it on a free port of 127.0.0.1.
 *
 * @param options Of its sessions; tokens are on.
 */
export async function startMixedApp(options: SessionsOptions): Promise<MixedApp> {
  const sessions = new Sessions({
    tokens: tokensWith(makeKey('HS256')),
    privilegedTypes: ['web', 'rest', 'remote'],
    asyncContext: true,
    ...options,
  })
  const isAdmin = requirePrivilege('WebAdmin')
  const app = new Koa()
  app.silent = true
  app.use(session(sessions))
  app.use(async (ctx, next) => {
    const user = String(ctx.query['user'] ?? 'ann')
    switch (ctx.path) {
      case '/page':
        ctx.body = 'page'
        return
      case '/read':
        ctx.body = `${ctx.session.userName} ${String(ctx.session.storage['count'] ?? 0)}`
        return
      case '/write':
        ctx.session.storage['text'] = `${Date.now()} ${'x'.repeat(100)}`
        ctx.body = 'written'
        return
      case '/in':
        ctx.session.setPrivileges({ userName: user, privileges: 'browse' })
        ctx.body = 'in'
        return
      case '/out':
        ctx.session = null
        ctx.body = 'out'
        return
      case '/use': {
        const { storage } = ctx.session
        await ctx.session.use(async () => {
          storage['count'] = Number(storage['count'] ?? 0) + 1
        })
        ctx.body = 'used'
        return
      }
      case '/list': {
        const { userName } = sessions.current ?? {}
        ctx.body = JSON.stringify(await sessions.list(userName ?? ''))
        return
      }
      case '/token':
        ctx.body = await ctx.session.createNestedToken({ userName: 'guest of it' })
        return
      case '/open':
        await sessions.terminateAll(user)
        ctx.body = (await sessions.open({ userName: user, applicationId: 'cli' })).token
        return
      case '/postpone':
        await ctx.session.postpone()
        ctx.body = 'postponed'
        return
      case '/admin':
        await isAdmin(ctx, next)
        return
      default:
        ctx.throw(404)
    }
  })
  const listening = app.listen(0, '127.0.0.1')
  // Clients that wait for each other keep their connections.
  listening.keepAliveTimeout = 0
  await once(listening, 'listening')
  const address = listening.address()
  if (address === null || typeof address === 'string') throw new Error('no TCP port')
  return { sessions, listening, port: address.port }
}
