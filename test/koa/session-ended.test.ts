import type { Context } from 'koa'
import { Sessions } from 'koa-user-sessions'
import type { Session } from 'koa-user-sessions'
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
import { ended, failureOf, signedIn } from '../support/session-requests.ts'

/** Ends the session of a request with another request of the same client. */
async function signOutMeanwhile(ctx: Context, testApp: TestApp): Promise<void> {
  const response = await testApp.visit('/logout', ctx.get('Cookie'))
  expect(response.status).toBe(200)
}

/** The error that a call throws. */
function errorOf(work: () => unknown): unknown {
  try {
    work()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

describe('a session that another request has ended', () => {
  it.each(storeKinds)(
    'L8: stays ended, and the response is unchanged, on %s',
    async (_, makeStore) => {
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
    },
  )

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

  it.each(explicit)('L8: makes %s() throw again and again, and answers 401', async (_, call) => {
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
  })

  it.each(storeKinds)(
    'L8: leaves the response alone when the handler catches the error of save(), on %s',
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
    'L8: sends a sign-in into a new session with its grants, on %s',
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

  it('L8: sends a sign-in of a guest into a new session', async () => {
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

  it('L8: lets another user sign in, and keeps the later changes of that request', async () => {
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

  it.each(storeKinds)('L8: accepts no rights without a user name, on %s', async (_, makeStore) => {
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
  })

  it('L8: does not disturb a sign-out', async () => {
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
    'L10: reads as a guest, and leaves the cookie as it is, on %s',
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

  it('S10: empties the old session object, which refuses changes', async () => {
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
  ])('S10: throws for %s in place of null', async (_, value: unknown) => {
    const { visit, errors } = makeApp({
      '/assign': (ctx) => {
        Reflect.set(ctx, 'session', value)
      },
    })

    const response = await visit('/assign')

    expect(response.status).toBe(500)
    expect(errors[0]).toBeInstanceOf(TypeError)
  })

  it('S10: has the same effect twice', async () => {
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
