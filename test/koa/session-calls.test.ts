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
import { signedIn, storeFailed } from '../support/session-requests.ts'

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

  it('S9: finishes even when the handler does not await it, and a new session keeps its cookie', async () => {
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

  it('S9: yields to a new session that the same request fills', async () => {
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
  it.each(storeKinds)(
    'S9: rotates the cookie and keeps id and data, on %s',
    async (_, makeStore) => {
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
    },
  )

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
  it.each(['save', 'regenerate'] as const)(
    'S9: call the callback when %s() is done',
    async (name) => {
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
    },
  )

  it.each(['save', 'regenerate'] as const)(
    'S9: pass an error of %s() to the callback, and do not reject',
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
