import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import { inspect } from 'node:util'

import type { Context } from 'koa'
import { MemoryStore, requirePrivilege, requireSameOrigin, SessionError } from 'koa-user-sessions'
import supertest from 'supertest'
import type { Response } from 'supertest'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { sessionKey } from '../../src/store/redis/keys.ts'
import { grant, policy } from '../store/contract-parts.ts'
import { cookieOf, makeApp, setCookies, storeKinds } from '../support/apps.ts'
import type { Handler, TestApp } from '../support/apps.ts'
import {
  both,
  handlers,
  insufficient,
  invalid,
  key,
  makeBearerApp,
  malformed,
} from '../support/bearer-app.ts'
import { commandName, countCommands } from '../support/command-count.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'
import { passRedisTime } from '../support/time.ts'
import { decode, signed } from '../support/tokens.ts'

/** The status, the challenge and the code in the response of a test app. */
function refusalOf({ errors }: TestApp, { status, headers }: Response): unknown[] {
  const error = errors.at(-1)
  const code = error instanceof SessionError ? error.code : undefined
  return [status, headers['www-authenticate'], code]
}

/** One raw request, with repeated headers. */
async function ask(
  { app }: TestApp,
  path: string,
  headers: readonly string[],
): Promise<{ status: number | undefined; challenge: string | undefined; body: string }> {
  const server = app.listen(0, '127.0.0.1')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  const all = ['Host', 'localhost', ...headers]
  const outgoing = httpRequest({ host: '127.0.0.1', port, path, headers: all, setHost: false })
  outgoing.end()
  const [response]: IncomingMessage[] = await once(outgoing, 'response')
  const { statusCode: status, headers: answered } = response!
  return { status, challenge: answered['www-authenticate'], body: await text(response!) }
}

const change = async (testApp: TestApp, authorization?: string): Promise<number> => {
  const asked = supertest(testApp.app.callback()).post('/change')
  asked.set('Origin', 'https://evil.example').set('Sec-Fetch-Site', 'cross-site')
  if (authorization !== undefined) asked.set('Authorization', authorization)
  return (await asked).status
}

describe.each(storeKinds)('a bearer token, with a %s', (_, makeStore) => {
  it('X2: opens the session that it was made for, without a cookie', async () => {
    const testApp = makeBearerApp({ store: makeStore() })
    const { id, token } = await testApp.open()

    const response = await testApp.call('/me', token)

    expect(response.status).toBe(200)
    expect(response.body).toMatchObject({
      id,
      isNew: false,
      isGuest: false,
      userName: 'ann',
      privileges: ['browse'],
    })
    expect(setCookies(response)).toEqual([])
    expect(response.headers['vary']).toBe('Cookie, Authorization')
    expect(response.headers).not.toHaveProperty('www-authenticate')
  })

  it('X2: shares its storage with all requests that have it', async () => {
    const testApp = makeBearerApp({ store: makeStore() })
    const { token } = await testApp.open()

    const written = await testApp.call('/write?item=tea', token)

    expect(written.status).toBe(200)
    expect(setCookies(written)).toEqual([])
    expect((await testApp.call('/me', token)).body.storage).toEqual({ item: 'tea' })
  })

  it.each(['', 'x', 'a.b.c', '..', 'eyJhbGciOiJub25lIn0.e30.'])(
    'X2: is bad when it is %j, even beside a good cookie',
    async (bad) => {
      const testApp = makeBearerApp({ store: makeStore() })
      const cookie = cookieOf(await testApp.visit('/login'))

      const response = await testApp.call('/me', bad, cookie)

      const isMalformed = bad === ''
      expect(refusalOf(testApp, response)).toEqual([
        isMalformed ? 400 : 401,
        isMalformed ? malformed : invalid,
        'ERR_SESSION_TOKEN',
      ])
      expect(response.headers['vary']).toBe('Cookie, Authorization')
      expect(setCookies(response)).toEqual([])
    },
  )

  it('X2: is bad when its session has ended, here or in another process', async () => {
    const store = makeStore()
    const [here, there] = [makeBearerApp({ store }), makeBearerApp({ store })]
    const [one, other] = [await here.open(), await here.open()]
    expect((await here.call('/me', one.token)).status).toBe(200)
    expect((await here.call('/me', other.token)).status).toBe(200)

    expect(await here.sessions.terminate(one.id)).toBe(true)
    expect(await there.sessions.terminate(other.id)).toBe(true)

    for (const { token } of [one, other]) {
      const response = await here.call('/me', token)
      expect(refusalOf(here, response)).toEqual([401, invalid, 'ERR_SESSION_TOKEN'])
    }
  })

  it('X2: is bad for a session that never existed', async () => {
    const testApp = makeBearerApp({ store: makeStore() })
    const { token } = await testApp.open()
    const header = decode(token, 0)
    const sid = '3b241101-e2bb-4255-8caf-4136c566a962'

    const response = await testApp.call('/me', signed(key, header, { ...decode(token, 1), sid }))

    expect(refusalOf(testApp, response)).toEqual([401, invalid, 'ERR_SESSION_TOKEN'])
  })

  it("X2: is bad for a browser's session, whoever signed it", async () => {
    const testApp = makeBearerApp({ store: makeStore() })
    const browser = testApp.browser()
    await browser.get('/login?user=ann')
    const { id } = (await browser.get('/me')).body
    const { token } = await testApp.open()
    const forged = signed(key, decode(token, 0), { ...decode(token, 1), sid: id })

    const response = await testApp.call('/me', forged)

    expect(refusalOf(testApp, response)).toEqual([401, invalid, 'ERR_SESSION_TOKEN'])
  })

  it('X2: is bad once its session has another user', async () => {
    const store = makeStore()
    const testApp = makeBearerApp({ store })
    const { id, token } = await testApp.open()
    const cleared = { clears: true, userName: '', privileges: [], roles: [], signsIn: false }

    expect(await testApp.sessions.clearPrivileges('ann')).toBe(1)
    expect((await testApp.call('/me', token)).body).toMatchObject({
      userName: 'ann',
      isGuest: true,
    })
    expect(await grant(store, id, 'ann', cleared, policy)).toBe(true)

    const response = await testApp.call('/me', token)
    expect(refusalOf(testApp, response)).toEqual([401, invalid, 'ERR_SESSION_TOKEN'])
  })

  it('X2: leaves a cookie beside it alone, which stands for another session', async () => {
    const testApp = makeBearerApp({ store: makeStore() })
    const cookie = cookieOf(await testApp.visit('/login?user=bob'))
    const { token } = await testApp.open()

    for (const path of ['/me', '/write?a=1', '/grant?privileges=audit', '/logout', '/me']) {
      expect(setCookies(await testApp.call(path, token, cookie))).toEqual([])
    }

    expect((await testApp.visit('/me', cookie)).body.userName).toBe('bob')
    expect((await testApp.visit('/me', cookie)).body.storage).toEqual({})
  })

  it('X2: C5: stays the same when its session gains rights', async () => {
    const testApp = makeBearerApp({ store: makeStore() })
    const { id, token } = await testApp.open()

    expect((await testApp.call('/audit', token)).status).toBe(403)
    expect((await testApp.call('/grant?privileges=audit', token)).status).toBe(200)

    expect((await testApp.call('/audit', token)).status).toBe(200)
    expect((await testApp.call('/me', token)).body).toMatchObject({ id, userName: 'ann' })
    expect(testApp.events.map(({ name }) => name)).not.toContain('session:rotated')
  })

  it.each(['/logout', '/destroy'])(
    'S10: ends its session by %s, and sets no cookie',
    async (path) => {
      const testApp = makeBearerApp({ store: makeStore() })
      const { id, token } = await testApp.open()

      const response = await testApp.call(path, token)

      expect(response.status).toBe(200)
      expect(setCookies(response)).toEqual([])
      expect(await testApp.sessions.info(id)).toBeNull()
      expect((await testApp.call('/me', token)).status).toBe(401)
      expect(testApp.events.at(-1)).toEqual({
        name: 'session:ended',
        event: { id, reason: 'destroyed' },
      })
    },
  )

  it('S9: allows regenerate(), which changes nothing for it', async () => {
    const testApp = makeBearerApp(
      { store: makeStore() },
      {
        '/regenerate': async ({ session }) => {
          session.storage['a'] = 1
          await session.regenerate()
        },
      },
    )
    const { id, token } = await testApp.open()

    const response = await testApp.call('/regenerate', token)

    expect(response.status).toBe(200)
    expect(setCookies(response)).toEqual([])
    expect((await testApp.call('/me', token)).body).toMatchObject({ id, storage: { a: 1 } })
  })

  it('S6: keeps its user, whatever the app sets', async () => {
    const thrown: unknown[] = []
    const testApp = makeBearerApp(
      { store: makeStore() },
      {
        '/rename': ({ session }) => {
          for (const userName of ['bob', '']) {
            try {
              session.setPrivileges({ userName, privileges: 'audit' })
            } catch (error) {
              thrown.push(error)
            }
          }
          session.setPrivileges({ userName: 'ann' })
        },
        '/clear': ({ session }) => void (session.storage['cleared'] = session.clearPrivileges()),
      },
    )
    const { token } = await testApp.open()

    await testApp.call('/rename', token)
    expect(thrown).toEqual([expect.any(TypeError), expect.any(TypeError)])
    expect((await testApp.call('/me', token)).body.privileges).toEqual(['browse'])

    await testApp.call('/clear', token)
    expect((await testApp.call('/me', token)).body).toMatchObject({
      userName: 'ann',
      privileges: [],
      storage: { cleared: true },
    })
    expect(await testApp.sessions.list('ann')).toHaveLength(1)
  })

  it('F1: gets 503 while the store fails, and no guard lets it pass', async () => {
    for (const onStoreError of ['fail', 'guest'] as const) {
      const testApp = makeBearerApp({ store: makeStore(), onStoreError })
      const { token } = await testApp.open()
      testApp.store.faults.set('load', 'rejects')

      const response = await testApp.call('/user', token)

      expect(refusalOf(testApp, response)).toEqual([503, undefined, 'ERR_SESSION_STORE'])
      expect(response.headers['retry-after']).toBe('1')
      expect((await testApp.call('/page', token)).status).toBe(200)
    }
  })
})

describe('the challenges', () => {
  it('X2: are both sent without an error code for a guest', async () => {
    const testApp = makeBearerApp()

    for (const path of ['/user', '/audit']) {
      const response = await testApp.visit(path)
      expect(refusalOf(testApp, response)).toEqual([401, both, 'ERR_SESSION_GUEST'])
      expect(response.headers['vary']).toBe('Cookie, Authorization')
    }
  })

  it('X2: report a missing privilege to bearer callers only', async () => {
    const testApp = makeBearerApp()
    const { token } = await testApp.open()
    const cookie = cookieOf(await testApp.visit('/login'))

    expect(refusalOf(testApp, await testApp.call('/audit', token))).toEqual([
      403,
      insufficient,
      'ERR_SESSION_PRIVILEGE',
    ])
    expect(refusalOf(testApp, await testApp.visit('/audit', cookie))).toEqual([
      403,
      undefined,
      'ERR_SESSION_PRIVILEGE',
    ])
  })

  it('X2: call a token bad without repeating it or giving a reason', async () => {
    const testApp = makeBearerApp()

    const response = await testApp.call('/me', 'not.a.token')

    expect(response.text).toBe('the bearer token is invalid')
    expect(inspect(testApp.errors, { depth: Infinity })).not.toContain('not.a.token')
  })

  it('G3: are part of the error that onDenied gets', async () => {
    const headers: unknown[] = []
    const guard = requirePrivilege('audit', {
      onDenied: (ctx, error) => {
        headers.push(error.headers)
        ctx.status = 418
      },
    })
    const testApp = makeBearerApp({}, { '/denied': (ctx) => guard(ctx, async () => {}) })
    const { token } = await testApp.open()

    expect((await testApp.call('/denied', token)).status).toBe(418)
    expect((await testApp.visit('/denied')).status).toBe(418)

    expect(headers).toEqual([
      { 'WWW-Authenticate': insufficient },
      { 'WWW-Authenticate': ['Bearer realm="session"', 'Cookie realm="session"'] },
    ])
  })

  it('X2: report a session that ends while it is used', async () => {
    const testApp = makeBearerApp(
      {},
      {
        '/late': async ({ session }, { sessions }) => {
          session.storage['a'] = 1
          await sessions.terminate(session.id)
          await session.save()
        },
      },
    )
    const { token } = await testApp.open()
    const cookie = cookieOf(await testApp.visit('/login'))

    expect(refusalOf(testApp, await testApp.call('/late', token))).toEqual([
      401,
      invalid,
      'ERR_SESSION_ENDED',
    ])
    expect(refusalOf(testApp, await testApp.visit('/late', cookie))).toEqual([
      401,
      both,
      'ERR_SESSION_ENDED',
    ])
  })

  it('X2: are Cookie alone without the option tokens, which also ignores the header', async () => {
    const testApp = makeApp(handlers)
    const cookie = cookieOf(await testApp.visit('/login?privileges=audit'))
    const { open } = makeBearerApp()
    const { token } = await open()

    for (const header of [`Bearer ${token}`, 'Bearer', 'Bearer x', 'Basic x']) {
      const asked = supertest(testApp.app.callback())
      const guest = await asked.get('/user').set('Authorization', header)
      expect(refusalOf(testApp, guest)).toEqual([
        401,
        'Cookie realm="session"',
        'ERR_SESSION_GUEST',
      ])
      const user = await asked.get('/audit').set('Authorization', header).set('Cookie', cookie)
      expect(user.status).toBe(200)
      expect(user.headers['vary']).toBe('Cookie')
    }
    await expect(testApp.sessions.open({ userName: 'a', applicationId: 'b' })).rejects.toThrow(
      /needs the option "tokens"/,
    )
  })
})

describe('the Authorization header', () => {
  it.each<[string, readonly string[], number, string | undefined]>([
    ['none', [], 401, both],
    ['another scheme', ['Basic YTpi'], 401, both],
    ['two other schemes', ['Basic YTpi', 'Digest x'], 401, both],
    ['Bearer alone', ['Bearer'], 400, malformed],
    ['two tokens in one', ['Bearer a b'], 400, malformed],
    ['two tokens with a comma', ['Bearer a, Bearer b'], 400, malformed],
    ['two of them', ['Bearer a', 'Bearer b'], 400, malformed],
    ['the same twice', ['Bearer TOKEN', 'Bearer TOKEN'], 400, malformed],
    ['Basic beside Bearer', ['Basic YTpi', 'Bearer TOKEN'], 400, malformed],
    ['a bad one', ['Bearer a'], 401, invalid],
    ['a good one', ['Bearer TOKEN'], 200, undefined],
    ['a good one in small letters', ['bearer TOKEN'], 200, undefined],
  ])('X2: is read when there is %s', async (_, given, status, challenge) => {
    const testApp = makeBearerApp()
    const { token } = await testApp.open()
    const headers = given.flatMap((one) => ['Authorization', one.replace('TOKEN', token)])

    expect(await ask(testApp, '/user', headers)).toMatchObject({ status, challenge })
    // A request that does not use the session gets no error.
    expect(await ask(testApp, '/page', headers)).toMatchObject({ status: 200, body: 'page' })
  })

  it('X2: is the only place for a token', async () => {
    const testApp = makeBearerApp()
    const { token } = await testApp.open()
    const agent = supertest(testApp.app.callback())

    expect((await agent.get(`/user?access_token=${token}`)).status).toBe(401)
    const form = agent.post('/user').type('form').send({ access_token: token })
    expect((await form).status).toBe(401)
    expect((await agent.get('/user').set('X-Access-Token', token)).status).toBe(401)
    expect((await agent.get('/user').set('Cookie', `session=${token}`)).status).toBe(401)
    expect((await agent.get('/user').set('Proxy-Authorization', `Bearer ${token}`)).status).toBe(
      401,
    )
  })

  it('X2: adds to Vary, even in the error of a 404', async () => {
    const testApp = makeBearerApp()
    const { token } = await testApp.open()

    expect((await testApp.call('/404', token)).headers['vary']).toBe('Cookie, Authorization')
    expect((await testApp.visit('/page')).headers).not.toHaveProperty('vary')
    expect((await testApp.visit('/404')).headers).not.toHaveProperty('vary')
  })
})

describe('the cost of a bearer request', () => {
  it('L3: equals that of a cookie: one round trip, and a second for a change', async () => {
    const client = connectRedis()
    const testApp = makeBearerApp({ redis: client, prefix: uniquePrefix() })
    const { token } = await testApp.open()
    const cookie = cookieOf(await testApp.visit('/login'))
    // Redis knows both scripts after this: that for a new value, and that for one replaced in place.
    await testApp.call('/write?a=0', token)
    await testApp.call('/write?a=9', token)
    await testApp.call('/me', token)
    const count = async (work: () => Promise<unknown>): Promise<string[]> =>
      (await countCommands({ client }, async () => void (await work()))).map(commandName)

    expect(await count(() => testApp.call('/me', token))).toEqual(['GET'])
    expect(await count(() => testApp.visit('/me', cookie))).toEqual(['GET'])
    expect(await count(() => testApp.call('/page', token))).toEqual(['GET'])
    expect(await count(() => testApp.call('/write?a=1', token))).toEqual(['GET', 'EVALSHA'])
    expect(await count(() => testApp.visit('/write?a=1', cookie))).toEqual(['GET', 'EVALSHA'])
  })

  it('X2: is no Redis command when the token is bad', async () => {
    const client = connectRedis()
    const testApp = makeBearerApp({ redis: client, prefix: uniquePrefix() })
    const { token } = await testApp.open()

    const commands = await countCommands({ client }, async () => {
      for (const bad of ['x', `${token}x`, token.slice(0, -2), `a${token}`]) {
        expect((await testApp.call('/me', bad)).status).toBe(401)
      }
    })

    expect(commands).toEqual([])
  })

  it('L4: includes a refresh when one is due, and not before', async () => {
    const client = connectRedis()
    const prefix = uniquePrefix()
    const testApp = makeBearerApp({ redis: client, prefix })
    const { id, token } = await testApp.open()
    const key = sessionKey(prefix, id)

    await passRedisTime(client, prefix, 30_000)
    await testApp.call('/page', token)
    expect(await client.pttl(key)).toBeLessThanOrEqual(3_630_000)
    await passRedisTime(client, prefix, 60_000)
    await testApp.call('/page', token)
    // It is sent after the reply to the load.
    await vi.waitFor(async () => expect(await client.pttl(key)).toBeGreaterThan(3_640_000))
  })
})

describe('requireSameOrigin', () => {
  it('M12: exempts bearer callers only when tokens are on', async () => {
    const guard = requireSameOrigin()
    const guarded: Handler = (ctx: Context) => guard(ctx, async () => void (ctx.body = 'inside'))
    const withTokens = makeBearerApp({}, { '/change': guarded })
    const { token } = await withTokens.open()
    const without = makeApp({ '/change': guarded })
    expect(await change(withTokens, `Bearer ${token}`)).toBe(200)
    expect(await change(withTokens)).toBe(403)
    expect(await change(withTokens, 'Basic YTpi')).toBe(403)
    expect(await change(without, `Bearer ${token}`)).toBe(403)
  })
})

describe('fromRequest()', () => {
  it('M9: finds the session of a bearer token, and null for a bad one', async () => {
    const testApp = makeBearerApp({ store: new MemoryStore() })
    const { id, token } = await testApp.open()
    const cookie = cookieOf(await testApp.visit('/login'))
    const found: (string | undefined)[] = []
    testApp.app.middleware.unshift(async (ctx) => {
      found.push((await testApp.sessions.fromRequest(ctx.req))?.id)
      ctx.body = ''
    })

    await testApp.call('/', token)
    await testApp.call('/', 'x', cookie)
    await testApp.call('/', '', cookie)
    await testApp.visit('/')

    expect(found).toEqual([id, undefined, undefined, undefined])
  })
})
