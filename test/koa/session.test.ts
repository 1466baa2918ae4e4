import Koa from 'koa'
import { session } from 'koa-user-sessions'
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
import type { Handler } from '../support/apps.ts'
import { signedIn, writes } from '../support/session-requests.ts'

describe('a guest', () => {
  it.each([
    ['has no cookie', undefined],
    ['has a malformed cookie', 'session=abc'],
    ['has an unknown cookie', `session=${'A'.repeat(64)}`],
  ])('L1: is new, has no rights and an empty storage when it %s', async (_, cookie) => {
    const { visit } = makeApp()

    const { status, body } = await visit('/me', cookie)

    expect(status).toBe(200)
    expect(body).toMatchObject(guestView)
    expect(body.id).toMatch(/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/)
  })

  it.each(storeKinds)(
    'L1: is any client with the cookie of an ended session, on %s',
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

  it('L1: is any client with the cookie of an expired session', async () => {
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

  it('S1: never gets an id that the client sent', async () => {
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

  it('L2: costs no store call for a malformed cookie, and one for an unknown cookie', async () => {
    const { visit, store } = makeApp()

    await visit('/me', 'session=abc')
    expect(store.calls).toEqual([])

    const response = await visit('/me', `session=${'A'.repeat(64)}`)
    expect(store.calls).toEqual(['load'])
    expect(setCookies(response)).toEqual([])
  })

  it('L1, M1: works for a handler that leaves the body unread, and keeps its address', async () => {
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
    ['names no user', ({ session }) => session.setPrivileges({ userName: '' })],
    ['clears nothing', ({ session }) => session.clearPrivileges()],
    ['grants and clears', ({ session }) => session.setPrivileges('a') && session.clearPrivileges()],
    ['lends a privilege', ({ session }) => session.promote('a')],
    ['touches', ({ session }) => session.touch()],
    ['reloads', ({ session }) => session.reload()],
    ['ends the session', (ctx) => void (ctx.session = null)],
    ['destroys the session', ({ session }) => session.destroy()],
  ]

  it.each(equalValues)('L2: does not happen when a new guest only %s', async (_, handler) => {
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

  it.each(equalToStored)(
    'L2: does not happen when %s is set to its present value',
    async (_, handler) => {
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
    },
  )

  it.each(storeKinds)('L2: stays for the next request, on %s', async (_, makeStore) => {
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

describe('session() mounted in an app', () => {
  it('passes through when the same Sessions is mounted twice', async () => {
    const testApp = makeApp()
    const { app, sessions, store } = testApp
    app.use(session(sessions))
    app.use(writes)

    const response = await testApp.visit('/other')

    expect(response.status).toBe(200)
    expect(setCookies(response)).toHaveLength(1)
    expect(store.calls).toEqual(['create'])
  })

  it('throws when a second Sessions is mounted', async () => {
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

  it('leaves other requests alone', async () => {
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

  it('reports another package that has taken ctx.session', async () => {
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

describe('countsAsActivity', () => {
  it('§7: decides which requests keep a session alive', async () => {
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

  it('§7: is not called for requests without a session cookie', async () => {
    const countsAsActivity = vi.fn(() => true)
    const { visit } = makeApp({}, { countsAsActivity })

    await visit('/me')
    await visit('/me', 'session=abc')

    expect(countsAsActivity).not.toHaveBeenCalled()
  })
})
