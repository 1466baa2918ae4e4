// Sessions that live longer than their request: those of sockets and of `run()`.

import { Sessions } from 'koa-user-sessions'
import type { Session } from 'koa-user-sessions'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { cookieOf, makeApp, storeKinds } from '../support/apps.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'
import { makeKey, tokensWith } from '../support/tokens.ts'

const tokens = tokensWith(makeKey('EdDSA'))
const second = 1000
const ended = { code: 'ERR_SESSION_ENDED' }

function passTime(ms: number): void {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + ms })
  onTestFinished(() => {
    vi.useRealTimers()
  })
}

/** What a session still does. */
async function triesOf(session: Session): Promise<readonly unknown[]> {
  return [
    session.hasPrivilege('browse'),
    await session.touch().catch((error: unknown) => error),
    await Promise.resolve()
      .then(() => (session.storage['a'] = 1))
      .catch((error: unknown) => error),
    await session.use(() => {}).catch((error: unknown) => error),
  ]
}

describe.each(storeKinds)('a session that outlives its request, with a %s', (_, makeStore) => {
  it('X7: ends with its token', async () => {
    const { sessions } = makeApp({}, { store: makeStore(), tokens })
    const { session } = await sessions.open({ userName: 'ann', applicationId: 'cli' })
    const input = { userName: 'bob', privileges: 'browse', lifetime: 60 }
    const token = await session.createNestedToken(input)

    const tries = await sessions.run(token, async (nested) => {
      const before = await triesOf(nested)
      passTime(66 * second)
      return [before, await triesOf(nested)]
    })

    expect(tries).toEqual([
      [true, undefined, 1, undefined],
      [false, ...Array.from({ length: 3 }, () => expect.objectContaining(ended))],
    ])
  })

  it('X3, X7: never outlives the token that created its own', async () => {
    const { sessions } = makeApp({}, { store: makeStore(), tokens })
    const { session } = await sessions.open({ userName: 'ann', applicationId: 'cli' })
    const token = await session.createNestedToken({ userName: 'bob', lifetime: 60 })

    const exps = await sessions.run(token, async (nested) => {
      const inner = await nested.createNestedToken({ userName: 'carl', lifetime: 3600 })
      return [nested.token?.exp, await sessions.run(inner, (deepest) => deepest.token?.exp)]
    })

    expect(exps[0]).toBeTypeOf('number')
    expect(exps[1]).toBe(exps[0])
  })

  it('X7: has the rights of now after touch(), and ends when its user is gone', async () => {
    const { sessions, visit } = makeApp({}, { store: makeStore() })
    const req = Object.assign(Object.create(null), {
      headers: { cookie: cookieOf(await visit('/login')) },
      headersDistinct: {},
      socket: {},
    })
    const session = await sessions.fromRequest(req)
    await sessions.setPrivileges('ann', 'audit')

    const before = session?.hasPrivilege('audit')
    await session?.touch()
    const after = session?.hasPrivilege('audit')
    await sessions.clearPrivileges('ann')

    expect([before, after]).toEqual([false, true])
    await expect(session?.touch()).rejects.toMatchObject(ended)
  })

  it('X7: lets regenerate() of the stored-procedure session end its nested tokens', async () => {
    const { sessions } = makeApp(
      {},
      { store: makeStore(), tokens: { ...tokens, lifetimeSeconds: 60 } },
    )
    const own = await sessions.storedProcedure()
    const token = await own.createNestedToken({ userName: 'bob' })
    expect(await sessions.run(token, ({ userName }) => userName)).toBe('bob')

    await own.regenerate()

    await expect(sessions.run(token, () => {})).rejects.toMatchObject({ code: 'ERR_SESSION_TOKEN' })
  })
})

it('X7: keeps the stored-procedure session of another prefix closed to a token', async () => {
  const redis = connectRedis()
  const options = { redis, tokens: { ...tokens, lifetimeSeconds: 60 } }
  const production = new Sessions({ ...options, prefix: uniquePrefix() })
  const staging = new Sessions({ ...options, prefix: uniquePrefix() })
  await production.storedProcedure()
  const own = await staging.storedProcedure()
  const token = await own.createNestedToken({ userName: 'root' })

  expect(await staging.run(token, ({ userName }) => userName)).toBe('root')
  await expect(production.run(token, () => {})).rejects.toMatchObject({ code: 'ERR_SESSION_TOKEN' })
})
