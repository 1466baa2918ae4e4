import { describe, expect, it } from 'vitest'

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
import { signedIn } from '../support/session-requests.ts'

describe('the commit', () => {
  it('L6: finishes before the response is sent', async () => {
    const testApp = makeApp()

    const cookie = cookieOf(await testApp.visit('/write?a=1'))

    expect(testApp.store.calls).toEqual(['create'])
    expect((await testApp.visit('/me', cookie)).body.storage).toEqual({ a: '1' })
  })

  it('L6: finishes before a streamed response starts', async () => {
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

  it.each(storeKinds)('L6: happens when the handler throws 403, on %s', async (_, makeStore) => {
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
  ])('L6: happens when the thrown error has the status %s', async (_, properties, status) => {
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
    ['throws an error whose status is not a number', () => Promise.reject(statusError('403'))],
    [
      'throws an error with a status that Koa answers by 500',
      () => Promise.reject(statusError(444)),
    ],
    // oxlint-disable-next-line prefer-promise-reject-errors -- the case
    ['throws an object that is not an error', () => Promise.reject({ status: 403 })],
    // oxlint-disable-next-line prefer-promise-reject-errors -- the case
    ['throws text', () => Promise.reject('bug')],
    ['sets the status 500', (ctx) => void (ctx.status = 500)],
    ['sets the status 502', (ctx) => void (ctx.status = 502)],
  ]

  it.each(faults)('L6: does not happen when the handler %s', async (_, fault) => {
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

  it('L6: does not end a session when the handler fails', async () => {
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
      'save() was not awaited',
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

describe('a gain of rights', () => {
  const gains: readonly (readonly [string, Handler])[] = [
    ['a privilege', ({ session }) => session.setPrivileges('audit')],
    ['a role', ({ session }) => session.setPrivileges({ roles: 'Manager' })],
    ['a user name', ({ session }) => session.setPrivileges({ userName: 'bob' })],
    ['no user name any more', ({ session }) => session.setPrivileges({ userName: '' })],
    ['no user and no rights any more', ({ session }) => session.clearPrivileges()],
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

  it('C5: gives a planted cookie no access to the victim who signs in with it', async () => {
    const testApp = makeApp()
    const planted = cookieOf(await testApp.visit('/write?bait=1'))

    const victim = cookieOf(await testApp.visit('/login', planted))

    expect(victim).not.toBe(planted)
    expect((await testApp.visit('/me', planted)).body).toMatchObject(guestView)
    expect((await testApp.visit('/write?a=1', planted)).status).toBe(401)
    expect((await testApp.visit('/me', victim)).body.userName).toBe('ann')
  })

  it('C5: does not happen when rights stay or are taken away, so the cookie stays', async () => {
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

  it('C5: starts a new session for another user even after the first has signed off', async () => {
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

function statusError(status: unknown): Error {
  return Object.assign(new Error('bug'), { status })
}
