import type { Context } from 'koa'

import { cookieOf } from './apps.ts'
import type { TestApp } from './apps.ts'

export const ended = { status: 401, code: 'ERR_SESSION_ENDED' }
export const storeFailed = { status: 503, code: 'ERR_SESSION_STORE' }

/** A client's session, with its id and cookie. */
export async function signedIn(
  testApp: TestApp,
  user = 'ann',
): Promise<{ cookie: string; id: string }> {
  const response = await testApp.visit(`/login?user=${user}`)
  const cookie = cookieOf(response)
  const { body } = await testApp.visit('/me', cookie)
  return { cookie, id: body.id }
}

export function writes(ctx: Context): void {
  ctx.session.storage.a = 1
  ctx.body = 'ok'
}

/** The reason with which a promise is rejected. */
export async function failureOf(work: Promise<unknown>): Promise<unknown> {
  try {
    await work
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}
