import { randomBytes } from 'node:crypto'

import type { SessionsOptions } from 'koa-user-sessions'

import { readFields } from './form.ts'
import type { ShopContext } from './shop.ts'
import { findUser } from './users.ts'

const applicationId = 'demo-cli'

/** What the sessions need for clients that are not browsers: see examples/remote-client.ts. */
export function apiOptions() {
  return {
    tokens: {
      // New at each start, so that no token outlives one. A real app keeps its keys, where only its
      // processes can read them, and all of these have the same ones.
      keys: [{ kid: 'demo', alg: 'HS256', secret: randomBytes(32) }],
      issuer: 'lantern-and-rope',
      audience: 'lantern-and-rope',
    },
    privilegedTypes: ['web', 'remote'],
    applications: {
      [applicationId]: {
        name: 'Lantern & Rope on the command line',
        client: 'desktop',
        official: true,
      },
    },
  } satisfies SessionsOptions
}

/** `POST /api/sessions` */
export async function openSession(ctx: ShopContext): Promise<void> {
  const fields = await readFields(ctx)
  const user = await findUser(fields.get('name') ?? '', fields.get('password') ?? '')
  if (!user) {
    // RFC 9110 section 15.5.2: a 401 names a challenge.
    const headers = { 'WWW-Authenticate': 'Bearer realm="shop"' }
    return ctx.throw(401, 'that name and password do not belong together', { headers })
  }
  const said = (name: string): string => fields.get(name) ?? ''
  const { token, session } = await ctx.state.sessions.open({
    userName: user.name,
    roles: user.role,
    applicationId,
    client: {
      appVersion: said('appVersion'),
      machineName: said('machineName'),
      systemUserName: said('systemUserName'),
      platform: said('platform'),
      systemVersion: said('systemVersion'),
      ip: ctx.ip,
    },
  })
  const { signIns } = ctx.state.shop
  signIns.set(user.name, (signIns.get(user.name) ?? 0) + 1)
  ctx.status = 201
  ctx.body = { token, expires: session.expirationDate }
}

/** `DELETE /api/sessions/current`, behind `requireUser()`. */
export function endSession(ctx: ShopContext): void {
  ctx.session = null
  ctx.status = 204
}

/** `GET /api/me`, behind the same guard. */
export function showMe(ctx: ShopContext): void {
  const { userName, expirationDate, info } = ctx.session
  ctx.body = { userName, privileges: ctx.session.getPrivileges(), until: expirationDate, info }
}

/** `GET /api/stock`, behind `requirePrivilege('editStock')`: clerks may not see it. */
export function listStock(ctx: ShopContext): void {
  ctx.body = Object.fromEntries(ctx.state.shop.stock)
}
