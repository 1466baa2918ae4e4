import { requirePrivilege, requireUser } from 'koa-user-sessions'
import type { OpenInput, SessionsOptions } from 'koa-user-sessions'
import supertest from 'supertest'
import type { Response } from 'supertest'

import { makeApp } from './apps.ts'
import type { Handler, TestApp } from './apps.ts'
import { makeKey, tokensWith } from './tokens.ts'

export const key = makeKey('HS256')
export const tokens = tokensWith(key)
export const privilegedTypes = ['web', 'rest', 'remote'] as const
export const invalid = 'Bearer realm="session", error="invalid_token"'
export const malformed = 'Bearer realm="session", error="invalid_request"'
export const insufficient = 'Bearer realm="session", error="insufficient_scope"'
export const both = 'Bearer realm="session", Cookie realm="session"'

const auditors = requirePrivilege('audit')
const users = requireUser()
export const handlers: Readonly<Record<string, Handler>> = {
  '/audit': (ctx) => auditors(ctx, async () => void (ctx.body = 'inside')),
  '/user': (ctx) => users(ctx, async () => void (ctx.body = 'inside')),
  '/grant': ({ session, query }) => session.setPrivileges(String(query['privileges'])),
  '/destroy': ({ session }) => session.destroy(),
  '/404': (ctx) => ctx.throw(404),
}

export interface BearerApp extends TestApp {
  readonly open: (input?: Partial<OpenInput>) => Promise<{ id: string; token: string }>
  /** One GET request with an `Authorization` header. */
  readonly call: (path: string, token: string, cookie?: string) => Promise<Response>
}

export function makeBearerApp(
  options: SessionsOptions = {},
  more: Readonly<Record<string, Handler>> = {},
): BearerApp {
  const testApp = makeApp({ ...handlers, ...more }, { tokens, privilegedTypes, ...options })
  return {
    ...testApp,
    async open(input) {
      const given = { userName: 'ann', applicationId: 'cli', privileges: 'browse', ...input }
      const { session, token } = await testApp.sessions.open(given)
      return { id: session.id, token }
    },
    async call(path, token, cookie) {
      const asked = supertest(testApp.app.callback()).get(path)
      asked.set('Authorization', `Bearer ${token}`)
      if (cookie !== undefined) asked.set('Cookie', cookie)
      return asked
    },
  }
}
