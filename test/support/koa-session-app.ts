import { createRequire } from 'node:module'

import Koa from 'koa'
import supertest from 'supertest'
import type { Response } from 'supertest'

import { setCookies } from './apps.ts'

/** The keys of {@link koaSessionApp}. */
export const oldKeys: string[] = ['an old signing key']

/**
 * An app on koa-session, loaded without its types, which exclude ours. `/login?user=ann` signs in
 * and fills a cart, `/me` returns the whole session.
 *
 * @param options Of koa-session.
 */
export function koaSessionApp(options: object = {}): Koa {
  const module: unknown = createRequire(import.meta.url)('koa-session')
  const create: unknown = Reflect.get(Object(module), 'default')
  if (typeof create !== 'function') throw new TypeError('koa-session is another one')
  const app = new Koa()
  app.keys = oldKeys
  const middleware: unknown = Reflect.apply(create, undefined, [options, app])
  if (typeof middleware !== 'function') throw new TypeError('koa-session is another one')
  app.use((ctx, next) => Reflect.apply(middleware, undefined, [ctx, next]))
  app.use((ctx) => {
    const session: unknown = Reflect.get(ctx, 'session')
    if (ctx.path === '/login') {
      Object.assign(Object(session), { user: { name: ctx.query['user'] }, cart: ['tea', 'milk'] })
      ctx.body = 'signed in'
    } else if (ctx.path === '/logout') {
      Reflect.set(ctx, 'session', null)
      ctx.body = 'signed out'
    } else ctx.body = session
  })
  return app
}

/** The cookies of one browser, for any app of one host. */
export class CookieJar {
  readonly cookies = new Map<string, string>()

  /** The `Cookie` header. */
  get header(): string {
    return [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
  }

  /** One GET request of the browser. */
  async visit(app: Koa, path: string): Promise<Response> {
    const request = supertest(app.callback()).get(path).redirects(0)
    const response = await (this.cookies.size > 0 ? request.set('Cookie', this.header) : request)
    this.take(response)
    return response
  }

  take(response: Response): void {
    for (const header of setCookies(response)) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(header) ?? []
      const expires = /; expires=([^;]+)/i.exec(header)?.[1]
      const isOver = /; max-age=0/i.test(header) || (expires && Date.parse(expires) < Date.now())
      if (isOver) this.cookies.delete(name)
      else this.cookies.set(name, value)
    }
  }
}
