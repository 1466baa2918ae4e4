import { KoaPassport } from 'koa-passport'
import { RedisStore, requireUser } from 'koa-user-sessions'
import { Strategy } from 'passport-local'
import request from 'supertest'
import { describe, expect, it } from 'vitest'

import { app as example } from '../../examples/passport.ts'
import { cookieOf, makeApp, me, setCookies } from '../support/apps.ts'
import type { Handler, TestApp } from '../support/apps.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'

describe('examples/passport.ts', () => {
  it('keeps the cart after a failed and a good sign-in, and forgets everything at sign-out', async () => {
    const agent = request.agent(example.callback())
    const signIn = (username: string, password: string) =>
      agent.post('/login').type('form').send({ username, password })

    await agent.get('/').expect(401)
    await agent.post('/cart/tea').expect(200, ['tea'])
    await signIn('ann', 'tea').expect(401, 'Unauthorized')
    await signIn('nobody', 'undefined').expect(401)
    await agent.post('/login').type('form').send({ username: 'ann' }).expect(400)
    await agent.get('/').expect(401)
    await signIn('ann', 'kettle').expect(200, 'signed in as ann')
    await agent.get('/').expect(200, { userName: 'ann', passport: 'ann', cart: ['tea'] })
    await signIn('ben', 'teapot').expect(200, 'signed in as ben')
    await agent.get('/').expect(200, { userName: 'ben', passport: 'ben' })
    await agent.post('/logout').expect(204)
    await agent.get('/').expect(401)
  })

  it('refuses a sign-in from another site', async () => {
    await request(example.callback())
      .post('/login')
      .set('Sec-Fetch-Site', 'cross-site')
      .type('form')
      .send({ username: 'ann', password: 'kettle' })
      .expect(403)
  })
})

/** Holds requests until this many have arrived. */
function meeting(count: number): () => Promise<void> {
  const there: (() => void)[] = []
  return () =>
    new Promise((resolve) => {
      there.push(resolve)
      if (there.length === count) for (const go of there) go()
    })
}

const known = ['ann', 'ben']

/**
 * An app with Passport on Redis. `/sign-in` and `/sign-out` are Passport's own and do nothing else.
 * The password of every user is `kettle`.
 */
function passportApp(handlers: Readonly<Record<string, Handler>> = {}): TestApp {
  const passport = new KoaPassport()
  passport.serializeUser((user, done) => done(null, user))
  passport.deserializeUser((stored, done) => {
    const name: unknown = Reflect.get(Object(stored), 'name')
    const isKnown = known.some((one) => one === name)
    done(null, isKnown && { name: String(name) })
  })
  passport.use(
    new Strategy((name, password, done) => done(null, password === 'kettle' ? { name } : false)),
  )
  const store = new RedisStore(connectRedis(), { prefix: uniquePrefix() })
  const testApp = makeApp({}, { store })
  const [own] = testApp.app.middleware.splice(1)
  testApp.app.use(passport.initialize())
  testApp.app.use(passport.session())
  const authenticate = passport.authenticate('local')
  testApp.app.use(async (ctx, next) => {
    const handler = handlers[ctx.path]
    if (ctx.path === '/sign-in') {
      await authenticate(ctx, async () => {
        ctx.body = ctx.state['user']
      })
    } else if (ctx.path === '/sign-out') {
      await ctx.logout()
      ctx.status = 204
    } else if (ctx.path === '/who') {
      ctx.body = { user: ctx.state['user'] ?? null, is: ctx.isAuthenticated() }
    } else if (handler) {
      ctx.status = 200
      await handler(ctx, testApp)
    } else await next()
  })
  if (own) testApp.app.use(own)
  return testApp
}

const signIn = '/sign-in?username=ann&password=kettle'
const nobody = { user: null, is: false }
const ann = { user: { name: 'ann' }, is: true }

describe('ctx.session under koa-passport', () => {
  it('S9, S11: accepts a sign-in, and knows the user at the next request', async () => {
    const agent = passportApp().browser()
    await agent.get('/who').expect(200, nobody)

    await agent.get(signIn).expect(200, { name: 'ann' })

    await agent.get('/who').expect(200, ann)
    const { storage, userName, isGuest } = await me(agent)
    expect(storage).toEqual({ passport: { user: { name: 'ann' } } })
    expect({ userName, isGuest }).toEqual({ userName: '', isGuest: true })
  })

  it('L2: creates no session for a visitor who does not sign in', async () => {
    const testApp = passportApp()

    const failed = await testApp.visit('/sign-in?username=ann&password=tea')
    const visit = await testApp.visit('/who')

    expect(failed.status).toBe(401)
    expect([...setCookies(failed), ...setCookies(visit)]).toEqual([])
    expect(testApp.store.calls).toEqual([])
  })

  it('C5: changes the cookie value at a sign-in and a sign-out, and the previous one opens nothing', async () => {
    const testApp = passportApp()
    const before = cookieOf(await testApp.visit('/write?cart=tea'))

    const signedIn = cookieOf(await testApp.visit(signIn, before))

    expect(signedIn).not.toBe(before)
    expect((await testApp.visit('/me', before)).body.storage).toEqual({})
    expect((await testApp.visit('/who', before)).body).toEqual(nobody)
    expect((await testApp.visit('/me', signedIn)).body.storage).toMatchObject({ cart: 'tea' })

    const signedOut = cookieOf(await testApp.visit('/sign-out', signedIn))

    expect((await testApp.visit('/who', signedIn)).body).toEqual(nobody)
    expect((await testApp.visit('/who', signedOut)).body).toEqual(nobody)
    expect((await testApp.visit('/me', signedOut)).body.storage).toEqual({
      cart: 'tea',
      passport: {},
    })
  })

  it('forgets a user whom the app no longer knows', async () => {
    const agent = passportApp().browser()
    await agent.get('/sign-in?username=gone&password=kettle').expect(200)

    await agent.get('/who').expect(200, nobody)

    expect((await me(agent)).storage).toEqual({ passport: {} })
  })

  it.each([{ keepSessionInfo: true }, { keepSessionInfo: false }])(
    'S9: keeps the storage, as regenerate() does, with %o',
    async (options) => {
      const agent = passportApp({
        '/in': (ctx) => ctx.login({ name: 'ann' }, options),
        '/out': (ctx) => {
          // Its types omit the options.
          const caller: { logout(options: object): Promise<void> } = ctx
          return caller.logout(options)
        },
      }).browser()
      await agent.get('/write?cart=tea')
      const { id } = await me(agent)

      await agent.get('/in').expect(200)
      await agent.get('/who').expect(200, ann)
      await agent.get('/out').expect(200)

      await agent.get('/who').expect(200, nobody)
      expect(await me(agent)).toMatchObject({ id, storage: { cart: 'tea' } })
    },
  )

  it('C8: accepts both of two parallel sign-ins that name their user', async () => {
    const meet = meeting(2)
    const testApp = passportApp({
      '/in': async (ctx) => {
        await meet()
        ctx.session.setPrivileges({ userName: 'ann' })
        await ctx.login({ name: 'ann' })
      },
    })
    const before = cookieOf(await testApp.visit('/write?cart=tea'))

    const both = await Promise.all([testApp.visit('/in', before), testApp.visit('/in', before)])

    for (const response of both) {
      expect(response.status).toBe(200)
      const cookie = cookieOf(response)
      expect((await testApp.visit('/who', cookie)).body).toEqual(ann)
      expect((await testApp.visit('/me', cookie)).body.userName).toBe('ann')
    }
    expect((await testApp.visit('/who', before)).body).toEqual(nobody)
  })

  it('L10: accepts one of two parallel sign-ins by Passport alone, and leaves the cookie as it is', async () => {
    const meet = meeting(2)
    const testApp = passportApp({
      '/in': async (ctx) => {
        await meet()
        await ctx.login({ name: 'ann' })
      },
    })
    const before = cookieOf(await testApp.visit('/write?cart=tea'))

    const both = await Promise.all([testApp.visit('/in', before), testApp.visit('/in', before)])

    const [first, second] = both.toSorted((a, b) => a.status - b.status)
    expect([first?.status, second?.status]).toEqual([200, 401])
    expect(second && setCookies(second)).toEqual([])
    expect((await testApp.visit('/who', first && cookieOf(first))).body).toEqual(ann)
  })

  it('gives the next user nothing of the previous one', async () => {
    const agent = passportApp({
      '/in': async (ctx) => {
        const name = String(ctx.query['user'])
        ctx.session.setPrivileges({ userName: name })
        await ctx.login({ name })
      },
    }).browser()
    await agent.get('/in?user=ann').expect(200)
    await agent.get('/write?cart=tea')

    await agent.get('/in?user=ben').expect(200)

    await agent.get('/who').expect(200, { user: { name: 'ben' }, is: true })
    const { userName, storage } = await me(agent)
    expect({ userName, storage }).toEqual({
      userName: 'ben',
      storage: { passport: { user: { name: 'ben' } } },
    })
  })

  it('G2: is a guest to a guard until setPrivileges() names the user', async () => {
    const guard = requireUser()
    const testApp = passportApp({ '/guarded': (ctx) => guard(ctx, async () => {}) })
    const agent = testApp.browser()
    await agent.get(signIn).expect(200)

    await agent.get('/guarded').expect(401)
    await agent.get('/login?user=ann').expect(200)

    await agent.get('/guarded').expect(200)
    await agent.get('/who').expect(200, ann)
    // Passport does not know about that: signing out concerns the session.
    await agent.get('/sign-out').expect(204)
    await agent.get('/guarded').expect(200)
    await agent.get('/logout').expect(200)
    await agent.get('/guarded').expect(401)
  })
})

describe('session.passport', () => {
  it('S11: is storage.passport, with the rules of storage, and the only such property', async () => {
    const seen: unknown[] = []
    const { visit, errors } = makeApp({
      '/set': (ctx) => {
        ctx.session.passport = { user: 1 }
        seen.push(ctx.session.storage['passport'], 'passport' in ctx.session)
        ctx.session.storage['passport'] = 'text'
        seen.push(ctx.session.passport)
        ctx.session.passport = undefined
        seen.push(Object.keys(ctx.session.storage))
      },
      '/function': (ctx) => {
        ctx.session.passport = { user: () => 1 }
      },
      '/other': (ctx) => {
        Reflect.set(ctx.session, 'passports', {})
      },
    })

    await visit('/set')
    const wrong = await visit('/function')
    const other = await visit('/other')

    expect(seen).toEqual([{ user: 1 }, true, undefined, []])
    expect([wrong.status, other.status]).toEqual([500, 500])
    expect(errors).toMatchObject([{ code: 'ERR_SESSION_STORAGE_VALUE' }, { name: 'TypeError' }])
  })
})
