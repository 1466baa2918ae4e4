import type { Context } from 'koa'
import { MemoryStore, RedisStore, requireUser, session } from 'koa-user-sessions'
import type { LegacyOptions, LegacySession, SessionsOptions } from 'koa-user-sessions'
import supertest from 'supertest'
import { describe, expect, it, onTestFinished } from 'vitest'

import {
  cookieOf,
  exactly,
  guestView,
  makeApp,
  recordWarnings,
  setCookies,
} from '../support/apps.ts'
import type { Handler, TestApp } from '../support/apps.ts'
import { CookieJar, koaSessionApp, oldKeys } from '../support/koa-session-app.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'
import { makeKey, tokensWith } from '../support/tokens.ts'

const cookieNames = ['koa.sess', 'koa.sess.sig']
const secret = 'a value that nobody may see'
const ofAnn = { userName: 'ann', privileges: 'browse', storage: { cart: ['tea'] } }

interface LegacyApp extends TestApp {
  /** The requests for which it was called, by path. */
  readonly reads: string[]
}

/** An app that reads what `answer` returns, and records the calls. */
function legacyApp(
  answer: () => unknown = () => ofAnn,
  handlers: Readonly<Record<string, Handler>> = {},
  options: SessionsOptions & { readonly cookies?: Partial<LegacyOptions> } = {},
): LegacyApp {
  const { cookies, ...others } = options
  const reads: string[] = []
  // As JavaScript code may pass it.
  const given: () => Promise<LegacySession> = Reflect.get(Object({ answer }), 'answer')
  const read = async (ctx: Context): Promise<LegacySession> => {
    reads.push(ctx.path)
    return await given()
  }
  const legacy = { read, cookieNames, ...cookies }
  return { ...makeApp(handlers, { ...others, legacy }), reads }
}

const old = 'koa.sess=old; koa.sess.sig=signature'
const expiries = cookieNames.map(
  (name) => `${name}=; Max-Age=0; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; SameSite=Lax`,
)

describe('moving from koa-session 7', () => {
  it.each(['in the cookie', 'in a store on ioredis'])(
    'keeps a user signed in whose session is %s, and out after a sign-out',
    async (where) => {
      const redis = connectRedis()
      const prefix = uniquePrefix()
      const oldStore = {
        async get(key: string): Promise<unknown> {
          return JSON.parse((await redis.get(key)) ?? 'null')
        },
        async set(key: string, value: unknown, maxAge: number): Promise<void> {
          await redis.set(key, JSON.stringify(value), 'PX', maxAge)
        },
        async destroy(key: string): Promise<void> {
          await redis.del(key)
        },
      }
      const isStored = where !== 'in the cookie'
      const oldApp = koaSessionApp(isStored ? { store: oldStore, prefix } : {})
      const reads: string[] = []
      const read = async (ctx: Context): Promise<LegacySession | null> => {
        reads.push(ctx.path)
        const value = ctx.cookies.get('koa.sess', { signed: true })
        if (!value) return null
        const json = isStored ? await redis.get(value) : Buffer.from(value, 'base64').toString()
        if (!json) return null
        if (isStored) await redis.pexpire(value, 60_000)
        const { user, cart, _expire } = JSON.parse(json)
        if (!(_expire > Date.now())) return null
        return { userName: user.name, privileges: 'browse', storage: { cart } }
      }
      const store = new RedisStore(connectRedis(), { prefix: uniquePrefix() })
      const { app } = makeApp({}, { store, legacy: { read, cookieNames } })
      app.keys = oldKeys
      const browser = new CookieJar()
      await browser.visit(oldApp, '/login?user=ann')
      expect([...browser.cookies.keys()]).toEqual(cookieNames)
      const copy = new CookieJar()
      for (const [name, value] of browser.cookies) copy.cookies.set(name, value)

      const first = await browser.visit(app, '/me')

      const ann = { userName: 'ann', privileges: ['browse'], storage: { cart: ['tea', 'milk'] } }
      expect(first.body).toMatchObject({ ...ann, isGuest: false })
      expect(setCookies(first).slice(1)).toEqual(expiries)
      expect([...browser.cookies.keys()]).toEqual(['session'])

      const { body } = await browser.visit(app, '/me')
      expect(body).toMatchObject({ ...ann, isNew: false })
      expect(reads).toEqual(['/me'])

      await browser.visit(app, '/logout')
      expect(browser.cookies.size).toBe(0)
      expect((await browser.visit(app, '/me')).body).toMatchObject(guestView)
      expect(reads).toEqual(['/me'])

      const keys = await redis.keys(`${prefix}*`)
      expect(keys).toHaveLength(isStored ? 1 : 0)
      for (const key of keys) expect(await redis.pttl(key)).toBeLessThanOrEqual(60_000)
      // A kept copy is another matter: it is as good as it was for koa-session.
      expect((await copy.visit(app, '/me')).body).toMatchObject({ userName: 'ann' })
    },
  )

  it('H1: refuses a cookie that is forged or expired', async () => {
    const { app } = makeApp({}, { legacy: { read: readSigned, cookieNames } })
    app.keys = oldKeys
    const browser = new CookieJar()
    await browser.visit(koaSessionApp({ maxAge: 1 }), '/login?user=ann')
    const over = new CookieJar()
    for (const [name, value] of browser.cookies) over.cookies.set(name, value)
    const forged = new CookieJar()
    const content = { user: { name: 'root' }, _expire: Date.now() + 60_000 }
    forged.cookies.set('koa.sess', Buffer.from(JSON.stringify(content)).toString('base64'))
    forged.cookies.set('koa.sess.sig', 'A'.repeat(27))
    await expect.poll(() => Date.now() > lastExpiry(over)).toBe(true)

    for (const jar of [over, forged]) {
      expect((await jar.visit(app, '/me')).body).toMatchObject(guestView)
    }
  })
})

/** As `.github/MIGRATING.md` shows it. */
function readSigned(ctx: Context): LegacySession | null {
  const value = ctx.cookies.get('koa.sess', { signed: true })
  if (!value) return null
  const { user, cart, _expire } = JSON.parse(Buffer.from(value, 'base64').toString())
  return _expire > Date.now() ? { userName: user.name, storage: { cart } } : null
}

function lastExpiry(jar: CookieJar): number {
  const json = Buffer.from(jar.cookies.get('koa.sess') ?? '', 'base64').toString()
  const { _expire: expiry = 0 } = JSON.parse(json === '' ? '{}' : json)
  return Number(expiry)
}

describe('the option legacy', () => {
  it.each([
    ['no cookie at all', undefined],
    ['other cookies', 'theme=dark; xkoa.sess=1; koa=1; koaXsess=1; a=koa.sess=1'],
    ['our cookie, malformed', 'session=abc'],
  ])('L2: is not called for a request with %s', async (_, cookie) => {
    const { visit, reads, store } = legacyApp()

    const response = await visit('/me', cookie)

    expect(response.body).toMatchObject(guestView)
    expect([reads, store.calls, setCookies(response)]).toEqual([[], [], []])
  })

  it.each([
    ['one of the cookies', 'koa.sess.sig=x'],
    ['others before it', 'theme=dark;koa.sess=x'],
    ['our cookie, of a session that has ended', `session=${'A'.repeat(64)}; koa.sess=x`],
  ])('carries over what it reads for a request with %s', async (_, cookie) => {
    const { visit, events } = legacyApp()

    const response = await visit('/me', cookie)

    const { userName, storage, isNew } = response.body
    expect({ userName, storage, isNew }).toEqual({
      userName: 'ann',
      storage: { cart: ['tea'] },
      isNew: true,
    })
    const { id } = (await visit('/me', cookieOf(response))).body
    expect(id).toBe(response.body.id)
    expect(events).toEqual([
      { name: 'session:created', event: { id, userName: 'ann' } },
      { name: 'session:signedIn', event: { id, userName: 'ann' } },
    ])
  })

  it('C4, C6: stores the session even for a page that never uses it', async () => {
    const { visit, reads, store } = legacyApp()

    const response = await visit('/page', old)

    expect(setCookies(response)).toHaveLength(3)
    expect(response.headers).toMatchObject({ 'cache-control': 'no-store', vary: 'Cookie' })
    await visit('/page', `${old}; ${cookieOf(response)}`)
    expect([reads, store.calls]).toEqual([['/page'], ['create', 'load']])
  })

  it.each([null, undefined, {}, { storage: {} }, { storage: { a: undefined }, userName: '' }])(
    'L1, L2: leaves an ordinary guest for %j',
    async (answer) => {
      const { visit, reads, store } = legacyApp(() => answer)

      const page = await visit('/page', old)
      const { body } = await visit('/me', old)

      expect(body).toMatchObject(guestView)
      expect([setCookies(page), store.calls, reads]).toEqual([[], [], ['/page', '/me']])
      expect(page.headers).not.toHaveProperty('vary')
    },
  )

  it('is not called beside a live session, whose end clears the old cookies', async () => {
    const { visit, reads } = legacyApp()
    const cookie = cookieOf(await visit('/login?user=ben'))

    expect((await visit('/me', `${old}; ${cookie}`)).body).toMatchObject({ userName: 'ben' })
    const out = await visit('/logout', `${old}; ${cookie}`)

    expect(setCookies(out).slice(1)).toEqual(expiries)
    expect(reads).toEqual([])
  })

  it('X2: is not called beside a bearer token, good or bad', async () => {
    const testApp = legacyApp(undefined, {}, { tokens: tokensWith(makeKey('HS256')) })
    const { token } = await testApp.sessions.open({ userName: 'ben', applicationId: 'cli' })
    const visit = (authorization: string) =>
      supertest(testApp.app.callback())
        .get('/me')
        .set('Cookie', old)
        .set('Authorization', authorization)

    const good = await visit(`Bearer ${token}`)
    const bad = await visit('Bearer abc')
    const malformed = await visit('Bearer')

    expect(good.body).toMatchObject({ userName: 'ben' })
    expect([bad.status, malformed.status, testApp.reads]).toEqual([401, 400, []])
  })

  it('L10: is not called for a request whose value was rotated a moment ago', async () => {
    const { visit, reads } = legacyApp()
    const before = cookieOf(await visit('/write?a=1'))
    await visit('/login', before)

    const { body } = await visit('/me', `${before}; ${old}`)

    expect(body).toMatchObject(guestView)
    expect(reads).toEqual([])
  })

  it('C7: is not called for a request with two live sessions', async () => {
    const { visit, reads } = legacyApp()
    const [one, two] = [cookieOf(await visit('/login')), cookieOf(await visit('/login'))]

    const { body } = await visit('/me', `${one}; ${two}; ${old}`)

    expect(body).toMatchObject(guestView)
    expect(reads).toEqual([])
  })

  it.each([
    ['fail', 503],
    ['guest', 200],
  ] as const)('F3: is not called when the store fails, with %s', async (onStoreError, status) => {
    const { visit, reads, store } = legacyApp(undefined, {}, { onStoreError })
    const cookie = cookieOf(await visit('/login'))
    store.faults.set('load', 'rejects')

    expect((await visit('/me', `${cookie}; ${old}`)).status).toBe(status)
    expect(reads).toEqual([])
  })
})

describe('a session that is carried over', () => {
  it.each<[string, Handler]>([
    [
      'null',
      (ctx) => {
        ctx.session = null
      },
    ],
    ['destroy()', (ctx) => ctx.session.destroy()],
  ])('S10: stays ended by %s within the same request', async (_, end) => {
    const { app, store, events } = legacyApp(undefined, { '/end': end })
    const browser = new CookieJar()
    for (const name of cookieNames) browser.cookies.set(name, 'old')

    const response = await browser.visit(app, '/end')

    expect(setCookies(response).slice(1)).toEqual(expiries)
    expect(browser.cookies.size).toBe(0)
    expect([store.calls, events]).toEqual([[], []])
    expect((await browser.visit(app, '/me')).body).toMatchObject(guestView)
  })

  it('S10: yields to a sign-in that follows its end in the same request', async () => {
    const { visit, store } = legacyApp(undefined, {
      '/change': async (ctx) => {
        ctx.session = null
        ctx.session.setPrivileges({ userName: 'ben' })
        await ctx.session.save()
      },
    })

    const response = await visit('/change', old)

    expect(setCookies(response).slice(1)).toEqual(expiries)
    const { body } = await visit('/me', cookieOf(response))
    expect(body).toMatchObject({ userName: 'ben', storage: exactly({}), privileges: [] })
    expect(store.calls).toEqual(['create', 'load'])
  })

  it('C5: gives another user none of its data', async () => {
    const { visit } = legacyApp()

    const response = await visit('/login?user=ben&privileges=audit', old)

    expect(setCookies(response).slice(1)).toEqual(expiries)
    const { body } = await visit('/me', cookieOf(response))
    expect(body).toMatchObject({ userName: 'ben', privileges: ['audit'], storage: exactly({}) })
  })

  it('P5: keeps no rights when the same request clears them', async () => {
    const { app, reads } = legacyApp(() => ({ userName: 'ann' }), {
      '/clear': (ctx) => {
        ctx.session.clearPrivileges()
      },
    })
    const browser = new CookieJar()
    for (const name of cookieNames) browser.cookies.set(name, 'old')

    await browser.visit(app, '/clear')

    expect([...browser.cookies.keys()]).toEqual(['session'])
    expect((await browser.visit(app, '/me')).body).toMatchObject({ userName: '', isGuest: true })
    expect(reads).toEqual(['/clear'])
  })

  it('L6, L7: is stored when a handler throws below 500, with all cookies on the error', async () => {
    const { visit } = legacyApp(undefined, { '/no': (ctx) => ctx.throw(403) })

    const response = await visit('/no', old)

    expect(response.status).toBe(403)
    expect(setCookies(response).slice(1)).toEqual(expiries)
    expect((await visit('/me', cookieOf(response))).body).toMatchObject({ userName: 'ann' })
  })

  it('L6: is not stored for an error of 500 or by a failing store, and is read again', async () => {
    const testApp = legacyApp(undefined, {
      '/broken': () => {
        throw new Error('a bug')
      },
    })
    const { visit, reads, store } = testApp

    const broken = await visit('/broken', old)
    store.faults.set('create', 'rejects')
    const failed = await visit('/page', old)
    store.faults.clear()

    expect([broken.status, failed.status]).toEqual([500, 503])
    expect([...setCookies(broken), ...setCookies(failed)]).toEqual([])
    expect(setCookies(await visit('/me', old))).toHaveLength(3)
    expect(reads).toEqual(['/broken', '/page', '/me'])
  })

  it('S9: is dropped by reload() for this request, and read again by the next', async () => {
    const { visit } = legacyApp(undefined, { '/reload': (ctx) => ctx.session.reload() })

    expect(setCookies(await visit('/reload', old))).toEqual([])
    expect((await visit('/me', old)).body).toMatchObject({ userName: 'ann' })
  })

  it('T4: is available in a block', async () => {
    const { visit } = legacyApp(undefined, {
      '/add': (ctx) => ctx.session.use((storage) => storage['cart'].push('milk')),
    })

    const { body } = await visit('/me', cookieOf(await visit('/add', old)))

    expect(body).toMatchObject({ userName: 'ann', storage: exactly({ cart: ['tea', 'milk'] }) })
  })

  it('is created once for each parallel first request, and every cookie works', async () => {
    const { visit } = legacyApp()

    const responses = await Promise.all([visit('/me', old), visit('/me', old)])

    expect(responses[0].body.id).not.toBe(responses[1].body.id)
    for (const response of responses) {
      const { body } = await visit('/me', cookieOf(response))
      expect(body).toMatchObject({ id: response.body.id, userName: 'ann' })
    }
  })

  it('M6: is refused once over the limit, and then the browser is a guest that can sign in', async () => {
    const maxSessions = { perUser: 1, onExceed: 'refuse' } as const
    const { app, visit, sessions } = legacyApp(undefined, {}, { maxSessions })
    await visit('/login?user=ann')
    const browser = new CookieJar()
    for (const name of cookieNames) browser.cookies.set(name, 'old')

    const response = await browser.visit(app, '/page')

    expect([response.status, setCookies(response)]).toEqual([403, expiries])
    expect((await browser.visit(app, '/me')).body).toMatchObject(guestView)
    expect(await sessions.list('ann')).toHaveLength(1)
  })

  it('P7: has no rights when its type has none', async () => {
    const { visit } = legacyApp(undefined, {}, { type: 'rest', privilegedTypes: ['web'] })

    const { body } = await visit('/me', old)

    expect(body).toMatchObject({ userName: '', isGuest: true, storage: exactly({ cart: ['tea'] }) })
  })
})

describe('a hook that fails', () => {
  const failures: [string, () => unknown][] = [
    [
      'throws',
      () => {
        throw new Error(secret)
      },
    ],
    ['rejects', () => Promise.reject(new TypeError(secret))],
    [
      'throws a value that is not an error',
      () => Promise.reject(Object.assign(Object.create(null), { secret })),
    ],
    ['never answers', () => new Promise(() => {})],
  ]

  it.each(failures)('F3, H2: counts as a failed load when it %s', async (_, answer) => {
    const guard = requireUser()
    const { visit, errors, events } = legacyApp(
      answer,
      { '/guarded': (ctx) => guard(ctx, async () => {}) },
      { storeTimeoutMs: 50 },
    )

    const page = await visit('/page', old)
    const touched = await visit('/me', old)
    const guarded = await visit('/guarded', old)

    expect([page.status, touched.status, guarded.status]).toEqual([200, 503, 503])
    expect(touched.headers['retry-after']).toBe('1')
    expect(errors).toMatchObject([{ code: 'ERR_SESSION_STORE' }, { code: 'ERR_SESSION_STORE' }])
    expect(events).toHaveLength(3)
    expect(events[0]).toMatchObject({ name: 'session:storeError', event: { operation: 'legacy' } })
    const { stack, cause } = Object(errors[0])
    expect([cause, String(stack).includes(secret)]).toEqual([undefined, false])
    expect([page, touched, guarded].flatMap(setCookies)).toEqual([])
  })

  it.each(failures)('F3: leaves a guest when it %s and the app says so', async (_, answer) => {
    const guard = requireUser()
    const { visit } = legacyApp(
      answer,
      { '/guarded': (ctx) => guard(ctx, async () => {}) },
      { storeTimeoutMs: 50, onStoreError: 'guest' },
    )

    expect((await visit('/me', old)).body).toMatchObject(guestView)
    const write = await visit('/write?a=1', old)
    const guarded = await visit('/guarded', old)

    expect([write.status, guarded.status]).toEqual([503, 503])
    expect([write, guarded].flatMap(setCookies)).toEqual([])
  })

  const circle: Record<string, unknown> = {}
  circle['self'] = circle

  it.each<[string, unknown]>([
    ['a Map', { storage: { a: new Map([[secret, 1]]) }, userName: 'ann' }],
    ['a function', { storage: { a: () => secret }, userName: 'ann' }],
    ['a circle', { storage: { circle } }],
    [
      'an own __proto__',
      { storage: JSON.parse('{"__proto__":{"isAdmin":true}}'), userName: 'ann' },
    ],
    ['a nested constructor', { storage: { a: JSON.parse('{"constructor":1}') }, userName: 'ann' }],
    [
      'too many keys',
      { storage: Object.fromEntries(Array.from({ length: 257 }, (_, i) => [i, 1])) },
    ],
    ['too much text', { storage: { a: 'x'.repeat(150_000), b: 'x'.repeat(150_000) } }],
    ['a user name that is not text', { userName: { name: secret }, storage: { a: 1 } }],
    ['a privilege with a comma', { privileges: ['a,b'], storage: { a: 1 } }],
    ['something that it does not take', { user: secret, storage: { a: 1 } }],
    ['a storage that is not an object', { storage: secret, userName: 'ann' }],
    ['a storage that is null', { storage: null, userName: 'ann' }],
    ['an array', [ofAnn]],
    ['a text', secret],
    [
      'a getter that throws',
      Object.defineProperty({}, 'storage', {
        enumerable: true,
        get() {
          throw new Error(secret)
        },
      }),
    ],
  ])('T5, T6, H2: leaves a guest, with a warning, when it returns %s', async (_, answer) => {
    const warnings = recordWarnings()
    onTestFinished(warnings.stop)
    const { visit, errors, store } = legacyApp(() => answer)

    const responses = [await visit('/me', old), await visit('/me', old), await visit('/page', old)]

    for (const { status } of responses) expect(status).toBe(200)
    expect(responses[0]?.body).toMatchObject(guestView)
    expect([errors, store.calls, responses.flatMap(setCookies)]).toEqual([[], [], []])
    await expect.poll(() => warnings.messages.length).toBe(1)
    expect(warnings.messages[0]).toMatch(
      /^the option "legacy\.read" returned what a session cannot/,
    )
    expect(warnings.messages[0]).not.toContain(secret)
    expect(Object.hasOwn(Object.prototype, 'isAdmin')).toBe(false)
  })
})

const read = () => null

/** The error of `session()` for the option, or the middleware. */
function made(legacy: object, others: object = {}): unknown {
  try {
    return Reflect.apply(session, undefined, [{ store: new MemoryStore(), legacy, ...others }])
  } catch (error) {
    return error
  }
}

describe('the old cookies', () => {
  it('are expired with their own path and domain, and only those that were sent', async () => {
    const cookies = { cookieDomain: 'shop.example', cookiePath: '/app' }
    const { visit } = legacyApp(undefined, {}, { cookies })

    const response = await visit('/me', 'koa.sess=x; koa.sess=y')

    expect(setCookies(response).slice(1)).toEqual([
      'koa.sess=; Max-Age=0; Domain=shop.example; Path=/app; Expires=Thu, 01 Jan 1970 00:00:00 GMT; SameSite=Lax',
    ])
  })

  it('C2: are expired as Secure when the session cookie is', async () => {
    const { visit } = legacyApp(undefined, {}, { cookie: { secure: true } })

    const [ours, ...others] = setCookies(await visit('/me', old))

    expect(ours).toMatch(/^__Host-session=/)
    for (const header of others) expect(header).toMatch(/; Secure; SameSite=Lax$/)
    expect(others).toHaveLength(2)
  })

  it("take precedence over the app's own changes in the same response", async () => {
    const { visit } = legacyApp(undefined, {
      '/set': (ctx) => {
        ctx.set('Set-Cookie', ['koa.sess=again; Path=/', 'theme=dark'])
      },
    })

    const headers = setCookies(await visit('/set', old))

    expect(headers.filter((header) => header.startsWith('koa.sess='))).toEqual([expiries[0]])
    expect(headers).toContain('theme=dark')
    expect(headers).toHaveLength(4)
  })

  it('§7: must be named at startup, and differ from the session cookie', () => {
    const wrong: [object, object?][] = [
      [{}],
      [{ read }],
      [{ cookieNames }],
      [{ read: 'koa', cookieNames }],
      [{ read, cookieNames: 'koa.sess' }],
      [{ read, cookieNames: [] }],
      [{ read, cookieNames: [''] }],
      [{ read, cookieNames: ['a=b'] }],
      [{ read, cookieNames: ['session'] }],
      [{ read, cookieNames: ['__Host-session'] }],
      [{ read, cookieNames: ['sid'] }, { cookie: { name: 'sid' } }],
      [{ read, cookieNames, cookiePath: 'app' }],
      [{ read, cookieNames, cookieDomain: 'a b' }],
      [{ read, cookieNames, cookieName: 'koa.sess' }],
      [Object.assign([], { read, cookieNames })],
    ]

    for (const [legacy, others] of wrong) {
      expect(made(legacy, others)).toMatchObject({ code: 'ERR_SESSION_OPTION' })
    }
    expect(made({ read, cookieNames })).toBeTypeOf('function')
  })
})
