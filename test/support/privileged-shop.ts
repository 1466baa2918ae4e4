import type { RolesFile, SessionsOptions } from 'koa-user-sessions'
import type { Response } from 'supertest'

import { makeApp } from './apps.ts'
import type { Handler, TestApp } from './apps.ts'

export const roles = {
  privileges: [
    { privilege: 'browse' },
    { privilege: 'seePrices', includes: ['browse'] },
    { privilege: 'editStock', includes: ['seePrices'] },
    { privilege: 'audit' },
    { privilege: 'WebAdmin', includes: ['editStock', 'audit'] },
  ],
  roles: [
    { role: 'Clerk', privileges: ['seePrices'] },
    { role: 'Manager', privileges: ['editStock', 'audit'] },
    { role: 'Idle', privileges: [] },
  ],
} as const satisfies RolesFile

export interface Client {
  get(path: string): PromiseLike<Response>
}

/** A test app whose requests do what the test says, and a browser for it. */
export interface Shop extends TestApp {
  readonly client: Client
  /** Runs `work` in a request, and throws the error of that request. */
  readonly run: (work: Handler, client?: Client) => Promise<Response>
}

export function openShop(options: SessionsOptions = { roles }): Shop {
  const works: Handler[] = []
  const testApp = makeApp({ '/run': (ctx, app) => works.shift()?.(ctx, app) }, options)
  const client = testApp.browser()
  async function run(work: Handler, by: Client = client): Promise<Response> {
    works.push(work)
    const response = await by.get('/run')
    if (testApp.errors.length > 0) throw testApp.errors[0]
    return response
  }
  return { ...testApp, client, run }
}

/** Calls a method like code without types. */
export function call(session: object, method: string, argument: unknown): unknown {
  return Reflect.apply(Reflect.get(session, method), session, [argument])
}
