import Router from '@koa/router'
import Koa from 'koa'
import { session, Sessions, SessionStoreError } from 'koa-user-sessions'
import type { SessionsOptions } from 'koa-user-sessions'
import { sessionRoutes } from 'koa-user-sessions/routes'
import supertest from 'supertest'
import type { Response } from 'supertest'
import { afterEach, describe, expect, it, vi } from 'vitest'

import { makeApp, me, setCookies, storeKinds } from './support/apps.ts'
import type { TestApp } from './support/apps.ts'

type Browser = ReturnType<TestApp['browser']>

const unknownId = '01234567-89ab-4cde-8f01-23456789abcd'

/** Every route, with an id that is well-formed. */
const routes = [
  ['get', '/sessions'],
  ['delete', '/sessions'],
  ['delete', `/sessions/${unknownId}`],
  ['get', `/sessions/${unknownId}/info`],
] as const

/** An app with the routes, and an observer of its events. */
function makeRouted(options: SessionsOptions = {}): TestApp {
  const testApp = makeApp({}, options)
  testApp.app.use(sessionRoutes(testApp.sessions).routes())
  return testApp
}

/** A browser with a signed-in user, and the id of the session. */
async function signIn(
  { browser }: TestApp,
  user: string,
  privileges = '',
): Promise<{ client: Browser; id: string }> {
  const client = browser()
  await client.get('/login').query({ user, privileges })
  const { id } = await me(client)
  return { client, id }
}

async function isSignedIn(client: Browser): Promise<boolean> {
  const { userName, isGuest } = await me(client)
  return userName !== '' || !isGuest
}

async function idsFor(client: Browser): Promise<string[]> {
  const list: { id: string }[] = (await client.get('/sessions').expect(200)).body
  return list.map(({ id }) => id)
}

/** The form of all refusals. */
function expectRefusal(response: Response, status: number, code: string, message: string): void {
  expect(response.status).toBe(status)
  expect(response.body).toEqual({ code, message })
  expect(response.type).toBe('application/json')
  expect(response.headers['cache-control']).toBe('no-store')
}

function expectNone(response: Response): void {
  expect(response.status).toBe(404)
  expect(response.body).toEqual({ message: 'no such session' })
  expect(response.headers['cache-control']).toBe('no-store')
}

describe.each(storeKinds)('sessionRoutes with a %s', (_name, makeStore) => {
  it("M12: lists the caller's sessions, the current one first", async () => {
    const testApp = makeRouted({ store: makeStore() })
    const here = await signIn(testApp, 'ann')
    const there = await signIn(testApp, 'ann')
    await signIn(testApp, 'ben')

    const response = await here.client.get('/sessions')

    expect(response.status).toBe(200)
    expect(response.type).toBe('application/json')
    expect(response.headers['cache-control']).toBe('no-store')
    expect(response.headers['vary']).toBe('Cookie')
    expect(response.body).toEqual([
      expect.objectContaining({ id: here.id, isCurrent: true, dateActive: expect.any(Number) }),
      expect.objectContaining({ id: there.id, isCurrent: false, dateActive: expect.any(Number) }),
    ])
    expect(await idsFor(there.client)).toEqual([there.id, here.id])
  })

  it('M12: ends a session, whose client is a guest from then on', async () => {
    const testApp = makeRouted({ store: makeStore() })
    const here = await signIn(testApp, 'ann')
    const there = await signIn(testApp, 'ann')

    const response = await here.client.delete(`/sessions/${there.id}`)

    expect(response.status).toBe(204)
    expect(response.text).toBe('')
    expect(response.headers['cache-control']).toBe('no-store')
    expect(await isSignedIn(there.client)).toBe(false)
    expect(await idsFor(here.client)).toEqual([here.id])
    expectNone(await here.client.delete(`/sessions/${there.id}`))
  })

  it('M12: ends the current session and clears its cookie', async () => {
    const testApp = makeRouted({ store: makeStore() })
    const { client, id } = await signIn(testApp, 'ann')

    const response = await client.delete(`/sessions/${id}`)

    expect(response.status).toBe(204)
    expect(setCookies(response)).toEqual([expect.stringMatching(/^session=; Max-Age=0;/)])
    expect(response.headers['cache-control']).toBe('no-store')
    expect(await testApp.sessions.info(id)).toBeNull()
    expect((await client.get('/sessions')).status).toBe(401)
  })

  it("M12: ends only the caller's own sessions, and answers 404 to others", async () => {
    const testApp = makeRouted({ store: makeStore() })
    const ann = await signIn(testApp, 'ann', 'WebAdmin')
    const ben = await signIn(testApp, 'ben')
    const guest = testApp.browser()
    await guest.get('/write?a=1')

    expectNone(await ann.client.delete(`/sessions/${ben.id}`))
    expectNone(await ann.client.delete(`/sessions/${(await me(guest)).id}`))
    expectNone(await ann.client.delete(`/sessions/${unknownId}`))

    expect(await isSignedIn(ben.client)).toBe(true)
    expect((await me(guest)).storage).toEqual({ a: '1' })
    expect(await idsFor(ann.client)).toEqual([ann.id])
  })

  it.each([
    '__proto__',
    'constructor',
    'toString',
    'info',
    'null',
    '0',
    '*',
    '%00',
    '%0d%0aSet-Cookie:%20a=b',
    '%E0%A4%A',
    '%ff',
    '%2F',
    'a%2Fb',
    '..%2F..',
    '{a}',
    '%7Ba%7D',
    ':id',
    '(.*)',
    '%F0%9F%8D%B5',
  ])('M12, H1: finds no session %s', async (id) => {
    const testApp = makeRouted({ store: makeStore() })
    const { client } = await signIn(testApp, 'ann', 'WebAdmin')

    expectNone(await client.delete(`/sessions/${id}`))
    expectNone(await client.get(`/sessions/${id}/info`))
    expect(testApp.errors).toEqual([])
    expect(await isSignedIn(client)).toBe(true)
  })

  it('M12, M1, H1: accepts an id in any case, but nothing around it', async () => {
    const testApp = makeRouted({ store: makeStore() })
    const here = await signIn(testApp, 'ann', 'WebAdmin')
    const there = await signIn(testApp, 'ann')

    for (const { id } of [here, there]) {
      for (const spelt of [`${id}%20`, `%20${id}`, `${id}%0A`, `{${id}}`, id.repeat(200)]) {
        expectNone(await here.client.delete(`/sessions/${spelt}`))
        expectNone(await here.client.get(`/sessions/${spelt}/info`))
      }
    }

    expect(await idsFor(here.client)).toEqual([here.id, there.id])
    const spelt = there.id.toUpperCase()
    expect((await here.client.get(`/sessions/${spelt}/info`)).body).toMatchObject({ ID: there.id })
    expect((await here.client.delete(`/sessions/${spelt}`)).status).toBe(204)
    expect(await idsFor(here.client)).toEqual([here.id])
  })

  it('M12: ends all other sessions of this user only', async () => {
    const testApp = makeRouted({ store: makeStore() })
    const here = await signIn(testApp, 'ann')
    const others = [await signIn(testApp, 'ann'), await signIn(testApp, 'ann')]
    const ben = await signIn(testApp, 'ben')

    const response = await here.client.delete('/sessions')

    expect(response.status).toBe(200)
    expect(response.body).toEqual({ ended: 2 })
    expect(response.headers['cache-control']).toBe('no-store')
    expect(await isSignedIn(here.client)).toBe(true)
    for (const { client } of others) expect(await isSignedIn(client)).toBe(false)
    expect(await isSignedIn(ben.client)).toBe(true)
    expect((await here.client.delete('/sessions')).body).toEqual({ ended: 0 })
  })

  it('M12: ends nothing when the id is missing', async () => {
    const testApp = makeRouted({ store: makeStore() })
    const here = await signIn(testApp, 'ann')
    await signIn(testApp, 'ann')

    expect((await here.client.delete('/sessions/')).status).toBe(404)
    expect(await idsFor(here.client)).toHaveLength(2)
  })

  it('M12: answers success to only one of two who end the same session at once', async () => {
    const testApp = makeRouted({ store: makeStore() })
    const here = await signIn(testApp, 'ann')
    const there = await signIn(testApp, 'ann')

    const ends = Array.from({ length: 4 }, () => here.client.delete(`/sessions/${there.id}`))
    const statuses = (await Promise.all(ends)).map(({ status }) => status)

    expect(statuses.filter((status) => status === 204)).toHaveLength(1)
    expect(statuses.filter((status) => status === 404)).toHaveLength(3)
  })

  it('M12: shows any session to WebAdmin only', async () => {
    const testApp = makeRouted({ store: makeStore() })
    const admin = await signIn(testApp, 'root', 'webadmin')
    const ann = await signIn(testApp, 'ann', 'browse')

    const response = await admin.client.get(`/sessions/${ann.id}/info`)

    expect(response.status).toBe(200)
    expect(response.headers['cache-control']).toBe('no-store')
    expect(response.body).toMatchObject({ ID: ann.id, userName: 'ann', type: 'web' })
    expectNone(await admin.client.get(`/sessions/${unknownId}/info`))
    for (const id of [ann.id, admin.id, unknownId]) {
      const refused = await ann.client.get(`/sessions/${id}/info`)
      const message = 'not allowed: a privilege is missing'
      expectRefusal(refused, 403, 'ERR_SESSION_PRIVILEGE', message)
    }
  })

  it('M12: lists no sessions for a caller signed in without a name', async () => {
    const testApp = makeRouted({ store: makeStore() })
    const here = await signIn(testApp, '', 'browse')
    const there = await signIn(testApp, '', 'browse')
    const guest = testApp.browser()
    await guest.get('/write?a=1')

    expect((await here.client.get('/sessions').expect(200)).body).toEqual([])
    expect((await here.client.delete('/sessions').expect(200)).body).toEqual({ ended: 0 })
    expectNone(await here.client.delete(`/sessions/${there.id}`))
    expectNone(await here.client.delete(`/sessions/${(await me(guest)).id}`))
    expect(await isSignedIn(there.client)).toBe(true)
    expect((await me(guest)).storage).toEqual({ a: '1' })

    await here.client.delete(`/sessions/${here.id}`).expect(204)
    expect(await isSignedIn(here.client)).toBe(false)
  })

  it.each(routes)('M12: refuses guests: %s %s', async (method, path) => {
    const testApp = makeRouted({ store: makeStore() })
    const stored = testApp.browser()
    await stored.get('/write?a=1')

    for (const client of [testApp.browser(), stored]) {
      const response = await client[method](path)

      expectRefusal(response, 401, 'ERR_SESSION_GUEST', 'sign in first')
      expect(response.headers['www-authenticate']).toBe('Cookie realm="session"')
      expect(response.headers['vary']).toBe('Cookie')
    }
    expect(testApp.errors).toEqual([])
  })

  it('M12: refuses to end a session for a page of another site', async () => {
    const testApp = makeRouted({ store: makeStore() })
    const here = await signIn(testApp, 'ann')
    const there = await signIn(testApp, 'ann')
    const message = 'not allowed: the request comes from another site'

    for (const path of ['/sessions', `/sessions/${there.id}`, `/sessions/${here.id}`]) {
      const bySite = await here.client.delete(path).set('Sec-Fetch-Site', 'cross-site')
      expectRefusal(bySite, 403, 'ERR_SESSION_CROSS_SITE', message)
      const byOrigin = await here.client.delete(path).set('Origin', 'https://evil.example')
      expectRefusal(byOrigin, 403, 'ERR_SESSION_CROSS_SITE', message)
    }

    expect(await idsFor(here.client)).toEqual([here.id, there.id])
    const own = here.client.delete(`/sessions/${there.id}`).set('Sec-Fetch-Site', 'same-origin')
    expect((await own).status).toBe(204)
  })
})

describe('sessionRoutes that cannot decide', () => {
  it.each(routes)('M12, F1: answers 503 while the store fails: %s %s', async (method, path) => {
    for (const onStoreError of ['fail', 'guest'] as const) {
      const testApp = makeRouted({ onStoreError })
      const { client } = await signIn(testApp, 'ann', 'WebAdmin')
      testApp.store.faults.set('load', 'rejects')

      const response = await client[method](path)

      expectRefusal(response, 503, 'ERR_SESSION_STORE', 'Service Unavailable')
      expect(response.headers['retry-after']).toBe('1')
      expect(testApp.errors).toEqual([expect.objectContaining({ code: 'ERR_SESSION_STORE' })])
    }
  })

  it.each([
    ['get', '/sessions', 'list'],
    ['delete', '/sessions', 'terminateOthers'],
    ['delete', `/sessions/${unknownId}`, 'terminate'],
    ['get', `/sessions/${unknownId}/info`, 'info'],
  ] as const)(
    'M12, F1: answers 503 when the store fails during the request: %s %s',
    async (method, path, asked) => {
      const testApp = makeRouted()
      const { client } = await signIn(testApp, 'ann', 'WebAdmin')
      vi.spyOn(testApp.sessions, asked).mockRejectedValue(new SessionStoreError('at sess:{1}'))

      const response = await client[method](path)

      expectRefusal(response, 503, 'ERR_SESSION_STORE', 'Service Unavailable')
      expect(response.headers['retry-after']).toBe('1')
    },
  )

  it('M12, F1: never reports the current session as ended when it may still live', async () => {
    const testApp = makeRouted()
    const { client, id } = await signIn(testApp, 'ann')
    testApp.store.faults.set('destroy', 'rejects')

    const response = await client.delete(`/sessions/${id}`)

    expectRefusal(response, 503, 'ERR_SESSION_STORE', 'Service Unavailable')
    testApp.store.faults.clear()
    expect(await isSignedIn(client)).toBe(true)
  })

  it.each(routes)('M12, G4: answers 500 without session(): %s %s', async (method, path) => {
    const app = new Koa()
    const errors: unknown[] = []
    app.on('error', (error) => errors.push(error))
    app.use(sessionRoutes(new Sessions()).routes())

    const response = await supertest(app.callback())[method](path)

    expectRefusal(response, 500, 'ERR_SESSION_NOT_MOUNTED', 'Internal Server Error')
    expect(errors).toEqual([
      expect.objectContaining({
        code: 'ERR_SESSION_NOT_MOUNTED',
        message: expect.stringContaining('mount it before by session(sessions)'),
      }),
    ])
  })

  it.each(routes)('M12, G4: answers 500 with another Sessions: %s %s', async (method, path) => {
    const testApp = makeApp()
    const others = new Sessions()
    testApp.app.use(sessionRoutes(others).routes())
    const { client, id } = await signIn(testApp, 'ann', 'WebAdmin')
    const calls = [vi.spyOn(others, 'list'), vi.spyOn(others, 'info')]

    for (const url of [path, path.replace(unknownId, id)]) {
      const response = await client[method](url)
      expectRefusal(response, 500, 'ERR_SESSION_NOT_MOUNTED', 'Internal Server Error')
    }
    expect(testApp.errors).toHaveLength(2)
    expect(await isSignedIn(client)).toBe(true)
    for (const call of calls) expect(call).not.toHaveBeenCalled()
  })

  it('M12, G4: answers 500 when the roles file does not declare WebAdmin', async () => {
    const testApp = makeRouted({ roles: { privileges: [{ privilege: 'browse' }] } })
    const { client, id } = await signIn(testApp, 'ann')

    const response = await client.get(`/sessions/${id}/info`)

    const code = 'ERR_SESSION_PRIVILEGE_UNKNOWN'
    expectRefusal(response, 500, code, 'Internal Server Error')
    expect(testApp.errors).toEqual([expect.objectContaining({ code })])
  })

  it('M12: passes on errors of other packages', async () => {
    const testApp = makeRouted()
    const { client } = await signIn(testApp, 'ann')
    const error = new RangeError('a bug')
    vi.spyOn(testApp.sessions, 'list').mockRejectedValue(error)

    const response = await client.get('/sessions')

    expect([response.status, response.text]).toEqual([500, 'Internal Server Error'])
    expect(testApp.errors).toEqual([error])
  })

  it.each<[string, readonly unknown[]]>([
    ['nothing', []],
    ['options in place of a Sessions', [{ prefix: '/api' }]],
    ['no options', [new Sessions(), null]],
    ['an unknown option', [new Sessions(), { prefx: '/api' }]],
    ['a prefix without slash', [new Sessions(), { prefix: 'api' }]],
    ['a prefix with a slash at the end', [new Sessions(), { prefix: '/api/' }]],
    ['a slash', [new Sessions(), { prefix: '/' }]],
    ['a number', [new Sessions(), { prefix: 1 }]],
    ['null', [new Sessions(), { prefix: null }]],
  ])('M12: throw at creation with %s', (_, args) => {
    expect(() => Reflect.apply(sessionRoutes, undefined, args)).toThrow(
      expect.objectContaining({ code: 'ERR_SESSION_OPTION' }),
    )
  })
})

describe('sessionRoutes in an app', () => {
  it('M12: answers HEAD like GET, and leaves other methods to the app', async () => {
    const testApp = makeRouted()
    const { client, id } = await signIn(testApp, 'ann', 'WebAdmin')

    const head = await client.head('/sessions').expect(200)
    expect(head.text).toBeUndefined()
    expect(head.headers['cache-control']).toBe('no-store')
    await testApp.browser().head('/sessions').expect(401)
    await client.post('/sessions').expect(404, 'Not Found')
    await client.patch(`/sessions/${id}`).expect(404, 'Not Found')
    await client.get(`/sessions/${id}`).expect(404, 'Not Found')
    await client.delete(`/sessions/${id}/info`).expect(404, 'Not Found')

    expect(await isSignedIn(client)).toBe(true)
  })

  it("M12: answers other methods with the router's allowedMethods()", async () => {
    const { app, sessions, browser } = makeApp()
    const router = sessionRoutes(sessions)
    app.use(router.routes())
    app.use(router.allowedMethods())

    const allowed = async (path: string): Promise<unknown> =>
      (await browser().put(path).expect(405)).headers['allow']

    expect(await allowed('/sessions')).toBe('HEAD, GET, DELETE')
    expect(await allowed(`/sessions/${unknownId}`)).toBe('DELETE')
    expect(await allowed(`/sessions/${unknownId}/info`)).toBe('HEAD, GET')
  })

  const mounted: Record<string, (sessions: Sessions) => Router> = {
    'a prefix': (sessions) => sessionRoutes(sessions, { prefix: '/api/v1' }),
    'router.use with a path': (sessions) =>
      new Router().use('/api/v1', sessionRoutes(sessions).routes()),
    'a prefix of each': (sessions) =>
      new Router({ prefix: '/api' }).use(sessionRoutes(sessions, { prefix: '/v1' }).routes()),
    'a router in a router': (sessions) =>
      new Router().use('/api', new Router().use('/v1', sessionRoutes(sessions).routes()).routes()),
  }

  it.each(Object.entries(mounted))('M12: can be mounted by %s', async (_, mount) => {
    const testApp = makeApp()
    const router = mount(testApp.sessions)
    testApp.app.use(router.routes())
    const here = await signIn(testApp, 'ann', 'WebAdmin')
    const there = await signIn(testApp, 'ann')

    expect((await here.client.get('/api/v1/sessions').expect(200)).body).toHaveLength(2)
    await here.client.get(`/api/v1/sessions/${there.id}/info`).expect(200)
    await here.client.delete('/api/v1/sessions/').expect(404)
    await here.client.delete(`/api/v1/sessions/${there.id}`).expect(204)
    expect((await here.client.delete('/api/v1/sessions').expect(200)).body).toEqual({ ended: 0 })
    await testApp.browser().get('/api/v1/sessions').expect(401)
    await here.client.get('/sessions').expect(404)
  })

  it('M12: leaves the other routes of its router alone', async () => {
    const testApp = makeApp()
    const router = new Router()
    router.use(sessionRoutes(testApp.sessions).routes())
    router.all('/open', (ctx) => (ctx.body = 'open'))
    testApp.app.use(router.routes())

    const response = await testApp.browser().delete('/open').set('Sec-Fetch-Site', 'cross-site')

    expect([response.status, response.text]).toEqual([200, 'open'])
    expect(response.headers).not.toHaveProperty('cache-control')
  })

  it('M12: accept a Sessions of any storage', async () => {
    const sessions = new Sessions<{ cart: string[] }>()
    const app = new Koa()
    app.use(session(sessions))
    app.use(sessionRoutes(sessions).routes())

    await supertest(app.callback()).get('/sessions').expect(401)
  })
})

describe('the package without @koa/router', () => {
  afterEach(() => {
    vi.doUnmock('@koa/router')
    vi.resetModules()
  })

  it('M12: loads, except koa-user-sessions/routes', async () => {
    vi.resetModules()
    vi.doMock('@koa/router', () => {
      throw new Error('not installed')
    })

    expect(await import('koa-user-sessions')).toHaveProperty('session')
    await expect(import('koa-user-sessions/routes')).rejects.toThrow()
  })
})

describe('a caller with a nested token', () => {
  it('M12, X3: has no rights over the sessions of the user that it acts as', async () => {
    const key = { kid: 'a', alg: 'HS256', secret: 'x'.repeat(32) } as const
    const tokens = { keys: [key], issuer: 'https://shop.example', audience: 'shop' }
    const testApp = makeRouted({ tokens })
    testApp.app.use(async (ctx) => {
      const privileges = 'WebAdmin'
      ctx.body = await ctx.session.createNestedToken({ userName: 'bob', privileges })
    })
    const bob = await signIn(testApp, 'bob')
    const ann = await signIn(testApp, 'ann')
    const { text: token } = await ann.client.post('/nested').expect(200)
    const asBob = supertest.agent(testApp.app.callback()).set('Authorization', `Bearer ${token}`)

    const answers = [
      await asBob.get('/sessions'),
      await asBob.delete('/sessions'),
      await asBob.delete(`/sessions/${bob.id}`),
      await asBob.delete(`/sessions/${ann.id}`),
      await asBob.get(`/sessions/${bob.id}/info`),
    ]

    for (const answer of answers) {
      expectRefusal(answer, 403, 'ERR_SESSION_PRIVILEGE', 'not allowed: a privilege is missing')
      expect(answer.headers['www-authenticate']).toContain('insufficient_scope')
    }
    expect([await isSignedIn(bob.client), await isSignedIn(ann.client)]).toEqual([true, true])
    const refused = { id: ann.id, userName: 'bob', code: 'ERR_SESSION_PRIVILEGE' }
    expect(testApp.events.slice(-5)).toEqual(
      answers.map(() => ({ name: 'session:refused', event: refused })),
    )
  })
})
