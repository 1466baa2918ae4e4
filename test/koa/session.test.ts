import Koa from 'koa'
import type { Context } from 'koa'
import { session, Sessions } from 'koa-user-sessions'
import type { Session } from 'koa-user-sessions'
import request from 'supertest'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import {
  cookieOf,
  exactly,
  guestView,
  makeApp,
  me,
  setCookies,
  storeKinds,
} from '../support/apps.ts'
import type { Handler, TestApp } from '../support/apps.ts'

const ended = { status: 401, code: 'ERR_SESSION_ENDED' }
const storeFailed = { status: 503, code: 'ERR_SESSION_STORE' }

/** A session that a client has, with what it is known by. */
async function signedIn(testApp: TestApp, user = 'ann'): Promise<{ cookie: string; id: string }> {
  const response = await testApp.visit(`/login?user=${user}`)
  const cookie = cookieOf(response)
  const { body } = await testApp.visit('/me', cookie)
  return { cookie, id: body.id }
}

/** Ends the session of a request by another request of the same client. */
async function signOutMeanwhile(ctx: Context, testApp: TestApp): Promise<void> {
  const response = await testApp.visit('/logout', ctx.get('Cookie'))
  expect(response.status).toBe(200)
}

function writes(ctx: Context): void {
  ctx.session.storage.a = 1
  ctx.body = 'ok'
}

/** What a promise is rejected with. */
async function failureOf(work: Promise<unknown>): Promise<unknown> {
  try {
    await work
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

/** What is thrown. */
function errorOf(work: () => unknown): unknown {
  try {
    work()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

describe('a guest', () => {
  it.each([
    ['has no cookie', undefined],
    ['has a malformed cookie', 'session=abc'],
    ['has a cookie that nobody knows', `session=${'A'.repeat(64)}`],
  ])('L1: is new, may do nothing and has an empty storage who %s', async (_, cookie) => {
    const { visit } = makeApp()

    const { status, body } = await visit('/me', cookie)

    expect(status).toBe(200)
    expect(body).toMatchObject(guestView)
    expect(body.id).toMatch(/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/)
  })

  it.each(storeKinds)(
    'L1: is who comes with the cookie of an ended session, on %s',
    async (_, makeStore) => {
      const testApp = makeApp({}, { store: makeStore() })
      const { cookie, id } = await signedIn(testApp)
      await testApp.visit('/logout', cookie)

      const { status, body, headers } = await testApp.visit('/me', cookie)

      expect(status).toBe(200)
      expect(body).toMatchObject(guestView)
      expect(body.id).not.toBe(id)
      expect(headers).not.toHaveProperty('set-cookie')
    },
  )

  it('L1: is who comes with the cookie of an expired session', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    onTestFinished(() => {
      vi.useRealTimers()
    })
    const testApp = makeApp()
    const { cookie } = await signedIn(testApp)

    vi.setSystemTime(Date.now() + 62 * 60_000)
    const response = await testApp.visit('/me', cookie)

    expect(response.body).toMatchObject(guestView)
    expect(setCookies(response)).toEqual([])
  })

  it('S1: never gets an id that the client has sent', async () => {
    const { visit } = makeApp()
    const cookie = `session=${'A'.repeat(64)}`

    const ids = [(await visit('/me', cookie)).body.id, (await visit('/me', cookie)).body.id]

    expect(new Set(ids).size).toBe(2)
    expect(ids).not.toContain('00000000-0000-0000-0000-000000000000')
  })

  it.each(['/page', '/me'])('L2: costs no store call and gets no cookie for %s', async (path) => {
    const { visit, store } = makeApp()

    const response = await visit(path)

    expect(response.status).toBe(200)
    expect(setCookies(response)).toEqual([])
    expect(store.calls).toEqual([])
  })

  it('L2: costs no store call for a malformed cookie, and one for an unknown one', async () => {
    const { visit, store } = makeApp()

    await visit('/me', 'session=abc')
    expect(store.calls).toEqual([])

    const response = await visit('/me', `session=${'A'.repeat(64)}`)
    expect(store.calls).toEqual(['load'])
    expect(setCookies(response)).toEqual([])
  })

  it('L1, M1: is there for a handler that has left the body unread, and the connection with it', async () => {
    const { app, sessions, errors } = makeApp({
      '/cut': async (ctx) => {
        for await (const part of ctx.req) if (part) break
        ctx.session.storage['made'] = true
        await ctx.session.save()
        const info = await sessions.info(ctx.session.id)
        ctx.body = { socket: ctx.req.socket, isGuest: ctx.session.isGuest(), ip: info?.IPAddress }
      },
    })

    const { body } = await request(app.callback()).post('/cut').send('a'.repeat(2000))

    expect(errors).toEqual([])
    expect(body).toEqual({ socket: null, isGuest: true, ip: '127.0.0.1' })
  })
})

describe('the first change', () => {
  const changes: readonly (readonly [string, Handler])[] = [
    ['writes storage', ({ session }) => void (session.storage.cart = ['tea'])],
    ['grants a privilege', ({ session }) => session.setPrivileges('browse')],
    ['names a user', ({ session }) => session.setPrivileges({ userName: 'ann' })],
    ['sets another idle timeout', ({ session }) => void (session.idleTimeout = 90)],
    ['saves', ({ session }) => session.save()],
    ['regenerates', ({ session }) => session.regenerate()],
  ]

  it.each(changes)('L2: stores the session and sets its cookie when it %s', async (_, handler) => {
    const testApp = makeApp({ '/change': handler })
    const browser = testApp.browser()

    const response = await browser.get('/change')

    expect(response.status).toBe(200)
    expect(testApp.store.calls).toEqual(['create'])
    expect(setCookies(response)).toHaveLength(1)
    expect(testApp.events.map(({ name }) => name)).toContain('session:created')
    const first = await me(browser)
    expect(first).toMatchObject({ isNew: false })
    expect(await me(browser)).toEqual({ ...first, expirationDate: expect.any(String) })
  })

  const equalValues: readonly (readonly [string, Handler])[] = [
    ['removes a name that is not there', ({ session }) => delete session.storage.cart],
    ['assigns undefined', ({ session }) => void (session.storage.cart = undefined)],
    [
      'writes and removes',
      ({ session }) => void ((session.storage.a = 1), delete session.storage.a),
    ],
    ['sets the same idle timeout', ({ session }) => void (session.idleTimeout = 60)],
    ['sets one that is raised to the same', ({ session }) => void (session.idleTimeout = 5)],
    ['grants nothing', ({ session }) => session.setPrivileges('')],
    ['names nobody', ({ session }) => session.setPrivileges({ userName: '' })],
    ['clears nothing', ({ session }) => session.clearPrivileges()],
    ['grants and clears', ({ session }) => session.setPrivileges('a') && session.clearPrivileges()],
    ['lends a privilege', ({ session }) => session.promote('a')],
    ['touches', ({ session }) => session.touch()],
    ['reloads', ({ session }) => session.reload()],
    ['ends the session', (ctx) => void (ctx.session = null)],
    ['destroys the session', ({ session }) => session.destroy()],
  ]

  it.each(equalValues)('L2: is not there when a new guest only %s', async (_, handler) => {
    const { visit, store } = makeApp({ '/change': handler })

    const response = await visit('/change')

    expect(response.status).toBe(200)
    expect(setCookies(response)).toEqual([])
    expect(store.calls).toEqual([])
  })

  const equalToStored: readonly (readonly [string, Handler])[] = [
    ['storage', ({ session }) => void (session.storage.cart = { items: ['tea'] })],
    ['nested storage', ({ session }) => session.storage.cart.items.splice(0, 1, 'tea')],
    ['the idle timeout', ({ session }) => void (session.idleTimeout = 90)],
    ['a privilege in another case', ({ session }) => session.setPrivileges('BROWSE')],
  ]

  it.each(equalToStored)('L2: is not there when %s gets its present value', async (_, handler) => {
    const testApp = makeApp({
      '/start': ({ session }) => {
        session.setPrivileges({ userName: 'ann', privileges: 'browse' })
        session.idleTimeout = 90
        session.storage.cart = { items: ['tea'] }
      },
      '/change': handler,
    })
    const browser = testApp.browser()
    await browser.get('/start')
    testApp.store.calls.length = 0

    const response = await browser.get('/change')

    expect(response.status).toBe(200)
    expect(setCookies(response)).toEqual([])
    expect(testApp.store.calls).toEqual(['load'])
  })

  it.each(storeKinds)('L2: is kept for the next request, on %s', async (_, makeStore) => {
    const { browser } = makeApp({}, { store: makeStore() })
    const client = browser()

    await client.get('/write?cart=tea')

    expect(await me(client)).toMatchObject({
      storage: exactly({ cart: 'tea' }),
      isNew: false,
      isGuest: true,
    })
  })
})

describe('the commit', () => {
  it('L6: is done before the response is sent', async () => {
    const testApp = makeApp()

    const cookie = cookieOf(await testApp.visit('/write?a=1'))

    expect(testApp.store.calls).toEqual(['create'])
    expect((await testApp.visit('/me', cookie)).body.storage).toEqual({ a: '1' })
  })

  it('L6: is done before a streamed response starts', async () => {
    const { visit, store } = makeApp({
      '/stream': async (ctx) => {
        const { Readable } = await import('node:stream')
        ctx.session.storage.a = 1
        ctx.body = Readable.from(
          (async function* () {
            yield store.calls.join()
          })(),
        )
        ctx.type = 'text'
      },
    })

    const response = await visit('/stream')

    expect(response.text).toBe('create')
    expect(setCookies(response)).toHaveLength(1)
  })

  it.each(storeKinds)('L6: is done when the handler throws 403, on %s', async (_, makeStore) => {
    const testApp = makeApp(
      {
        '/refuse': (ctx) => {
          ctx.session.storage.tries = 1
          ctx.session.setPrivileges('tried')
          ctx.throw(403, 'not yet')
        },
      },
      { store: makeStore() },
    )
    const browser = testApp.browser()

    const response = await browser.get('/refuse')

    expect(response.status).toBe(403)
    expect(response.text).toBe('not yet')
    expect(await me(browser)).toMatchObject({
      storage: exactly({ tries: 1 }),
      privileges: ['tried'],
    })
  })

  it.each([
    ['400', { status: 400 }, 400],
    ['404 as statusCode', { statusCode: 404 }, 404],
    ['422', { status: 422, expose: true }, 422],
  ])('L6: is done when the thrown error has the status %s', async (_, properties, status) => {
    const testApp = makeApp({
      '/refuse': (ctx) => {
        ctx.session.storage.a = 1
        throw Object.assign(new Error('refused'), properties)
      },
    })

    const response = await testApp.visit('/refuse')

    expect(response.status).toBe(status)
    expect(testApp.store.calls).toEqual(['create'])
    expect(setCookies(response)).toHaveLength(1)
  })

  const faults: readonly (readonly [string, Handler])[] = [
    ['throws a plain error', () => Promise.reject(new Error('bug'))],
    ['throws 500', (ctx) => ctx.throw(500)],
    ['throws 503', (ctx) => ctx.throw(503)],
    ['throws an error whose status is no number', () => Promise.reject(statusError('403'))],
    [
      'throws an error with a status that Koa answers by 500',
      () => Promise.reject(statusError(444)),
    ],
    // oxlint-disable-next-line prefer-promise-reject-errors -- the case
    ['throws an object that is no error', () => Promise.reject({ status: 403 })],
    // oxlint-disable-next-line prefer-promise-reject-errors -- the case
    ['throws text', () => Promise.reject('bug')],
    ['sets the status 500', (ctx) => void (ctx.status = 500)],
    ['sets the status 502', (ctx) => void (ctx.status = 502)],
  ]

  it.each(faults)('L6: is not done when the handler %s', async (_, fault) => {
    const testApp = makeApp({
      '/fault': (ctx, testApp) => {
        ctx.session.storage.half = 'done'
        ctx.session.setPrivileges({ privileges: 'admin', userName: 'bob' })
        ctx.session.idleTimeout = 90
        return fault(ctx, testApp)
      },
      '/elevate': (ctx, testApp) => {
        ctx.session.storage.half = 'done'
        ctx.session.setPrivileges('admin')
        return fault(ctx, testApp)
      },
    })
    const { cookie } = await signedIn(testApp)
    const before = (await testApp.visit('/me', cookie)).body
    testApp.store.calls.length = 0

    const responses = [
      await testApp.visit('/fault'),
      await testApp.visit('/fault', cookie),
      await testApp.visit('/elevate', cookie),
    ]

    for (const response of responses) {
      expect(response.status).toBeGreaterThanOrEqual(500)
      expect(setCookies(response)).toEqual([])
    }
    expect(testApp.store.calls).toEqual(['load', 'load'])
    expect((await testApp.visit('/me', cookie)).body).toEqual({
      ...before,
      expirationDate: expect.any(String),
    })
  })

  it('L6: does not end a session either when the handler fails', async () => {
    const testApp = makeApp({
      '/fault': (ctx) => {
        ctx.session = null
        throw new Error('bug')
      },
    })
    const { cookie, id } = await signedIn(testApp)

    const response = await testApp.visit('/fault', cookie)

    expect(response.status).toBe(500)
    expect(setCookies(response)).toEqual([])
    expect((await testApp.visit('/me', cookie)).body.id).toBe(id)
  })

  it('L6: keeps what was saved before the handler failed, and nothing after', async () => {
    const testApp = makeApp({
      '/fault': async (ctx) => {
        ctx.session.storage.a = 1
        await ctx.session.save()
        ctx.session.storage.b = 2
        throw new Error('bug')
      },
    })
    const browser = testApp.browser()

    const response = await browser.get('/fault')

    expect(response.status).toBe(500)
    expect((await me(browser)).storage).toEqual({ a: 1 })
  })

  const onceHandlers: readonly (readonly [string, Handler, readonly string[]])[] = [
    [
      'save() came before',
      async ({ session }) => {
        session.storage.a = 1
        await session.save()
      },
      ['create'],
    ],
    [
      'regenerate() came before',
      async ({ session }) => {
        session.setPrivileges({ userName: 'ann' })
        await session.regenerate()
      },
      ['create'],
    ],
    [
      'save() came before ctx.throw(403)',
      async (ctx) => {
        ctx.session.storage.a = 1
        await ctx.session.save()
        ctx.throw(403)
      },
      ['create'],
    ],
    [
      'nobody awaited save()',
      ({ session }) => {
        session.storage.a = 1
        void session.save()
      },
      ['create'],
    ],
    [
      'more changed after save()',
      async ({ session }) => {
        session.storage.a = 1
        await session.save()
        session.storage.b = 1
      },
      ['create', 'commit'],
    ],
  ]

  it.each(onceHandlers)('L6: stores nothing twice when %s', async (_, handler, calls) => {
    const testApp = makeApp({ '/once': handler })

    const response = await testApp.visit('/once')

    expect(testApp.store.calls).toEqual(calls)
    expect(setCookies(response)).toHaveLength(1)
  })
})

function statusError(status: unknown): Error {
  return Object.assign(new Error('bug'), { status })
}

describe('the cookie on errors', () => {
  it('L7: survives ctx.throw(403), with no-store and Vary', async () => {
    const { browser } = makeApp({
      '/refuse': (ctx) => {
        ctx.session.storage.a = 1
        ctx.throw(403)
      },
    })
    const client = browser()

    const response = await client.get('/refuse')

    expect(response.status).toBe(403)
    expect(setCookies(response)).toHaveLength(1)
    expect(response.headers).toMatchObject({ 'cache-control': 'no-store', vary: 'Cookie' })
    expect((await me(client)).storage).toEqual({ a: 1 })
  })

  it('L7: survives a fault that comes after save()', async () => {
    const { browser } = makeApp({
      '/fault': async (ctx) => {
        ctx.session.storage.a = 1
        await ctx.session.save()
        throw new Error('bug')
      },
    })
    const client = browser()

    expect((await client.get('/fault')).status).toBe(500)
    expect((await me(client)).storage).toEqual({ a: 1 })
  })

  it.each([200, 403])(
    'L7: survives a store that fails after save(), in place of %d',
    async (status) => {
      const testApp = makeApp({
        '/half': async (ctx, { store }) => {
          ctx.session.storage.a = 1
          await ctx.session.save()
          store.faults.set('commit', 'rejects')
          ctx.session.storage.b = 2
          if (status !== 200) ctx.throw(status)
        },
      })
      const client = testApp.browser()

      const response = await client.get('/half')

      expect(response.status).toBe(503)
      expect(response.headers).toMatchObject({ 'retry-after': '1', 'cache-control': 'no-store' })
      expect((await me(client)).storage).toEqual({ a: 1 })
    },
  )

  it('L7: is cleared by a sign-out that answers 403', async () => {
    const testApp = makeApp({
      '/leave': (ctx) => {
        ctx.session = null
        ctx.throw(403)
      },
    })
    const { cookie } = await signedIn(testApp)

    const response = await testApp.visit('/leave', cookie)

    expect(setCookies(response)).toEqual([expect.stringMatching(/^session=; Max-Age=0;/)])
    expect((await testApp.visit('/me', cookie)).body).toMatchObject(guestView)
  })

  it("L7: leaves the app's own headers and cookies on the error", async () => {
    const { visit } = makeApp({
      '/refuse': (ctx) => {
        ctx.session.storage.a = 1
        ctx.throw(429, {
          headers: {
            'Retry-After': '7',
            'set-cookie': ['theme=dark', 'lang=en'],
            vary: 'Accept',
            'cache-control': 'public',
          },
        })
      },
    })

    const response = await visit('/refuse')

    expect(response.status).toBe(429)
    expect(response.headers).toMatchObject({
      'retry-after': '7',
      'cache-control': 'no-store',
      vary: 'Accept, Cookie',
    })
    expect(setCookies(response)).toEqual([
      'theme=dark',
      'lang=en',
      expect.stringMatching(/^session=[\w-]{64};/),
    ])
  })

  it("L7: leaves an error that sets no session cookie its app's headers", async () => {
    const { visit } = makeApp({
      '/refuse': (ctx) => {
        ctx.throw(403, {
          headers: { 'Set-Cookie': 'theme=dark', 'Cache-Control': 'public', Vary: 'Accept' },
        })
      },
    })

    const response = await visit('/refuse')

    expect(response.headers).toMatchObject({ 'cache-control': 'public', vary: 'Accept' })
    expect(setCookies(response)).toEqual(['theme=dark'])
  })

  it('L7: never goes to another client along with an error object that is thrown again', async () => {
    const refused = Object.assign(new Error('refused'), { status: 403, expose: true })
    const { visit } = makeApp({
      '/first': (ctx) => {
        ctx.session.storage.of = 'first'
        throw refused
      },
      '/reader': (ctx) => {
        ctx.session.isGuest()
        throw refused
      },
      '/stranger': () => {
        throw refused
      },
    })

    const first = await visit('/first')
    const others = [await visit('/reader'), await visit('/stranger')]

    expect(setCookies(first)).toHaveLength(1)
    expect(first.text).toBe('refused')
    for (const other of others) {
      expect(other.status).toBe(403)
      expect(other.text).toBe('refused')
      expect(setCookies(other)).toEqual([])
    }
    expect(JSON.stringify(refused)).not.toContain(cookieOf(first))
  })

  it('L7: is the own one of each of 20 clients that get one error object side by side', async () => {
    const headers = Object.freeze({ 'Retry-After': '1' })
    const refused = Object.assign(new Error('refused'), { status: 403, headers })
    const waiting: (() => void)[] = []
    const { visit } = makeApp({
      '/refuse': async (ctx) => {
        ctx.session.storage.name = ctx.query['name']
        // The last one wakes all, so that their commits and their answers run in turns.
        await new Promise<void>((resolve) => {
          if (waiting.push(resolve) === 20) for (const wake of waiting) wake()
        })
        throw refused
      },
    })
    const names = Array.from({ length: 20 }, (_, index) => `client${index}`)

    const cookies = await Promise.all(
      names.map(async (name) => cookieOf(await visit(`/refuse?name=${name}`))),
    )

    expect(new Set(cookies).size).toBe(20)
    for (const [index, cookie] of cookies.entries()) {
      expect((await visit('/me', cookie)).body.storage).toEqual({ name: names[index] })
    }
  })

  it('L7: leaves the error what it is to the app', async () => {
    class ShopError extends Error {
      readonly #reason = 'sold out'
      #status = 409

      get status(): number {
        return this.#status
      }

      set status(status: number) {
        this.#status = status
      }

      get reason(): string {
        return this.#reason
      }
    }
    const { visit, errors } = makeApp({
      '/buy': (ctx) => {
        ctx.session.storage.a = 1
        throw new ShopError('no')
      },
    })

    const response = await visit('/buy')

    expect(response.status).toBe(409)
    const [error] = errors
    expect(error).toBeInstanceOf(ShopError)
    expect(error).toMatchObject({ message: 'no', status: 409, reason: 'sold out' })
    expect(String(error)).toBe('Error: no')
  })

  it('L7: goes along with an error that knows its own kind only, such as that of an abort', async () => {
    const { visit, errors } = makeApp({
      '/fetch': async (ctx) => {
        await ctx.session.save()
        throw new DOMException('too slow', 'TimeoutError')
      },
    })

    const response = await visit('/fetch')

    expect(response.status).toBe(500)
    expect(setCookies(response)).toHaveLength(1)
    expect(errors[0]).toMatchObject({ name: 'TimeoutError', message: 'too slow' })
  })

  it("L7: is on the answer of the app's own error middleware, which is mounted before", async () => {
    const { visit } = makeApp(
      {
        '/refuse': (ctx) => {
          ctx.session.storage.a = 1
          ctx.throw(403)
        },
      },
      {},
      [
        async (ctx, next) => {
          try {
            await next()
          } catch {
            ctx.status = 403
            ctx.body = { refused: true }
          }
        },
      ],
    )

    const response = await visit('/refuse')

    expect(response.body).toEqual({ refused: true })
    expect(setCookies(response)).toHaveLength(1)
    expect(response.headers).toMatchObject({ 'cache-control': 'no-store' })
  })
})

describe('a session that another request has ended', () => {
  it.each(storeKinds)('L8: stays ended, and the answer stands, on %s', async (_, makeStore) => {
    const testApp = makeApp(
      {
        '/slow': async (ctx, testApp) => {
          ctx.session.storage.late = true
          await signOutMeanwhile(ctx, testApp)
          ctx.session.idleTimeout = 90
          ctx.body = 'done'
        },
      },
      { store: makeStore() },
    )
    const { cookie, id } = await signedIn(testApp)

    const response = await testApp.visit('/slow', cookie)

    expect(response.status).toBe(200)
    expect(response.text).toBe('done')
    expect(setCookies(response)).toEqual([])
    expect(testApp.events.filter(({ name }) => name === 'session:ended')).toEqual([
      { name: 'session:ended', event: { id, reason: 'destroyed' } },
      { name: 'session:ended', event: { id, reason: 'gone' } },
    ])
    expect((await testApp.visit('/me', cookie)).body).toMatchObject(guestView)
  })

  it('L8: stays ended when the handler throws 403', async () => {
    const testApp = makeApp({
      '/slow': async (ctx, testApp) => {
        await signOutMeanwhile(ctx, testApp)
        ctx.session.storage.late = true
        ctx.throw(403)
      },
    })
    const { cookie } = await signedIn(testApp)

    const response = await testApp.visit('/slow', cookie)

    expect(response.status).toBe(403)
    expect(setCookies(response)).toEqual([])
    expect((await testApp.visit('/me', cookie)).body).toMatchObject(guestView)
  })

  const explicit: readonly (readonly [string, (session: Session) => Promise<void>])[] = [
    ['save', (session) => session.save()],
    ['reload', (session) => session.reload()],
    ['touch', (session) => session.touch()],
    ['regenerate', (session) => session.regenerate()],
  ]

  it.each(explicit)(
    'L8: makes %s() throw, the second time too, and answers 401',
    async (_, call) => {
      const testApp = makeApp({
        '/slow': async (ctx, testApp) => {
          ctx.session.storage.late = true
          await signOutMeanwhile(ctx, testApp)
          expect(await failureOf(call(ctx.session))).toMatchObject(ended)
          await call(ctx.session)
        },
      })
      const { cookie, id } = await signedIn(testApp)

      const response = await testApp.visit('/slow', cookie)

      expect(testApp.errors).toEqual([expect.objectContaining(ended)])
      expect(response.status).toBe(401)
      expect(response.headers['www-authenticate']).toBe('Cookie realm="session"')
      expect(setCookies(response)).toEqual([])
      const gone = { name: 'session:ended', event: { id, reason: 'gone' } }
      expect(
        testApp.events.filter(({ event }) => 'reason' in event && event.reason === 'gone'),
      ).toEqual([gone])
    },
  )

  it.each(storeKinds)(
    'L8: lets the answer stand when the handler has caught what save() throws, on %s',
    async (_, makeStore) => {
      const testApp = makeApp(
        {
          '/slow': async (ctx, testApp) => {
            const { session } = ctx
            await signOutMeanwhile(ctx, testApp)
            const failures = [
              await failureOf(session.save()),
              await failureOf(session.reload()),
              await failureOf(session.touch()),
            ]
            for (const failure of failures) expect(failure).toMatchObject(ended)
          },
        },
        { store: makeStore() },
      )
      const cookie = cookieOf(await testApp.visit('/write?a=1'))

      const response = await testApp.visit('/slow', cookie)

      expect(response.status).toBe(200)
      expect(setCookies(response)).toEqual([])
    },
  )

  it.each(storeKinds)(
    'L8: lets a sign-in go into a new session with what it granted, on %s',
    async (_, makeStore) => {
      const testApp = makeApp(
        {
          '/start': ({ session }) => {
            session.setPrivileges({ privileges: 'browse', userName: 'ann' })
            session.storage.old = true
          },
          '/slow': async (ctx, testApp) => {
            await signOutMeanwhile(ctx, testApp)
            ctx.session.setPrivileges({ privileges: 'audit', userName: 'ann' })
          },
        },
        { store: makeStore() },
      )
      const browser = testApp.browser()
      await browser.get('/start')
      const before = await me(browser)

      const response = await browser.get('/slow')

      expect(response.status).toBe(200)
      expect(setCookies(response)).toHaveLength(1)
      const after = await me(browser)
      expect(after).toMatchObject({ userName: 'ann', privileges: ['audit'], storage: exactly({}) })
      expect(after.id).not.toBe(before.id)
    },
  )

  it('L8: lets a sign-in of a guest go into a new session', async () => {
    const testApp = makeApp({
      '/slow': async (ctx, testApp) => {
        await signOutMeanwhile(ctx, testApp)
        ctx.session.setPrivileges('audit')
      },
    })
    const browser = testApp.browser()
    await browser.get('/write?old=1')

    await browser.get('/slow')

    expect(await me(browser)).toMatchObject({
      userName: '',
      privileges: ['audit'],
      storage: exactly({}),
    })
  })

  it('L8: lets another user sign in, and keeps what that request changes later', async () => {
    const testApp = makeApp({
      '/slow': async (ctx, testApp) => {
        await signOutMeanwhile(ctx, testApp)
        expect(await failureOf(ctx.session.save())).toMatchObject(ended)
        ctx.session.setPrivileges({ privileges: 'audit', userName: 'bob' })
        await ctx.session.save()
        ctx.session.storage.later = true
      },
    })
    const browser = testApp.browser()
    await browser.get('/login?user=ann')

    await browser.get('/slow')

    expect(await me(browser)).toMatchObject({
      userName: 'bob',
      privileges: ['audit'],
      storage: exactly({ later: true }),
    })
  })

  it.each(storeKinds)(
    'L8: takes no more rights without a user name, on %s',
    async (_, makeStore) => {
      const testApp = makeApp(
        {
          '/slow': async (ctx, testApp) => {
            await signOutMeanwhile(ctx, testApp)
            ctx.session.setPrivileges('admin')
          },
        },
        { store: makeStore() },
      )
      const { cookie } = await signedIn(testApp)

      const response = await testApp.visit('/slow', cookie)

      expect(response.status).toBe(200)
      expect(setCookies(response)).toEqual([])
      expect((await testApp.visit('/me', cookie)).body).toMatchObject(guestView)
    },
  )

  it('L8: is nothing that a sign-out minds', async () => {
    const testApp = makeApp({
      '/slow': async (ctx, testApp) => {
        ctx.session.isGuest()
        await signOutMeanwhile(ctx, testApp)
        ctx.session = null
      },
    })
    const { cookie } = await signedIn(testApp)

    const response = await testApp.visit('/slow', cookie)

    expect(response.status).toBe(200)
    expect(setCookies(response)).toEqual([expect.stringMatching(/^session=; Max-Age=0;/)])
  })
})

describe('a cookie value that was rotated a moment ago', () => {
  it.each(storeKinds)(
    'L10: reads as a guest, and nothing happens to the cookie, on %s',
    async (_, makeStore) => {
      const testApp = makeApp({}, { store: makeStore() })
      const old = cookieOf(await testApp.visit('/write?a=1'))
      const current = cookieOf(await testApp.visit('/login', old))

      for (const path of ['/me', '/page']) {
        const response = await testApp.visit(path, old)
        expect(response.status).toBe(200)
        expect(setCookies(response)).toEqual([])
      }
      expect((await testApp.visit('/me', old)).body).toMatchObject(guestView)
      expect((await testApp.visit('/me', current)).body).toMatchObject({ userName: 'ann' })
    },
  )

  const changes: readonly (readonly [string, Handler])[] = [
    ['writes storage', ({ session }) => void (session.storage.a = 2)],
    ['signs in', ({ session }) => session.setPrivileges({ userName: 'ann' })],
    ['grants', ({ session }) => session.setPrivileges('admin')],
    ['sets the idle timeout', ({ session }) => void (session.idleTimeout = 90)],
    ['saves', ({ session }) => session.save()],
    ['regenerates', ({ session }) => session.regenerate()],
    ['ends the session', ({ session }) => session.destroy()],
    ['signs out', (ctx) => void (ctx.session = null)],
    [
      'signs out, then writes',
      (ctx) => {
        ctx.session = null
        ctx.session.storage.a = 2
      },
    ],
    [
      'destroys, then writes',
      async (ctx) => {
        await ctx.session.destroy()
        ctx.session.storage.a = 2
      },
    ],
    [
      'writes and throws 403',
      (ctx) => {
        ctx.session.storage.a = 2
        ctx.throw(403)
      },
    ],
  ]

  it.each(changes)('L10: gets 401 and no cookie for a request that %s', async (_, handler) => {
    const testApp = makeApp({ '/change': handler })
    const old = cookieOf(await testApp.visit('/write?a=1'))
    const current = cookieOf(await testApp.visit('/login', old))
    testApp.store.calls.length = 0

    const response = await testApp.visit('/change', old)

    expect(response.status).toBe(401)
    expect(response.text).toBe('the session has ended')
    expect(testApp.errors).toEqual([expect.objectContaining(ended)])
    expect(setCookies(response)).toEqual([])
    expect(testApp.store.calls).toEqual(['load'])
    expect((await testApp.visit('/me', current)).body).toMatchObject({
      userName: 'ann',
      storage: exactly({ a: '1' }),
    })
  })

  it('L10: is unknown after 30 s, and a change then starts a new session', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    onTestFinished(() => {
      vi.useRealTimers()
    })
    const testApp = makeApp()
    const old = cookieOf(await testApp.visit('/write?a=1'))
    await testApp.visit('/login', old)

    vi.setSystemTime(Date.now() + 29_999)
    expect((await testApp.visit('/write?a=2', old)).status).toBe(401)
    vi.setSystemTime(Date.now() + 2)
    const response = await testApp.visit('/write?a=2', old)

    expect(response.status).toBe(200)
    const { body } = await testApp.visit('/me', cookieOf(response))
    expect(body).toMatchObject({ userName: '', storage: exactly({ a: '2' }) })
  })
})

describe('session() on the way of a request', () => {
  it('passes through when the same Sessions is mounted a second time', async () => {
    const testApp = makeApp()
    const { app, sessions, store } = testApp
    app.use(session(sessions))
    app.use(writes)

    const response = await testApp.visit('/other')

    expect(response.status).toBe(200)
    expect(setCookies(response)).toHaveLength(1)
    expect(store.calls).toEqual(['create'])
  })

  it('throws when another Sessions is mounted a second time', async () => {
    const testApp = makeApp()
    testApp.app.use(session())
    testApp.app.use(writes)

    const response = await testApp.visit('/other')

    expect(response.status).toBe(500)
    expect(testApp.errors).toEqual([expect.objectContaining({ code: 'ERR_SESSION_OPTION' })])
    expect(testApp.store.calls).toEqual([])
  })

  it('has a name for stack traces', () => {
    expect(session().name).toBe('session')
  })

  it('leaves requests alone on which it is not mounted', async () => {
    const app = new Koa()
    const mounted = session()
    app.use((ctx, next) => (ctx.path === '/with' ? mounted(ctx, next) : next()))
    app.use((ctx) => {
      const found: unknown = ctx.session
      ctx.session = null
      ctx.body = typeof found
    })

    const answers = []
    for (const path of ['/without', '/with', '/without']) {
      answers.push((await request(app.callback()).get(path)).text)
    }

    expect(answers).toEqual(['undefined', 'object', 'undefined'])
  })

  it('keeps two apps with their own Sessions apart', async () => {
    const [one, two] = [makeApp(), makeApp()]
    const cookie = cookieOf(await one.visit('/write?a=1'))

    expect((await one.visit('/me', cookie)).body.storage).toEqual({ a: '1' })
    expect((await two.visit('/me', cookie)).body).toMatchObject(guestView)
  })

  it('says so when another package has taken ctx.session', async () => {
    const testApp = makeApp()
    // As koa-session does: an accessor on the app's context.
    Object.defineProperty(testApp.app.context, 'session', { get: () => ({}), set() {} })

    const response = await testApp.visit('/page')

    expect(response.status).toBe(500)
    expect(String(testApp.errors[0])).toBe(
      'TypeError: ctx.session is taken by another package, so session() cannot define it',
    )
  })
})

describe('ctx.session = null', () => {
  it.each(storeKinds)(
    'S10: ends the session and clears its cookie, on %s',
    async (_, makeStore) => {
      const testApp = makeApp({}, { store: makeStore() })
      const { cookie, id } = await signedIn(testApp)
      testApp.store.calls.length = 0

      const response = await testApp.visit('/logout', cookie)

      expect(testApp.store.calls).toEqual(['load', 'destroy'])
      expect(setCookies(response)).toEqual([
        'session=; Max-Age=0; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; SameSite=Lax',
      ])
      expect(testApp.events.at(-1)).toEqual({
        name: 'session:ended',
        event: { id, reason: 'destroyed' },
      })
      expect((await testApp.visit('/me', cookie)).body).toMatchObject(guestView)
    },
  )

  it('S10: leaves a new guest session, never null', async () => {
    const testApp = makeApp({
      '/start': ({ session }) => {
        session.setPrivileges({ privileges: 'browse', userName: 'ann' })
        session.storage.cart = ['tea']
        session.idleTimeout = 90
      },
      '/leave': (ctx) => {
        const before = ctx.session
        before.promote('lent')
        ctx.session = null
        const { id, isNew, userName, idleTimeout, storage } = ctx.session
        ctx.body = {
          isOther: ctx.session !== before && id !== before.id,
          isNew,
          isGuest: ctx.session.isGuest(),
          userName,
          privileges: ctx.session.getPrivileges(),
          isLent: ctx.session.hasPrivilege('lent'),
          idleTimeout,
          storage,
        }
      },
    })
    const browser = testApp.browser()
    await browser.get('/start')

    const { body } = await browser.get('/leave')

    expect(body).toEqual({ ...guestView, isOther: true, isLent: false })
  })

  it('S10: makes the old session object hold nothing and take nothing', async () => {
    const { visit } = makeApp({
      '/leave': (ctx) => {
        const old = ctx.session
        old.storage.a = 1
        old.setPrivileges({ privileges: 'admin', userName: 'ann' })
        ctx.session = null
        expect(old.hasPrivilege('admin')).toBe(false)
        expect(old.userName).toBe('')
        expect({ ...old.storage }).toEqual({})
        expect(errorOf(() => old.setPrivileges('admin'))).toMatchObject(ended)
        expect(errorOf(() => (old.storage.a = 1))).toMatchObject(ended)
        expect(errorOf(() => (old.idleTimeout = 90))).toMatchObject(ended)
      },
    })

    expect((await visit('/leave')).status).toBe(200)
  })

  it.each(storeKinds)(
    'S10: lets the same request fill the new session, on %s',
    async (_, makeStore) => {
      const testApp = makeApp(
        {
          '/switch': (ctx) => {
            ctx.session = null
            ctx.session.setPrivileges({ privileges: 'audit', userName: 'bob' })
          },
        },
        { store: makeStore() },
      )
      const browser = testApp.browser()
      const old = cookieOf(await browser.get('/login?user=ann'))
      const { id } = await me(browser)

      const response = await browser.get('/switch')

      expect(setCookies(response)).toHaveLength(1)
      const view = await me(browser)
      expect(view).toMatchObject({ userName: 'bob', privileges: ['audit'] })
      expect(view.id).not.toBe(id)
      expect((await testApp.visit('/me', old)).body).toMatchObject(guestView)
    },
  )

  it.each([
    ['an object', {}],
    ['undefined', undefined],
    ['false', false],
    ['a session', new Sessions()],
  ])('S10: takes no %s in place of null', async (_, value: unknown) => {
    const { visit, errors } = makeApp({
      '/assign': (ctx) => {
        Reflect.set(ctx, 'session', value)
      },
    })

    const response = await visit('/assign')

    expect(response.status).toBe(500)
    expect(errors[0]).toBeInstanceOf(TypeError)
  })

  it('S10: is the same twice', async () => {
    const testApp = makeApp({
      '/leave': (ctx) => {
        ctx.session = null
        ctx.session = null
      },
    })
    const { cookie } = await signedIn(testApp)
    testApp.store.calls.length = 0

    const response = await testApp.visit('/leave', cookie)

    expect(setCookies(response)).toHaveLength(1)
    expect(testApp.store.calls).toEqual(['load', 'destroy'])
    expect((await testApp.visit('/me', cookie)).body).toMatchObject(guestView)
  })
})

describe('destroy()', () => {
  it.each(storeKinds)('S9: ends the session at once, on %s', async (_, makeStore) => {
    const testApp = makeApp(
      {
        '/leave': async (ctx, { visit }) => {
          const old = ctx.session
          await old.destroy()
          ctx.body = (await visit('/me', ctx.get('Cookie'))).body
          expect(ctx.session).not.toBe(old)
          expect(ctx.session.isGuest()).toBe(true)
        },
      },
      { store: makeStore() },
    )
    const { cookie } = await signedIn(testApp)

    const response = await testApp.visit('/leave', cookie)

    expect(response.status).toBe(200)
    expect(response.body).toMatchObject(guestView)
    expect(setCookies(response)).toEqual([expect.stringMatching(/^session=; Max-Age=0;/)])
  })

  it('S9: stays done when the handler fails afterwards', async () => {
    const testApp = makeApp({
      '/leave': async (ctx) => {
        await ctx.session.destroy()
        throw new Error('bug')
      },
    })
    const { cookie } = await signedIn(testApp)

    const response = await testApp.visit('/leave', cookie)

    expect(response.status).toBe(500)
    expect(setCookies(response)).toEqual([expect.stringMatching(/^session=; Max-Age=0;/)])
    expect((await testApp.visit('/me', cookie)).body).toMatchObject(guestView)
  })

  it('S9: is waited for, also by a handler that does not, and a new session keeps its cookie', async () => {
    const testApp = makeApp({
      '/leave': ({ session }) => void session.destroy(),
      '/switch': (ctx) => {
        void ctx.session.destroy()
        ctx.session.storage.fresh = true
      },
    })
    const first = await signedIn(testApp)
    const second = await signedIn(testApp)

    const left = await testApp.visit('/leave', first.cookie)
    const switched = await testApp.visit('/switch', second.cookie)

    expect(setCookies(left)).toEqual([expect.stringMatching(/^session=; Max-Age=0;/)])
    expect((await testApp.visit('/me', first.cookie)).body).toMatchObject(guestView)
    expect((await testApp.visit('/me', cookieOf(switched))).body).toMatchObject({
      storage: exactly({ fresh: true }),
    })
  })

  it('S9: gives way to a new session that the same request fills', async () => {
    const testApp = makeApp({
      '/switch': async (ctx) => {
        await ctx.session.destroy()
        ctx.session.storage.fresh = true
      },
    })
    const browser = testApp.browser()
    await browser.get('/login')

    const response = await browser.get('/switch')

    expect(setCookies(response)).toHaveLength(1)
    expect(await me(browser)).toMatchObject({ isGuest: true, storage: exactly({ fresh: true }) })
  })
})

describe('regenerate()', () => {
  it.each(storeKinds)('S9: rotates the cookie; id and data stay, on %s', async (_, makeStore) => {
    const testApp = makeApp(
      { '/regenerate': ({ session }) => session.regenerate() },
      { store: makeStore() },
    )
    const browser = testApp.browser()
    const old = cookieOf(await browser.get('/login'))
    await browser.get('/write?a=1')
    const before = await me(browser)

    const response = await browser.get('/regenerate')

    expect(cookieOf(response)).not.toBe(old)
    const { expirationDate: _date, ...data } = before
    expect(await me(browser)).toMatchObject(data)
    expect((await testApp.visit('/me', old)).body).toMatchObject(guestView)
  })

  it('S9: commits what the request has changed', async () => {
    const testApp = makeApp({
      '/regenerate': async ({ session }) => {
        session.storage.a = 1
        session.setPrivileges('audit')
        await session.regenerate()
      },
    })
    const browser = testApp.browser()
    await browser.get('/login')
    testApp.store.calls.length = 0

    const response = await browser.get('/regenerate')

    expect(setCookies(response)).toHaveLength(1)
    expect(testApp.store.calls).toEqual(['load', 'commit'])
    expect(await me(browser)).toMatchObject({
      storage: exactly({ a: 1 }),
      privileges: ['browse', 'audit'],
    })
  })
})

describe('reload()', () => {
  it.each(storeKinds)('S9: drops changes and reads again, on %s', async (_, makeStore) => {
    const testApp = makeApp(
      {
        '/reload': async (ctx, { visit }) => {
          const { session } = ctx
          session.storage.mine = 1
          session.idleTimeout = 90
          session.setPrivileges('admin')
          session.promote('lent')
          await visit('/write?theirs=1', ctx.get('Cookie'))
          await session.reload()
          ctx.body = {
            storage: session.storage,
            idleTimeout: session.idleTimeout,
            privileges: session.getPrivileges(),
            isLent: session.hasPrivilege('lent'),
          }
        },
      },
      { store: makeStore() },
    )
    const { cookie } = await signedIn(testApp)

    const response = await testApp.visit('/reload', cookie)

    const storage = { theirs: '1' }
    expect(response.body).toEqual({
      storage,
      idleTimeout: 60,
      privileges: ['browse'],
      isLent: true,
    })
    expect(setCookies(response)).toEqual([])
    expect((await testApp.visit('/me', cookie)).body).toMatchObject({
      storage: exactly(storage),
      idleTimeout: 60,
    })
  })

  it('S9: makes a new session untouched again', async () => {
    const testApp = makeApp({
      '/reload': async ({ session }) => {
        session.storage.mine = 1
        session.setPrivileges({ userName: 'ann' })
        await session.reload()
      },
    })

    expect(setCookies(await testApp.visit('/reload'))).toEqual([])
    expect(testApp.store.calls).toEqual([])
  })
})

describe('touch()', () => {
  it('S9: counts as activity', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    onTestFinished(() => {
      vi.useRealTimers()
    })
    const start = Date.now()
    const testApp = makeApp(
      {
        '/stream': async ({ session }) => {
          vi.setSystemTime(start + 40 * 60_000)
          await session.touch()
          expect(session.expirationDate).toBe(new Date(start + 100 * 60_000).toISOString())
        },
      },
      { countsAsActivity: ({ path }) => path !== '/stream' },
    )
    const { cookie } = await signedIn(testApp)

    expect((await testApp.visit('/stream', cookie)).status).toBe(200)
    vi.setSystemTime(start + 90 * 60_000)

    expect((await testApp.visit('/me', cookie)).body).toMatchObject({ userName: 'ann' })
  })
})

describe('the callback forms', () => {
  it.each(['save', 'regenerate'] as const)('S9: call back when %s() is done', async (name) => {
    const testApp = makeApp({
      '/call': async ({ session }, { store }) => {
        session.storage.a = 1
        const calls: unknown[] = []
        await new Promise<void>((resolve) => {
          void session[name]((...args) => {
            calls.push(args, [...store.calls])
            resolve()
          })
        })
        expect(calls).toEqual([[], ['create']])
      },
    })

    expect((await testApp.visit('/call')).status).toBe(200)
  })

  it.each(['save', 'regenerate'] as const)(
    'S9: call back with the error when %s() fails, which then does not reject',
    async (name) => {
      const testApp = makeApp({
        '/call': async ({ session }, { store }) => {
          session.storage.a = 1
          store.faults.set('create', 'rejects')
          const callback = vi.fn<(error?: unknown) => void>()
          await session[name](callback)
          expect(callback.mock.calls).toEqual([[expect.objectContaining(storeFailed)]])
          store.faults.clear()
        },
      })

      expect((await testApp.visit('/call')).status).toBe(200)
      expect(testApp.store.calls).toEqual(['create', 'create'])
    },
  )
})

describe('a gain of rights', () => {
  const gains: readonly (readonly [string, Handler])[] = [
    ['a privilege', ({ session }) => session.setPrivileges('audit')],
    ['a role', ({ session }) => session.setPrivileges({ roles: 'Manager' })],
    ['a user name', ({ session }) => session.setPrivileges({ userName: 'bob' })],
    ['no user name any more', ({ session }) => session.setPrivileges({ userName: '' })],
    ['nobody any more', ({ session }) => session.clearPrivileges()],
    [
      'other rights after a clean-up',
      ({ session }) => {
        session.clearPrivileges()
        session.setPrivileges('audit')
      },
    ],
    [
      'a privilege, although the handler throws 403',
      (ctx) => {
        ctx.session.setPrivileges('audit')
        ctx.throw(403)
      },
    ],
  ]
  const roles = {
    privileges: [{ privilege: 'browse' }, { privilege: 'audit' }],
    roles: [{ role: 'Manager', privileges: ['audit'] }],
  }

  it.each(gains)('C5: rotates the cookie: %s', async (_, gain) => {
    const testApp = makeApp({ '/gain': gain }, { roles })
    const browser = testApp.browser()
    const old = cookieOf(await browser.get('/login'))

    const response = await browser.get('/gain')

    expect(setCookies(response)).toHaveLength(1)
    expect(cookieOf(response)).not.toBe(old)
    expect(await me(browser)).toMatchObject({ isNew: false })
    expect((await testApp.visit('/me', old)).body).toMatchObject(guestView)
  })

  it.each(storeKinds)(
    'C5: keeps id and storage of a guest who signs in, on %s',
    async (_, makeStore) => {
      const testApp = makeApp({}, { store: makeStore() })
      const browser = testApp.browser()
      const old = cookieOf(await browser.get('/write?cart=tea'))
      const { id } = await me(browser)

      const response = await browser.get('/login')

      expect(cookieOf(response)).not.toBe(old)
      expect(await me(browser)).toMatchObject({
        id,
        userName: 'ann',
        storage: exactly({ cart: 'tea' }),
      })
      expect((await testApp.visit('/me', old)).body).toMatchObject(guestView)
      expect(testApp.events.map(({ name }) => name)).toEqual([
        'session:created',
        'session:rotated',
        'session:signedIn',
      ])
    },
  )

  it('C5: gives a planted cookie nothing of the victim who signs in with it', async () => {
    const testApp = makeApp()
    const planted = cookieOf(await testApp.visit('/write?bait=1'))

    const victim = cookieOf(await testApp.visit('/login', planted))

    expect(victim).not.toBe(planted)
    expect((await testApp.visit('/me', planted)).body).toMatchObject(guestView)
    expect((await testApp.visit('/write?a=1', planted)).status).toBe(401)
    expect((await testApp.visit('/me', victim)).body.userName).toBe('ann')
  })

  it('C5: is none where rights stay or go, and then the cookie stays', async () => {
    const testApp = makeApp({
      '/grant': ({ session }) => session.setPrivileges('browse'),
      '/again': ({ session }) => session.setPrivileges({ privileges: ['Browse'] }),
      '/clear': ({ session }) => session.clearPrivileges(),
    })
    const browser = testApp.browser()
    await browser.get('/grant')

    for (const path of ['/again', '/clear']) {
      const response = await browser.get(path)
      expect(response.status).toBe(200)
      expect(setCookies(response)).toEqual([])
    }
    expect(await me(browser)).toMatchObject({ isGuest: true, isNew: false })
  })

  it.each(storeKinds)(
    'C5: starts a new session for another user, and ends this one, on %s',
    async (_, makeStore) => {
      const testApp = makeApp(
        {
          '/start': ({ session }) => {
            session.setPrivileges({ privileges: 'admin', userName: 'ann' })
            session.storage.secrets = 'of ann'
            session.idleTimeout = 90
          },
          '/switch': (ctx) => {
            const { session } = ctx
            session.promote('lent')
            session.storage.late = 'of ann'
            session.setPrivileges({ privileges: 'browse', userName: 'bob' })
            ctx.body = {
              privileges: session.getPrivileges(),
              storage: session.storage,
              isLent: session.hasPrivilege('lent'),
            }
          },
        },
        { store: makeStore() },
      )
      const browser = testApp.browser()
      const old = cookieOf(await browser.get('/start'))
      const { id } = await me(browser)

      const response = await browser.get('/switch')

      expect(response.body).toEqual({ privileges: ['browse'], storage: {}, isLent: false })
      expect(setCookies(response)).toHaveLength(1)
      const view = await me(browser)
      expect(view).toMatchObject({
        userName: 'bob',
        privileges: ['browse'],
        storage: exactly({}),
        idleTimeout: 60,
      })
      expect(view.id).not.toBe(id)
      expect((await testApp.visit('/me', old)).body).toMatchObject(guestView)
      expect((await testApp.visit('/write?a=1', old)).status).toBe(200)
      expect(testApp.events).toContainEqual({
        name: 'session:ended',
        event: { id, reason: 'replaced' },
      })
    },
  )

  it('C5: starts a new session for another user also when the first one has signed off', async () => {
    const testApp = makeApp({
      '/start': ({ session }) => {
        session.setPrivileges({ userName: 'ann' })
        session.storage.secrets = 'of ann'
      },
      '/switch': ({ session }) => {
        session.clearPrivileges()
        session.setPrivileges({ userName: 'bob' })
      },
    })
    const browser = testApp.browser()
    await browser.get('/start')
    const { id } = await me(browser)

    await browser.get('/switch')

    const view = await me(browser)
    expect(view).toMatchObject({ userName: 'bob', storage: exactly({}) })
    expect(view.id).not.toBe(id)
  })
})

describe('a store that fails', () => {
  const touching: readonly (readonly [string, Handler])[] = [
    ['reads', ({ session }) => session.isGuest()],
    ['writes', ({ session }) => void (session.storage.a = 1)],
    ['signs out', (ctx) => void (ctx.session = null)],
  ]

  it('F3: is not noticed by a page that never touches ctx.session', async () => {
    const testApp = makeApp()
    const { cookie } = await signedIn(testApp)
    testApp.store.faults.set('load', 'rejects')

    const response = await testApp.visit('/page', cookie)

    expect(response.status).toBe(200)
    expect(response.text).toBe('page')
    expect(setCookies(response)).toEqual([])
    expect(testApp.events.at(-1)).toMatchObject({
      name: 'session:storeError',
      event: { operation: 'load', error: storeFailed },
    })
  })

  it.each(touching)('F3: answers 503 with Retry-After when a handler %s', async (_, handler) => {
    const testApp = makeApp({ '/touch': handler })
    const { cookie } = await signedIn(testApp)
    testApp.store.faults.set('load', 'rejects')

    const response = await testApp.visit('/touch', cookie)

    expect(response.status).toBe(503)
    expect(response.text).toBe('Service Unavailable')
    expect(response.headers['retry-after']).toBe('1')
    expect(setCookies(response)).toEqual([])
    expect(testApp.errors).toEqual([expect.objectContaining(storeFailed)])
  })

  it('F2: is not noticed without a cookie, nor with a malformed one', async () => {
    const { visit, store } = makeApp()
    store.faults.set('load', 'rejects')

    for (const cookie of [undefined, 'session=abc', 'theme=dark']) {
      for (const path of ['/page', '/me', '/logout']) {
        expect((await visit(path, cookie)).status).toBe(200)
      }
    }
  })

  it.each(['rejects', 'hangs'] as const)(
    'F1: never answers 2xx for a change that was not stored: it %s',
    async (fault) => {
      const testApp = makeApp({}, { storeTimeoutMs: 20 })
      const { cookie } = await signedIn(testApp)
      for (const operation of ['create', 'commit', 'destroy'] as const) {
        testApp.store.faults.set(operation, fault)
      }

      const responses = [
        await testApp.visit('/write?a=1'),
        await testApp.visit('/login'),
        await testApp.visit('/write?a=1', cookie),
        await testApp.visit('/login?privileges=admin', cookie),
        await testApp.visit('/login?user=bob', cookie),
        await testApp.visit('/logout', cookie),
      ]

      for (const response of responses) {
        expect(response.status).toBe(503)
        expect(response.headers['retry-after']).toBe('1')
        expect(setCookies(response)).toEqual([])
      }
      testApp.store.faults.clear()
      expect((await testApp.visit('/me', cookie)).body).toMatchObject({
        userName: 'ann',
        privileges: ['browse'],
        storage: exactly({}),
      })
    },
  )

  it('F1: answers 503 in place of a redirect or of an error below 500', async () => {
    const { visit, store } = makeApp({
      '/redirect': (ctx) => {
        ctx.session.storage.a = 1
        ctx.redirect('/page')
      },
      '/refuse': (ctx) => {
        ctx.session.storage.a = 1
        ctx.throw(403)
      },
    })
    store.faults.set('create', 'rejects')

    for (const path of ['/redirect', '/refuse']) {
      const response = await visit(path)
      expect(response.status).toBe(503)
      expect(response.headers).not.toHaveProperty('location')
    }
  })

  it('F1: shows its failure to the handler that saves', async () => {
    const { visit, store } = makeApp({
      '/save': async (ctx) => {
        ctx.session.storage.a = 1
        expect(await failureOf(ctx.session.save())).toMatchObject(storeFailed)
        store.faults.clear()
      },
    })
    store.faults.set('create', 'rejects')

    const response = await visit('/save')

    expect(response.status).toBe(200)
    expect((await visit('/me', cookieOf(response))).body.storage).toEqual({ a: 1 })
  })

  it('F3: gives a guest with onStoreError "guest", whose changes answer 503', async () => {
    const testApp = makeApp({ '/save': ({ session }) => session.save() }, { onStoreError: 'guest' })
    const { cookie } = await signedIn(testApp)
    testApp.store.faults.set('load', 'rejects')

    const view = await testApp.visit('/me', cookie)
    expect(view.status).toBe(200)
    expect(view.body).toMatchObject(guestView)
    for (const path of ['/write?a=1', '/login', '/save']) {
      const response = await testApp.visit(path, cookie)
      expect(response.status).toBe(503)
      expect(response.headers['retry-after']).toBe('1')
      expect(setCookies(response)).toEqual([])
    }
    testApp.store.faults.clear()
    expect((await testApp.visit('/me', cookie)).body.userName).toBe('ann')
  })

  it('F3: does not say that a sign-out worked with onStoreError "guest"', async () => {
    const testApp = makeApp(
      { '/destroy': ({ session }) => session.destroy() },
      { onStoreError: 'guest' },
    )
    const { cookie } = await signedIn(testApp)
    testApp.store.faults.set('load', 'rejects')

    for (const path of ['/logout', '/destroy']) {
      expect((await testApp.visit(path, cookie)).status).toBe(503)
    }
  })

  it('H2: keeps the reason and never says it to the client', async () => {
    const testApp = makeApp()
    const { cookie } = await signedIn(testApp)
    testApp.store.faults.set('load', 'rejects')

    const response = await testApp.visit('/me', cookie)

    expect(response.text).not.toContain('broken')
    expect(testApp.errors[0]).toMatchObject({ cause: new Error('the store is broken') })
  })
})

describe('countsAsActivity', () => {
  it('§7: says which requests keep a session alive', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    onTestFinished(() => {
      vi.useRealTimers()
    })
    const start = Date.now()
    const asked: string[] = []
    const testApp = makeApp(
      {},
      {
        countsAsActivity: (ctx) => {
          asked.push(`${ctx.method} ${ctx.path} ${ctx.get('Cookie')}`)
          return ctx.query['poll'] === undefined
        },
      },
    )
    const polling = await signedIn(testApp)
    const working = await signedIn(testApp)

    vi.setSystemTime(start + 50 * 60_000)
    await testApp.visit('/me?poll=1', polling.cookie)
    await testApp.visit('/me', working.cookie)
    vi.setSystemTime(start + 100 * 60_000)

    expect((await testApp.visit('/me', polling.cookie)).body).toMatchObject(guestView)
    expect((await testApp.visit('/me', working.cookie)).body.userName).toBe('ann')
    expect(asked).toContain(`GET /me ${working.cookie}`)
  })

  it('§7: is not asked about requests without a session cookie', async () => {
    const countsAsActivity = vi.fn(() => true)
    const { visit } = makeApp({}, { countsAsActivity })

    await visit('/me')
    await visit('/me', 'session=abc')

    expect(countsAsActivity).not.toHaveBeenCalled()
  })
})
