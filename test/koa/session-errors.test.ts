import { describe, expect, it } from 'vitest'

import { cookieOf, exactly, guestView, makeApp, me, setCookies } from '../support/apps.ts'
import type { Handler } from '../support/apps.ts'
import { failureOf, signedIn, storeFailed } from '../support/session-requests.ts'

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

  it('L7: survives a fault after save()', async () => {
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

  it("L7: keeps the app's own headers and cookies on the error", async () => {
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

  it("L7: leaves the app's headers alone on an error without a session cookie", async () => {
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

  it('L7: never reaches another client with an error object that is thrown again', async () => {
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

  it('L7: reaches the right one of 20 clients that share one error object', async () => {
    const headers = Object.freeze({ 'Retry-After': '1' })
    const refused = Object.assign(new Error('refused'), { status: 403, headers })
    const waiting: (() => void)[] = []
    const { visit } = makeApp({
      '/refuse': async (ctx) => {
        ctx.session.storage.name = ctx.query['name']
        // The last one wakes all, so that their commits and responses interleave.
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

  it('L7: does not change the error for the app', async () => {
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

  it('L7: survives an error with private fields, such as a DOMException', async () => {
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

  it("L7: is part of the response of the app's own error middleware, mounted before session()", async () => {
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

describe('a store that fails', () => {
  const touching: readonly (readonly [string, Handler])[] = [
    ['reads', ({ session }) => session.isGuest()],
    ['writes', ({ session }) => void (session.storage.a = 1)],
    ['signs out', (ctx) => void (ctx.session = null)],
  ]

  it('F3: does not affect a page that never touches ctx.session', async () => {
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

  it('F2: does not affect requests without a cookie or with a malformed one', async () => {
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

  it('F1: answers 503 in place of a redirect or an error below 500', async () => {
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

  it('F1: rejects the save() of a handler', async () => {
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

  it('F3: leaves a guest with onStoreError "guest", whose changes answer 503', async () => {
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

  it('F3: never reports a sign-out as done with onStoreError "guest"', async () => {
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

  it('H2: keeps the reason, and never sends it to the client', async () => {
    const testApp = makeApp()
    const { cookie } = await signedIn(testApp)
    testApp.store.faults.set('load', 'rejects')

    const response = await testApp.visit('/me', cookie)

    expect(response.text).not.toContain('broken')
    expect(testApp.errors[0]).toMatchObject({ cause: new Error('the store is broken') })
  })
})
