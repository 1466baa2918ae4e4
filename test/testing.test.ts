import { once } from 'node:events'
import { createServer } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { mock } from 'node:test'

import { requirePrivilege } from 'koa-user-sessions'
import type { RolesFile, SessionsOptions } from 'koa-user-sessions'
import { signedIn } from 'koa-user-sessions/testing'
import type { SignedInInput } from 'koa-user-sessions/testing'
import supertest from 'supertest'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { makeApp, me, storeKinds } from './support/apps.ts'
import type { TestApp } from './support/apps.ts'
import { connectRedis, uniquePrefix } from './support/redis-client.ts'
import { selfSignedCertificate } from './support/tls.ts'

const roles: RolesFile = {
  privileges: [{ privilege: 'browse' }, { privilege: 'WebAdmin', includes: ['browse'] }],
  roles: [{ role: 'Admin', privileges: ['WebAdmin'] }],
}

/** An app whose `/admin` is for admins. */
function makeGuarded(options: SessionsOptions = {}): TestApp {
  const testApp = makeApp({}, { roles, ...options })
  const guard = requirePrivilege('WebAdmin')
  testApp.app.use((ctx, next) => (ctx.path === '/admin' ? guard(ctx, next) : next()))
  testApp.app.use((ctx) => {
    ctx.body = 'welcome'
  })
  return testApp
}

describe.each(storeKinds)('signedIn(), with a %s', (_, makeStore) => {
  it('creates a session that a supertest agent uses, as after a sign-in', async () => {
    const { app, sessions } = makeGuarded({ store: makeStore() })

    const { id, cookie } = await signedIn(sessions, {
      userName: 'ann',
      roles: 'Admin',
      storage: { cart: ['tea'] },
      idleTimeout: 90,
    })

    const agent = supertest.agent(app.callback()).set('Cookie', cookie)
    await agent.get('/admin').expect(200, 'welcome')
    expect(await me(agent)).toMatchObject({
      id,
      isNew: false,
      isGuest: false,
      userName: 'ann',
      privileges: ['WebAdmin', 'browse'],
      idleTimeout: 90,
      storage: { cart: ['tea'] },
    })
    expect(await sessions.list('ann')).toMatchObject([{ id }])
  })

  it('creates a session that fetch uses', async () => {
    const { app, sessions } = makeGuarded({ store: makeStore() })
    const server = createServer(app.callback()).listen(0, '127.0.0.1')
    onTestFinished(() => void server.close())
    await once(server, 'listening')
    const address = server.address()
    const port = typeof address === 'object' ? address?.port : undefined

    const { headers } = await signedIn(sessions, { roles: 'Admin' })
    const response = await fetch(`http://127.0.0.1:${port}/admin`, { headers })

    expect([response.status, await response.text()]).toEqual([200, 'welcome'])
  })

  it('C5: returns a cookie that later grants rotate, and the agent follows', async () => {
    const { app, sessions, visit } = makeGuarded({ store: makeStore() })
    const { id, cookie } = await signedIn(sessions, { userName: 'ann' })
    const agent = supertest.agent(app.callback()).set('Cookie', cookie)

    await agent.get('/admin').expect(403)
    await agent.get('/login?user=ann&privileges=WebAdmin').expect(200)

    await agent.get('/admin').expect(200)
    expect((await me(agent)).id).toBe(id)
    expect((await visit('/me', cookie)).body.isGuest).toBe(true)
  })

  it('M10: emits the events of a sign-in', async () => {
    const { sessions, events } = makeGuarded({ store: makeStore() })

    const { id } = await signedIn(sessions, { userName: 'ann' })

    expect(events).toEqual([
      { name: 'session:created', event: { id, userName: 'ann' } },
      { name: 'session:signedIn', event: { id, userName: 'ann' } },
    ])
  })

  it('M6: counts for maxSessions', async () => {
    const store = makeStore()
    const one = makeGuarded({ store, maxSessions: { perUser: 1, onExceed: 'terminateOldest' } })
    const strict = makeGuarded({ store, maxSessions: { perUser: 1, onExceed: 'refuse' } })

    const first = await signedIn(one.sessions, { userName: 'ann' })
    const second = await signedIn(one.sessions, { userName: 'ann' })

    expect(await one.sessions.list('ann')).toMatchObject([{ id: second.id }])
    expect(one.events.at(-1)).toEqual({
      name: 'session:ended',
      event: { id: first.id, reason: 'exceeded' },
    })
    const refused = signedIn(strict.sessions, { userName: 'ann' })
    await expect(refused).rejects.toMatchObject({ code: 'ERR_SESSION_LIMIT' })
  })
})

describe('signedIn()', () => {
  it('signs in "user" without privileges when called without arguments', async () => {
    const { app, sessions } = makeGuarded()

    const { cookie } = await signedIn(sessions)

    const agent = supertest.agent(app.callback()).set('Cookie', cookie)
    expect(await me(agent)).toMatchObject({ userName: 'user', isGuest: true, idleTimeout: 60 })
    await agent.get('/admin').expect(403)
  })

  it('creates a guest session with a cart', async () => {
    const { app, sessions, events } = makeGuarded()

    const { cookie } = await signedIn(sessions, { userName: '', storage: { cart: ['tea'] } })

    const agent = supertest.agent(app.callback()).set('Cookie', cookie)
    expect(await me(agent)).toMatchObject({ userName: '', storage: { cart: ['tea'] } })
    await agent.get('/admin').expect(401)
    expect(events.map(({ name }) => name)).toEqual(['session:created', 'session:refused'])
  })

  it('C2: returns the cookie for HTTPS on request', async () => {
    const { app, sessions, visit } = makeGuarded()
    const { cookie, headers } = await signedIn(sessions, { userName: 'ann', secure: true })
    const { key, cert } = selfSignedCertificate()
    const server = createHttpsServer({ key, cert }, app.callback())

    const { body } = await supertest(server).get('/me').ca(cert).set(headers)

    expect(cookie).toMatch(/^__Host-session=[\w-]{64}$/)
    expect(body.userName).toBe('ann')
    expect((await visit('/me', cookie)).body.userName).toBe('')
  })

  it.each([
    [{}, undefined, /^session=/],
    [{ secure: true }, undefined, /^__Host-session=/],
    [{ secure: true, path: '/shop', name: 'sid' }, true, /^__Secure-sid=/],
    [{ secure: false }, false, /^session=/],
  ] as const)('C2: names the cookie for the option %o and secure %s', async (...given) => {
    const [options, secure, name] = given
    const { sessions } = makeGuarded({ cookie: options })

    const { cookie } = await signedIn(sessions, secure === undefined ? {} : { secure })

    expect(cookie).toMatch(name)
  })

  it.each<[string, SignedInInput, { code?: string; name?: string }]>([
    ['a privilege', { privileges: 'WebAdmim' }, { code: 'ERR_SESSION_PRIVILEGE_UNKNOWN' }],
    ['a role', { roles: ['Admin', 'Admim'] }, { code: 'ERR_SESSION_PRIVILEGE_UNKNOWN' }],
    ['a name', Object({ username: 'ann' }), { code: 'ERR_SESSION_OPTION' }],
    ['a timeout under the floor', { idleTimeout: 5 }, { name: 'TypeError' }],
    ['a timeout that is not a number', { idleTimeout: Number.NaN }, { name: 'TypeError' }],
    ['a user name', Object({ userName: 7 }), { name: 'TypeError' }],
    ['storage', { storage: { a: 10n } }, { code: 'ERR_SESSION_STORAGE_VALUE' }],
    ['storage that is text', Object({ storage: 'cart' }), { code: 'ERR_SESSION_OPTION' }],
    ['secure', Object({ secure: 'yes' }), { name: 'TypeError' }],
  ])('refuses %s that would not be stored, and stores nothing', async (_, input, error) => {
    const { sessions, store } = makeGuarded()

    await expect(signedIn(sessions, input)).rejects.toMatchObject(error)

    expect(store.calls).toEqual([])
  })

  it('refuses a secure that contradicts the options, roles without a file, and a missing Sessions', async () => {
    const plain = makeApp({}, { cookie: { secure: false } })
    const remote = makeApp({}, { privilegedTypes: ['remote'] })
    const wrong: Promise<unknown>[] = [
      signedIn(plain.sessions, { secure: true }),
      signedIn(remote.sessions),
      signedIn(Object({})),
    ]

    for (const call of wrong) await expect(call).rejects.toBeInstanceOf(TypeError)
    await expect(signedIn(plain.sessions, { roles: 'Admin' })).rejects.toMatchObject({
      code: 'ERR_SESSION_PRIVILEGE_UNKNOWN',
    })
    expect([...plain.store.calls, ...remote.store.calls]).toEqual([])
  })
})

describe('letting time pass', () => {
  it('L4: works with the Date of vi.useFakeTimers(), in a MemoryStore', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    onTestFinished(() => void vi.useRealTimers())
    const { visit, sessions } = makeGuarded()
    const { cookie } = await signedIn(sessions, { userName: 'ann' })

    vi.setSystemTime(Date.now() + 59 * 60_000)
    const before = await visit('/me', cookie)
    vi.setSystemTime(Date.now() + 62 * 60_000)
    const after = await visit('/me', cookie)

    expect([before.body.userName, after.body.userName]).toEqual(['ann', ''])
  })

  it('L4: works with the Date of node:test, in a MemoryStore', async () => {
    mock.timers.enable({ apis: ['Date'], now: Date.now() })
    onTestFinished(() => {
      mock.timers.reset()
    })
    const { visit, sessions } = makeGuarded()
    const { cookie } = await signedIn(sessions, { userName: 'ann' })

    mock.timers.tick(59 * 60_000)
    const before = await visit('/me', cookie)
    mock.timers.tick(62 * 60_000)
    const after = await visit('/me', cookie)

    expect([before.body.userName, after.body.userName]).toEqual(['ann', ''])
  })

  it('L4: works with PEXPIRE on the key of the session, in Redis', async () => {
    const [redis, prefix] = [connectRedis(), uniquePrefix()]
    const { visit, sessions } = makeGuarded({ redis, prefix })
    const { id, cookie } = await signedIn(sessions, { userName: 'ann' })
    const before = await visit('/me', cookie)

    const found = await redis.pexpire(`${prefix}{${id}}`, 0)
    const after = await visit('/me', cookie)

    expect(found).toBe(1)
    expect([before.body.userName, after.body.userName]).toEqual(['ann', ''])
    expect(await sessions.list('ann')).toEqual([])
  })
})
