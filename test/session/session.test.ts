import { inspect } from 'node:util'

import { SessionEndedError } from 'koa-user-sessions'
import { describe, expect, it, vi } from 'vitest'

import { parseCookieValue } from '../../src/cookie/cookie.ts'
import { Session } from '../../src/session/session.ts'
import { cookieOf, guestView, makeApp, me, setCookies } from '../support/apps.ts'
import {
  assign,
  assignSloppily,
  freezeTime,
  liveSession,
  newSession,
  secret,
} from '../support/bare-session.ts'

describe('save, reload, destroy, regenerate and touch', () => {
  it('S9: save stores an unchanged session', async () => {
    const { browser, store } = makeApp({ '/save': ({ session }) => session.save() })
    const client = browser()

    const response = await client.get('/save')

    expect(setCookies(response)).toHaveLength(1)
    expect(store.calls).toEqual(['create'])
    expect((await me(client)).isNew).toBe(false)
  })

  it('S9: save commits at once, and only once', async () => {
    let seen: unknown
    const { browser, store } = makeApp({
      '/save': async ({ session, req }, testApp) => {
        session.storage.a = 2
        await session.save()
        seen = (await testApp.visit('/me', req.headers.cookie)).body.storage
      },
    })
    const client = browser()
    await client.get('/write?a=1')

    await client.get('/save')

    expect(seen).toEqual({ a: 2 })
    expect(store.calls.filter((call) => call === 'commit')).toHaveLength(1)
  })

  it.each(['save', 'regenerate'] as const)('S9: %s takes a Node-style callback', async (method) => {
    const live = liveSession({})
    const session = new Session(live)
    const call = vi.spyOn(live, method).mockResolvedValue()
    const failure = new Error('no store')
    const callback = vi.fn()

    await session[method](callback)
    expect(callback.mock.calls).toEqual([[]])

    call.mockRejectedValue(failure)
    await session[method](callback)
    expect(callback.mock.calls).toEqual([[], [failure]])
    await expect(session[method]()).rejects.toBe(failure)
  })

  it('S9: reload drops uncommitted changes and reads again', async () => {
    const seen: unknown[] = []
    const { browser } = makeApp({
      '/reload': async ({ session, req }, { visit }) => {
        session.storage.mine = 1
        session.idleTimeout = 240
        session.setPrivileges('mine')
        await visit('/write?theirs=1', req.headers.cookie)
        await session.reload()
        seen.push({ ...session.storage }, session.idleTimeout, session.getPrivileges())
      },
    })
    const client = browser()
    await client.get('/write?before=1')

    await client.get('/reload')

    expect(seen).toEqual([{ before: '1', theirs: '1' }, 60, []])
    expect((await me(client)).storage).toEqual({ before: '1', theirs: '1' })
  })

  it('S9: destroy ends the session at once, in the store too', async () => {
    const seen: unknown[] = []
    const { browser, store } = makeApp({
      '/destroy': async (ctx, { visit }) => {
        const { session } = ctx
        await session.destroy()
        seen.push((await visit('/me', ctx.req.headers.cookie)).body.isNew)
        seen.push({ ...session.storage }, session.userName, session.isGuest())
        expect(ctx.session).not.toBe(session)
        expect(() => (session.storage.a = 1)).toThrow(SessionEndedError)
        expect(() => session.setPrivileges('browse')).toThrow(SessionEndedError)
        expect(() => (session.idleTimeout = 90)).toThrow(SessionEndedError)
        await expect(session.save()).rejects.toThrow(SessionEndedError)
        await expect(session.touch()).rejects.toThrow(SessionEndedError)
      },
    })
    const client = browser()
    await client.get('/login')

    const response = await client.get('/destroy')

    expect(response.status).toBe(200)
    expect(seen).toEqual([true, {}, '', true])
    expect(setCookies(response)).toEqual([expect.stringContaining('session=; Max-Age=0;')])
    expect(store.calls.filter((call) => call === 'destroy')).toHaveLength(1)
    expect(await me(client)).toMatchObject(guestView)
  })

  it('S9: regenerate gives the cookie a new secret and keeps id and data', async () => {
    const { visit } = makeApp({ '/regenerate': ({ session }) => session.regenerate() })
    const before = cookieOf(await visit('/login?user=ann'))
    const { id } = (await visit('/me', before)).body

    const after = cookieOf(await visit('/regenerate', before))

    expect(after).not.toBe(before)
    expect((await visit('/me', after)).body).toMatchObject({ id, userName: 'ann' })
    expect((await visit('/me', before)).body).toMatchObject(guestView)
  })

  it('S9: touch counts as activity', async () => {
    const time = freezeTime()
    const { browser } = makeApp({
      '/stream': async ({ session }) => {
        time.pass(50)
        await session.touch()
        expect(session.expirationDate).toBe('2026-01-01T01:50:00.000Z')
      },
    })
    const client = browser()
    await client.get('/write?a=1')

    await client.get('/stream')
    time.pass(55)

    expect((await me(client)).storage).toEqual({ a: '1' })
  })

  it('S9: touch does not store a new session', async () => {
    const { visit, store } = makeApp({ '/touch': ({ session }) => session.touch() })

    const response = await visit('/touch')

    expect(setCookies(response)).toEqual([])
    expect(store.calls).toEqual([])
  })
})

describe('ctx.session = null', () => {
  it('S10: ends the session and clears the cookie', async () => {
    const { browser, store } = makeApp()
    const client = browser()
    await client.get('/login')
    const { id } = await me(client)

    const response = await client.get('/logout')

    expect(setCookies(response)).toEqual([expect.stringContaining('session=; Max-Age=0;')])
    expect(store.calls.at(-1)).toBe('destroy')
    expect(await me(client)).toMatchObject(guestView)
    expect((await me(client)).id).not.toBe(id)
  })

  it('S10: leaves a new guest session in its place, never null', async () => {
    const seen: Session[] = []
    const { browser } = makeApp({
      '/null': (ctx) => {
        seen.push(ctx.session)
        ctx.session = null
        seen.push(ctx.session)
        expect(ctx.session.isGuest()).toBe(true)
        expect({ ...ctx.session.storage }).toEqual({})
      },
    })
    const client = browser()
    await client.get('/login')

    const response = await client.get('/null')

    expect(response.status).toBe(200)
    expect(seen[1]).not.toBeNull()
    expect(seen[1]?.id).not.toBe(seen[0]?.id)
  })

  it('S10: allows changes to the new session in the same request', async () => {
    const { browser } = makeApp({
      '/switch': (ctx) => {
        ctx.session = null
        ctx.session.storage.fresh = true
      },
    })
    const client = browser()
    await client.get('/write?old=1')
    const { id } = await me(client)

    await client.get('/switch')

    expect((await me(client)).storage).toEqual({ fresh: true })
    expect((await me(client)).id).not.toBe(id)
  })

  it('S10: costs nothing without a session', async () => {
    const { visit, store } = makeApp()

    const response = await visit('/logout')

    expect(setCookies(response)).toEqual([])
    expect(store.calls).toEqual([])
  })

  it.each<[string, unknown]>([
    ['undefined', undefined],
    ['an empty object', {}],
    ['an object', { user: 'ann' }],
    ['false', false],
    ['empty text', ''],
    ['0', 0],
  ])('S10: refuses %s', async (_, value) => {
    const { browser } = makeApp({
      '/assign': (ctx) => {
        expect(() => assign(ctx, 'session', value)).toThrow(TypeError)
        expect(() => assignSloppily(ctx, 'session', value)).toThrow(/null/)
        expect(() => assign(ctx, 'session', ctx.session)).toThrow(TypeError)
      },
    })
    const client = browser()
    await client.get('/login')

    const response = await client.get('/assign')

    expect(response.status).toBe(200)
    expect((await me(client)).userName).toBe('ann')
  })
})

describe('a sealed object', () => {
  it.each(['id', 'type', 'expirationDate', 'userName', 'info', 'isNew', 'storage'])(
    'S11: refuses to assign %s',
    (name) => {
      const session = newSession()
      const before: unknown = Reflect.get(session, name)

      expect(() => assign(session, name, 'x')).toThrow(`session.${name} is read-only`)
      expect(() => assignSloppily(session, name, 'x')).toThrow(TypeError)

      expect(Reflect.get(session, name)).toEqual(before)
    },
  )

  it.each(['hasPrivilege', 'isGuest', 'setPrivileges', 'save', 'destroy', 'toJSON'])(
    'S11: refuses to replace %s()',
    (name) => {
      const session = newSession()

      expect(() => assign(session, name, () => true)).toThrow(`session.${name} is read-only`)
      expect(() => assignSloppily(session, name, () => true)).toThrow(TypeError)
      expect(session.isGuest()).toBe(true)
    },
  )

  it.each(['user', 'views', 'cookie', 'maxAge', 'passports', '', '0', 'toString', '__proto__'])(
    'S11: refuses the property %j and suggests storage',
    (name) => {
      const session = newSession()

      expect(() => Reflect.set(session, name, 'ann')).toThrow(/keep data in session\.storage/)
      expect(() => assignSloppily(session, name, 'ann')).toThrow(TypeError)
      expect(() => Object.defineProperty(session, name, { value: 'ann' })).toThrow(TypeError)

      expect(Object.keys(session)).toEqual([])
      expect(session).toBeInstanceOf(Session)
    },
  )

  it('S11: refuses symbols, Object.assign and another prototype', () => {
    const session = newSession()

    expect(() => Reflect.set(session, Symbol('user'), 1)).toThrow(/session\.storage/)
    expect(() => Object.assign(session, { account: 'ann' })).toThrow(/"account".*session\.storage/)
    expect(() => Object.setPrototypeOf(session, {})).toThrow(TypeError)
  })

  it('S11: supports in, instanceof and the methods of all objects', () => {
    const session = newSession()

    expect('id' in session).toBe(true)
    expect('account' in session).toBe(false)
    expect(Reflect.get(session, 'account')).toBeUndefined()
    expect(Reflect.get(session, 'isPrototypeOf')).toBeTypeOf('function')
    expect(Object.hasOwn(session, 'id')).toBe(false)
  })

  it('S11: shows its public properties in JSON', () => {
    const session = newSession({ type: 'rest' })
    session.setPrivileges({ privileges: 'browse, audit', userName: 'ann' })
    session.storage.card = secret

    expect(JSON.parse(JSON.stringify({ session }))).toEqual({
      session: {
        id: session.id,
        type: 'rest',
        userName: 'ann',
        privileges: ['browse', 'audit'],
        creationDateTime: '2026-01-01T00:00:00.000Z',
        expirationDate: '2026-01-01T01:00:00.000Z',
        idleTimeout: 60,
      },
    })
  })

  it('S11: shows the same in util.inspect', () => {
    const session = newSession()
    session.setPrivileges({ privileges: 'browse', userName: 'ann' })

    const shown = inspect(session)

    expect(shown).toMatch(/^Session \{/)
    for (const part of [session.id, "'web'", "'ann'", "'browse'", session.expirationDate]) {
      expect(shown).toContain(part)
    }
    expect(inspect({ a: { b: { c: session } } })).toContain('Session')
    expect(inspect(session, { colors: true })).toContain('\u001B[')
  })

  it('H2: shows no secret and no storage, however it is inspected', async () => {
    const shown: string[] = []
    const { visit, store } = makeApp({
      '/show': ({ session }) => {
        session.storage.card = secret
        session.storage.list = [secret]
        const options = { depth: Infinity, showHidden: true, getters: true, showProxy: true }
        shown.push(
          JSON.stringify(session),
          inspect(session, options),
          inspect(session, { ...options, customInspect: false }),
          JSON.stringify(session.info),
        )
      },
    })
    const cookie = cookieOf(await visit('/login?user=ann'))
    const value = cookie.replace('session=', '')
    const hash = parseCookieValue(value)?.secretHash ?? ''

    await visit('/show', cookie)

    expect(shown).toHaveLength(4)
    expect(store.calls).toContain('commit')
    for (const text of shown) {
      expect(text).not.toContain(secret)
      expect(text).not.toContain(value)
      expect(text).not.toContain(value.slice(-43))
      expect(text).not.toContain(hash)
    }
  })
})
