import { EventEmitter, once } from 'node:events'
import { inspect } from 'node:util'

import { requirePrivilege, requireUser } from 'koa-user-sessions'
import type { NestedTokenInput, SessionsOptions } from 'koa-user-sessions'
import supertest from 'supertest'
import type { Response } from 'supertest'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { cookieOf, makeApp, recordWarnings, setCookies, storeKinds } from '../support/apps.ts'
import type { Handler, TestApp } from '../support/apps.ts'
import { decode, makeKey, signed, tokensWith } from '../support/tokens.ts'

const key = makeKey('EdDSA')
const tokens = tokensWith(key)
const roles = {
  privileges: [
    { privilege: 'browse' },
    { privilege: 'edit', includes: ['browse'] },
    { privilege: 'audit' },
  ],
  roles: [{ role: 'Clerk', privileges: ['browse'] }],
}

interface NestedApp extends TestApp {
  /** What a handler returns to a caller: one with a cookie, or one with a token. */
  readonly as: (caller: string, path: string, headers?: object) => Promise<Response>
  /** A nested token that the session of this caller creates. */
  readonly nest: (caller: string, input?: object, headers?: object) => Promise<string>
}

/** Takes rights from the session of a cookie. */
type Take = (what: { readonly testApp: TestApp; readonly cookie: string }) => Promise<unknown>

const handlers: Readonly<Record<string, Handler>> = {
  '/nest': async (ctx) => {
    const input: NestedTokenInput = JSON.parse(String(ctx.query['input']))
    ctx.body = await ctx.session.createNestedToken(input)
  },
  '/seen': (ctx) => {
    const { session } = ctx
    ctx.body = {
      id: session.id,
      type: session.type,
      userName: session.userName,
      user: session.user,
      actor: session.actor,
      act: session.token?.act,
      isGuest: session.isGuest(),
      privileges: session.getPrivileges(),
      culture: session.clientCulture,
      uiCulture: session.clientUICulture,
      utcOffset: session.clientUtcOffset,
      storage: { ...session.storage },
      info: session.info,
      json: session.toJSON(),
      inspected: inspect(session),
    }
  },
  '/rotate': ({ session }) => session.regenerate(),
}

function makeNestedApp(
  options: SessionsOptions = {},
  more: Readonly<Record<string, Handler>> = {},
): NestedApp {
  const testApp = makeApp({ ...handlers, ...more }, { tokens, roles, ...options })
  const as: NestedApp['as'] = async (caller, path, headers = {}) => {
    const isCookie = caller.startsWith('session=')
    const name = isCookie ? 'Cookie' : 'Authorization'
    const asked = supertest(testApp.app.callback())
      .get(path)
      .set({ ...headers })
    return asked.set(name, isCookie ? caller : `Bearer ${caller}`)
  }
  return {
    ...testApp,
    as,
    async nest(caller, input = {}, headers = {}) {
      const given = encodeURIComponent(JSON.stringify({ userName: 'bob', ...input }))
      const response = await as(caller, `/nest?input=${given}`, headers)
      if (response.status !== 200) throw testApp.errors.at(-1)
      return response.text
    },
  }
}

async function signIn(testApp: TestApp, user = 'ann'): Promise<string> {
  return cookieOf(await testApp.visit(`/login?user=${user}&privileges=edit`))
}

describe.each(storeKinds)('a nested token, with a %s', (_, makeStore) => {
  it("X3: is another user's view of the session that created it", async () => {
    const testApp = makeNestedApp({ store: makeStore() })
    const cookie = await signIn(testApp)
    await testApp.visit('/write?item=tea', cookie)
    const { id } = (await testApp.visit('/me', cookie)).body

    const token = await testApp.nest(cookie, { privileges: 'audit', roles: ['clerk'] })
    const seen = (await testApp.as(token, '/seen')).body

    expect(seen).toMatchObject({
      id,
      type: 'web',
      userName: 'bob',
      user: { name: 'bob' },
      actor: 'ann',
      act: { sub: 'ann' },
      isGuest: false,
      storage: { item: 'tea' },
      info: { ID: id, userName: 'bob', type: 'web' },
    })
    expect(seen.privileges.toSorted()).toEqual(['audit', 'browse'])
  })

  it('X3: writes the storage of the session, and sets no cookie', async () => {
    const testApp = makeNestedApp({ store: makeStore() })
    const cookie = await signIn(testApp)
    const token = await testApp.nest(cookie)

    const response = await testApp.as(token, '/write?by=bob')

    expect(setCookies(response)).toEqual([])
    expect((await testApp.visit('/me', cookie)).body).toMatchObject({
      userName: 'ann',
      privileges: expect.arrayContaining(['edit', 'browse']),
      storage: { by: 'bob' },
    })
  })

  it('X3: sees earlier changes of the request that created it', async () => {
    const testApp = makeNestedApp(
      { store: makeStore() },
      {
        '/within': async (ctx, { sessions }) => {
          ctx.session.storage['item'] = 'milk'
          const token = await ctx.session.createNestedToken({ userName: 'bob' })
          ctx.body = await sessions.run(token, ({ storage }) => ({ ...storage }))
        },
      },
    )
    const cookie = await signIn(testApp)

    expect((await testApp.visit('/within', cookie)).body).toEqual({ item: 'milk' })
  })

  it('X3: dies with its session, in every process', async () => {
    const store = makeStore()
    const [here, there] = [makeNestedApp({ store }), makeNestedApp({ store })]
    for (const end of ['/logout', 'terminate', 'terminateAll']) {
      const cookie = await signIn(here)
      const token = await here.nest(cookie)
      const inner = await here.nest(token)
      const { id } = (await there.as(token, '/seen')).body
      expect((await there.as(inner, '/seen')).status).toBe(200)

      if (end === 'terminate') await here.sessions.terminate(id)
      else if (end === 'terminateAll') await here.sessions.terminateAll('ann')
      else await here.visit(end, cookie)

      for (const app of [here, there]) {
        expect((await app.as(token, '/seen')).status).toBe(401)
        expect((await app.as(inner, '/seen')).status).toBe(401)
      }
    }
  })

  it.each<[string, Take]>([
    ['a rotated cookie', ({ testApp, cookie }) => testApp.visit('/rotate', cookie)],
    ['a gain of rights', ({ testApp, cookie }) => testApp.visit('/gain', cookie)],
    ['another user', ({ testApp, cookie }) => testApp.visit('/login?user=carl', cookie)],
    ['rights that the session gives up', ({ testApp, cookie }) => testApp.visit('/clear', cookie)],
    [
      'rights that are taken from outside',
      ({ testApp }) => testApp.sessions.clearPrivileges('ann'),
    ],
    [
      'rights that are replaced from outside',
      ({ testApp }) => testApp.sessions.setPrivileges('ann', 'browse', { replace: true }),
    ],
  ])('X3: dies by %s, as does a token created with it', async (_name, take) => {
    const handlersOfTaking: Readonly<Record<string, Handler>> = {
      '/gain': ({ session }) => void session.setPrivileges('audit'),
      '/clear': ({ session }) => void session.clearPrivileges(),
    }
    const testApp = makeNestedApp({ store: makeStore() }, handlersOfTaking)
    const cookie = await signIn(testApp)
    const token = await testApp.nest(cookie)
    const inner = await testApp.nest(token)
    expect((await testApp.as(inner, '/seen')).status).toBe(200)

    await take({ testApp, cookie })

    expect((await testApp.as(token, '/seen')).status).toBe(401)
    expect((await testApp.as(inner, '/seen')).status).toBe(401)
  })

  it('X3, X5: survives a browser that joins its session', async () => {
    const testApp = makeNestedApp(
      { store: makeStore() },
      {
        '/otp': async (ctx) => void (ctx.body = await ctx.session.createOTP()),
        '/join': async (ctx) =>
          void (ctx.body = String(await ctx.session.restore(String(ctx.query['otp'])))),
      },
    )
    const cookie = await signIn(testApp)
    const token = await testApp.nest(cookie)
    const otp = (await testApp.visit('/otp', cookie)).text

    expect((await testApp.visit(`/join?otp=${otp}`)).text).toBe('true')
    expect((await testApp.as(token, '/seen')).status).toBe(200)
  })

  it('X3: is not created by a request whose secret the store no longer knows', async () => {
    const events = new EventEmitter()
    const running = once(events, 'running')
    const going = once(events, 'go on')
    const testApp = makeNestedApp(
      { store: makeStore() },
      {
        '/slow': async (ctx) => {
          void ctx.session.userName
          events.emit('running')
          await going
          ctx.body = await ctx.session.createNestedToken({ userName: 'friend' })
        },
      },
    )
    const cookie = await signIn(testApp)
    const slow = testApp.visit('/slow', cookie)
    const answered = slow.then(({ status }) => status)
    await running

    await testApp.visit('/rotate', cookie)
    events.emit('go on')

    expect(await answered).toBe(401)
  })

  it('X3: is no activity of the session', async () => {
    const testApp = makeNestedApp({ store: makeStore() })
    const cookie = await signIn(testApp)
    const token = await testApp.nest(cookie)
    const load = vi.spyOn(testApp.store, 'load')

    await testApp.as(token, '/seen')

    expect(load.mock.calls.map(([, , isActivity]) => isActivity)).toEqual([false])
  })

  it('X3: does not follow a session that continues as another one', async () => {
    const testApp = makeNestedApp({ store: makeStore() })
    const cookie = await signIn(testApp)
    const token = await testApp.nest(cookie)

    await testApp.visit('/login?user=carl', cookie)

    expect((await testApp.as(token, '/seen')).status).toBe(401)
  })

  it('X3: can be created in a remote session, and in that of the server', async () => {
    const testApp = makeNestedApp({ store: makeStore() })
    const remote = await testApp.sessions.open({ userName: 'ann', applicationId: 'cli' })
    const procedure = await testApp.sessions.storedProcedure()
    const input = { userName: 'bob', privileges: 'audit', lifetime: 60 }

    const inRemote = await testApp.nest(remote.token, { privileges: 'audit' })
    const inProcedure = await procedure.createNestedToken(input)

    expect((await testApp.as(inRemote, '/seen')).body).toMatchObject({
      id: remote.session.id,
      type: 'remote',
      userName: 'bob',
      actor: 'ann',
      privileges: ['audit'],
    })
    expect((await testApp.as(inProcedure, '/seen')).body).toMatchObject({
      id: procedure.id,
      type: 'storedProcedure',
      userName: 'bob',
      actor: 'system',
      privileges: ['audit'],
    })
    await expect(procedure.createNestedToken({ userName: 'bob' })).rejects.toThrow(/"lifetime"/)
  })

  it('M8: cannot end the session of the server', async () => {
    const testApp = makeNestedApp(
      { store: makeStore() },
      { '/destroy': ({ session }) => session.destroy() },
    )
    const procedure = await testApp.sessions.storedProcedure()
    const token = await procedure.createNestedToken({ userName: 'bob', lifetime: 60 })

    for (const path of ['/logout', '/destroy']) {
      expect((await testApp.as(token, path)).status).toBe(500)
      expect(testApp.errors.at(-1)).toBeInstanceOf(TypeError)
    }
    expect((await testApp.as(token, '/seen')).status).toBe(200)
  })
})

describe('the rights of a nested token', () => {
  it('X3: are none by default', async () => {
    const testApp = makeNestedApp()
    const cookie = await signIn(testApp)

    const { body } = await testApp.as(await testApp.nest(cookie), '/seen')

    expect(body).toMatchObject({ isGuest: true, privileges: [], userName: 'bob' })
  })

  it('P3: are the declared ones, with a warning for the others', async () => {
    const testApp = makeNestedApp()
    const cookie = await signIn(testApp)
    const { messages, stop } = recordWarnings()
    onTestFinished(stop)

    const token = await testApp.nest(cookie, { privileges: ['AUDIT', 'typo'], roles: 'Boss' })

    expect(decode(token, 1)).toMatchObject({ privileges: ['audit'], roles: [] })
    expect((await testApp.as(token, '/seen')).body.privileges).toEqual(['audit'])
    expect(messages.toSorted()).toEqual([
      expect.stringContaining('the privilege "typo" is not declared'),
      expect.stringContaining('the role "Boss" is not declared'),
    ])
  })

  it('X3: cannot be changed from within, and cannot end or give away the session', async () => {
    const outcomes: Record<string, unknown> = {}
    const testApp = makeNestedApp(
      {},
      {
        '/try': async (ctx, { sessions }) => {
          const { session } = ctx
          const attempts: Readonly<Record<string, () => unknown>> = {
            setPrivileges: () => session.setPrivileges({ privileges: 'edit', userName: 'carl' }),
            clearPrivileges: () => session.clearPrivileges(),
            idleTimeout: () => (session.idleTimeout = 600),
            createOTP: () => session.createOTP(),
            restore: () => session.restore('A'.repeat(64)),
            regenerate: () => session.regenerate(),
            postpone: () => session.postpone(),
            destroy: () => session.destroy(),
            null: () => (ctx.session = null),
            terminateOthers: () => sessions.terminateOthers(session),
          }
          for (const [name, attempt] of Object.entries(attempts)) {
            try {
              outcomes[name] = await attempt()
            } catch (error) {
              outcomes[name] = error instanceof TypeError ? 'TypeError' : error
            }
          }
        },
      },
    )
    const cookie = await signIn(testApp)
    const token = await testApp.nest(cookie, { privileges: 'audit' })

    const response = await testApp.as(token, '/try')

    expect(response.status).toBe(200)
    expect(Object.keys(outcomes)).toHaveLength(10)
    expect(new Set(Object.values(outcomes))).toEqual(new Set(['TypeError']))
    expect((await testApp.visit('/me', cookie)).body).toMatchObject({ userName: 'ann' })
    expect((await testApp.as(token, '/seen')).body).toMatchObject({ privileges: ['audit'] })
    expect(await testApp.sessions.list('carl')).toEqual([])
  })

  it('X3: are narrower in a token that is created with it, never wider', async () => {
    const testApp = makeNestedApp()
    const token = await testApp.nest(await signIn(testApp), { privileges: 'edit' })
    const inner = await testApp.nest(token, { privileges: 'browse' })

    expect((await testApp.as(inner, '/seen')).body.privileges).toEqual(['browse'])
    await expect(testApp.nest(inner, { privileges: 'edit' })).rejects.toThrow(TypeError)
    await expect(testApp.nest(token, { privileges: 'audit' })).rejects.toThrow(TypeError)
  })

  it('G1: are checked by guards', async () => {
    const [auditors, users] = [requirePrivilege('audit'), requireUser()]
    const testApp = makeNestedApp(
      {},
      {
        '/audit': (ctx) => auditors(ctx, async () => {}),
        '/user': (ctx) => users(ctx, async () => {}),
      },
    )
    const cookie = await signIn(testApp)
    const plain = await testApp.nest(cookie)
    const auditor = await testApp.nest(cookie, { privileges: 'audit' })

    expect((await testApp.as(plain, '/user')).status).toBe(200)
    expect((await testApp.as(plain, '/audit')).status).toBe(403)
    expect((await testApp.as(auditor, '/audit')).status).toBe(200)
  })
})

describe('the actors of a nested token', () => {
  it('X3: are a chain of three at most', async () => {
    const testApp = makeNestedApp()
    const one = await testApp.nest(await signIn(testApp), { userName: 'bob' })
    const two = await testApp.nest(one, { userName: 'carl' })
    const three = await testApp.nest(two, { userName: 'dora' })

    expect((await testApp.as(three, '/seen')).body).toMatchObject({
      userName: 'dora',
      actor: 'carl',
      act: { sub: 'carl', act: { sub: 'bob', act: { sub: 'ann' } } },
    })
    await expect(testApp.nest(three)).rejects.toThrow(/tokens nest 3 deep at most/)
  })

  it('X3: are visible to code that logs the session', async () => {
    const testApp = makeNestedApp()
    const cookie = await signIn(testApp)
    const { json, inspected } = (await testApp.as(await testApp.nest(cookie), '/seen')).body
    const own = (await testApp.visit('/seen', cookie)).body

    expect(json).toMatchObject({ userName: 'bob', actor: 'ann' })
    expect(inspected).toContain("userName: 'bob'")
    expect(inspected).toContain("actor: 'ann'")
    expect(own.json).not.toHaveProperty('actor')
    expect(own.actor).toBeNull()
  })

  it('X3: are signed in: a guest creates no token', async () => {
    const testApp = makeNestedApp()

    const response = await testApp.visit('/nest?input={"userName":"bob"}')

    expect(response.status).toBe(401)
    expect(testApp.errors.at(-1)).toMatchObject({ code: 'ERR_SESSION_GUEST' })
  })
})

describe('what a nested token inherits', () => {
  const headers = {
    'X-Client-Culture': 'de-CH',
    'X-Client-UI-Culture': 'fr',
    'X-Client-UTC-Offset': '-90',
  }
  const others = {
    'X-Client-Culture': 'en',
    'X-Client-UI-Culture': 'en',
    'X-Client-UTC-Offset': '60',
  }

  it('X3: is the culture of the request that created it, whoever sends it', async () => {
    const testApp = makeNestedApp()
    const cookie = await signIn(testApp)
    const token = await testApp.nest(cookie, {}, headers)
    const inner = await testApp.nest(token, {}, others)
    const culture = { culture: 'de-CH', uiCulture: 'fr', utcOffset: -90 }

    for (const one of [token, inner]) {
      expect((await testApp.as(one, '/seen')).body).toMatchObject(culture)
      expect((await testApp.as(one, '/seen', others)).body).toMatchObject(culture)
    }
  })

  it('X3: is nothing when that request had none', async () => {
    const testApp = makeNestedApp()
    const token = await testApp.nest(await signIn(testApp))

    expect((await testApp.as(token, '/seen', others)).body).toMatchObject({
      culture: null,
      uiCulture: null,
      utcOffset: null,
    })
  })
})

describe('createNestedToken()', () => {
  it('X3: creates tokens that live as long as requested, and at most as long as the session', async () => {
    const testApp = makeNestedApp({ absoluteTimeout: 60 })
    const cookie = await signIn(testApp)

    expect(lifeOf(await testApp.nest(cookie, { lifetime: 30 }))).toSatisfy(isJustBelow(30))
    expect(lifeOf(await testApp.nest(cookie, { lifetime: 1e9 }))).toSatisfy(isJustBelow(3600))
    expect(lifeOf(await testApp.nest(cookie))).toSatisfy(isJustBelow(3600))
    const short = makeNestedApp({ tokens: { ...tokens, lifetimeSeconds: 60 } })
    const one = await short.nest(await signIn(short), { lifetime: 600 })
    expect(lifeOf(one)).toSatisfy(isJustBelow(60))
  })

  it.each<[string, object]>([
    ['no user', { userName: undefined }],
    ['an empty user', { userName: '' }],
    ['a long user', { userName: 'x'.repeat(257) }],
    ['a user that is not text', { userName: ['bob'] }],
    ['an unknown name', { isAdmin: true }],
    ['invalid privileges', { privileges: 7 }],
    ['invalid roles', { roles: { 0: 'Clerk' } }],
    ['a comma in an array', { privileges: ['browse,edit'] }],
    ['a lifetime of 0', { lifetime: 0 }],
    ['a lifetime with a fraction', { lifetime: 1.5 }],
    ['a lifetime as text', { lifetime: '60' }],
  ])('X3: refuses %s', async (_, input) => {
    const testApp = makeNestedApp()
    const cookie = await signIn(testApp)

    await expect(testApp.nest(cookie, input)).rejects.toThrow(TypeError)
  })

  it('X3: refuses input whose token would be refused', async () => {
    const open = makeApp(handlers, { tokens })
    const cookie = cookieOf(await open.visit('/login'))
    const nest = (privileges: readonly string[]): Promise<Response> => {
      const input = encodeURIComponent(JSON.stringify({ userName: 'bob', privileges }))
      return open.visit(`/nest?input=${input}`, cookie)
    }

    expect((await nest(namesOf(64))).status).toBe(200)
    expect((await nest(namesOf(65))).status).toBe(500)
    expect((await nest(['x'.repeat(257)])).status).toBe(500)
    const long = await open.visit(`/login?user=${'x'.repeat(257)}`)
    const refused = open.visit('/nest?input={"userName":"bob"}', cookieOf(long))
    expect((await refused).status).toBe(500)
    expect(open.errors.every((error) => error instanceof TypeError)).toBe(true)
  })

  it('X3: requires the option "tokens"', async () => {
    const { visit, errors } = makeApp(handlers)

    expect((await visit('/nest?input={"userName":"bob"}')).status).toBe(500)
    expect(errors).toEqual([expect.any(TypeError)])
  })

  it('X3: throws for a session that has ended', async () => {
    const testApp = makeNestedApp(
      {},
      {
        '/late': async ({ session }) => {
          await session.destroy()
          await session.createNestedToken({ userName: 'bob' })
        },
      },
    )

    const response = await testApp.visit('/late', await signIn(testApp))

    expect(response.status).toBe(401)
    expect(testApp.errors.at(-1)).toMatchObject({ code: 'ERR_SESSION_ENDED' })
  })
})

describe('the kind of a token', () => {
  it('X3: is signed: neither kind passes for the other', async () => {
    const testApp = makeNestedApp()
    const cookie = await signIn(testApp)
    const { token: own } = await testApp.sessions.open({ userName: 'ann', applicationId: 'cli' })
    const nested = await testApp.nest(cookie)
    const swapped = (token: string, typ: string): string =>
      signed(key, { ...decode(token, 0), typ }, decode(token, 1))

    expect(decode(own, 0)['typ']).toBe('session+jwt')
    expect(decode(nested, 0)['typ']).toBe('nested-session+jwt')
    for (const forged of [swapped(own, 'nested-session+jwt'), swapped(nested, 'session+jwt')]) {
      expect((await testApp.as(forged, '/seen')).status).toBe(401)
      await expect(testApp.sessions.run(forged, () => 1)).rejects.toMatchObject({
        code: 'ERR_SESSION_TOKEN',
        status: 401,
      })
    }
    const claims = { ...decode(nested, 1), act: undefined }
    const plain = signed(key, { ...decode(nested, 0), typ: 'session+jwt' }, claims)
    expect((await testApp.as(plain, '/seen')).status).toBe(401)
  })

  it('X3: X4: makes no difference to run()', async () => {
    const testApp = makeNestedApp()
    const cookie = await signIn(testApp)
    const nested = await testApp.nest(cookie, { privileges: 'audit' })
    const own = await testApp.sessions.open({ userName: 'ann', applicationId: 'cli' })

    const see = (token: string): Promise<unknown> =>
      testApp.sessions.run(token, (session) => [session.userName, session.getPrivileges()])

    expect(await see(nested)).toEqual(['bob', ['audit']])
    expect(await see(own.token)).toEqual(['ann', []])
  })
})

const lifeOf = (token: string): number =>
  Number(decode(token, 1)['exp']) - Number(decode(token, 1)['iat'])

function namesOf(length: number): readonly string[] {
  return Array.from({ length }, (_, index) => `name${index}`)
}

function isJustBelow(limit: number): (found: number) => boolean {
  return (found) => found <= limit && found >= limit - 5
}
