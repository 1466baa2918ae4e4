import { requirePrivilege } from 'koa-user-sessions'
import { describe, expect, it } from 'vitest'

import { cookieOf, makeApp } from '../support/apps.ts'
import { makeKey, tokensWith } from '../support/tokens.ts'

const guard = requirePrivilege('WebAdmin')
const rights = { userName: 'root', privileges: ['WebAdmin'], roles: [] }

/** What a careless merge elsewhere may have put on all objects, by name, for a session's id. */
function gadgets(id: string): Readonly<Record<string, unknown>> {
  const claims = { sid: id, sub: 'root', gen: 0, act: { sub: 'x' }, ...rights }
  return {
    record: { id, type: 'web', ...rights },
    token: { claims, isNested: true },
    isNested: true,
    claims,
    granted: rights,
    grants: rights,
    held: new Map([['webadmin', 'WebAdmin']]),
    promotions: { has: () => true },
    privileges: ['WebAdmin'],
    roles: ['Admin'],
    userName: 'root',
    loaded: { record: { id, type: 'web', ...rights } },
    credential: { id, secretHash: '' },
    secretHash: '',
    bearer: { status: 'token', token: 'x.y.z' },
    session: rights,
    user: { name: 'root' },
    isSignedIn: true,
    left: { replaces: [id], leavesCarried: true },
    id,
  }
}

async function withPolluted<T>(name: string, value: unknown, run: () => Promise<T>): Promise<T> {
  const present = Object.getOwnPropertyDescriptor(Object.prototype, name)
  const polluted = { value, enumerable: true, configurable: true, writable: true }
  Reflect.defineProperty(Object.prototype, name, polluted)
  try {
    return await run()
  } finally {
    if (present) Reflect.defineProperty(Object.prototype, name, present)
    else Reflect.deleteProperty(Object.prototype, name)
  }
}

describe('a polluted Object.prototype', () => {
  it.each(Object.keys(gadgets('')))('H1: gives no right to anybody: %s', async (name) => {
    const testApp = makeApp(
      { '/admin': (ctx) => guard(ctx, async () => void (ctx.body = 'secret')) },
      { tokens: tokensWith(makeKey('EdDSA')) },
    )
    const cookie = cookieOf(await testApp.visit('/login?user=mallory'))
    const { id } = (await testApp.visit('/me', cookie)).body
    const value = gadgets(id)[name]

    const answers = await withPolluted(name, value, async () => [
      await testApp.visit('/admin'),
      await testApp.visit('/admin', cookie),
    ])

    expect(answers.map(({ text }) => text)).not.toContain('secret')
    expect(answers[0]?.status).toBeGreaterThanOrEqual(400)
    expect((await testApp.visit('/admin', cookie)).status).toBe(403)
  })
})
