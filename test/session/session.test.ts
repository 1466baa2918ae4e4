import { inspect } from 'node:util'
import { compileFunction } from 'node:vm'

import { SessionEndedError } from 'koa-user-sessions'
import type { SessionsOptions } from 'koa-user-sessions'
import { unknownClient } from 'koa-user-sessions/store'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { noCarrier } from '../../src/cookie/carrier.ts'
import { newSecret, newSessionId, parseCookieValue } from '../../src/cookie/cookie.ts'
import { resolveOptions } from '../../src/options/option-table.ts'
import { createDeployment } from '../../src/session/deployment.ts'
import { LiveSession } from '../../src/session/live-session.ts'
import { SessionState } from '../../src/session/session-state.ts'
import { Session } from '../../src/session/session.ts'
import { cookieOf, guestView, makeApp, me, setCookies } from '../support/apps.ts'

const uuid = /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/
const isoDate = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/
const now = Date.parse('2026-01-01T00:00:00.000Z')
const secret = 'S3CRET'

/** A new session that nobody stores. */
function newSession(options: SessionsOptions = {}): Session {
  return new Session(liveSession(options))
}

function liveSession(options: SessionsOptions): LiveSession {
  const deployment = createDeployment(resolveOptions(options))
  const request = { ip: '192.0.2.1', header: () => '', describeClient: async () => unknownClient }
  const origin = { request, now }
  return new LiveSession(SessionState.guest(deployment, origin), { cookie: noCarrier })
}

/** Assigns as strict code does. */
function assign(target: object, name: string, value: unknown): void {
  Object.assign(target, { [name]: value })
}

/** Assigns as sloppy code does, where a plain read-only property would swallow it. */
const assignSloppily = compileFunction('target[name] = value', ['target', 'name', 'value'])

function freezeTime(): { pass(minutes: number): void } {
  vi.useFakeTimers({ toFake: ['Date'], now })
  onTestFinished(() => {
    vi.useRealTimers()
  })
  return { pass: (minutes) => vi.setSystemTime(Date.now() + minutes * 60_000) }
}

describe('id', () => {
  it('S1: is a UUID that each session has for itself', () => {
    const session = newSession()

    expect(session.id).toMatch(uuid)
    expect(session.id).toBe(session.id)
    expect(newSession().id).not.toBe(session.id)
  })

  it('S1: stays for the life of the session, also across a sign-in', async () => {
    const { browser } = makeApp()
    const client = browser()
    await client.get('/write?a=1')
    const { id } = await me(client)

    await client.get('/login?user=ann')
    await client.get('/write?a=2')

    expect(await me(client)).toMatchObject({ id, userName: 'ann' })
  })

  it('S1: is never one that a client sends', async () => {
    const { visit, store } = makeApp({
      '/write-me': (ctx) => {
        ctx.session.storage.a = 1
        ctx.body = ctx.session.id
      },
    })
    const id = newSessionId()

    const response = await visit('/write-me', `session=${newSecret(id).value}`)
    const asText = await visit('/write-me', `session=${id}`)

    expect(response.text).toMatch(uuid)
    expect(response.text).not.toBe(id)
    expect(asText.text).not.toBe(id)
    expect(store.calls).toEqual(['load', 'create', 'create'])
  })
})

describe('type and userName', () => {
  it('S2: is web, or rest where the app says so', async () => {
    expect(newSession().type).toBe('web')
    expect(newSession({ type: 'rest' }).type).toBe('rest')
  })

  it('S2: stays what the session was made with', async () => {
    const handlers = {
      '/type': (ctx: { session: Session; body: unknown }) => {
        ctx.body = ctx.session.type
      },
    }
    const web = makeApp(handlers)
    const rest = makeApp(handlers, { store: web.store, type: 'rest' })
    const cookie = cookieOf(await web.visit('/write?a=1'))

    expect((await rest.visit('/type', cookie)).text).toBe('web')
    expect((await rest.visit('/type')).text).toBe('rest')
  })

  it('S6: has no user name until setPrivileges gives one', () => {
    const session = newSession()

    expect(session.userName).toBe('')
    session.setPrivileges({ userName: 'ann' })

    expect(session.userName).toBe('ann')
    expect(session.info.userName).toBe('ann')
  })

  it.each(['Ann', ' ann ', '__proto__', 'a\nb', 'Ångström 🍵', 'x'.repeat(5000)])(
    'S6: keeps the user name %j as it is, in the next request too',
    async (userName) => {
      const { browser } = makeApp({
        '/login-as': ({ session }) => {
          session.setPrivileges({ userName })
        },
      })
      const client = browser()

      await client.get('/login-as')

      expect((await me(client)).userName).toBe(userName)
    },
  )
})

describe('expirationDate', () => {
  it('S3: is the end after the idle timeout, as ISO text with milliseconds', () => {
    expect(newSession().expirationDate).toBe('2026-01-01T01:00:00.000Z')
    expect(newSession().expirationDate).toMatch(isoDate)
    expect(newSession({ idleTimeout: 90.5 }).expirationDate).toBe('2026-01-01T01:30:30.000Z')
  })

  it('S3: follows idleTimeout at once', () => {
    const session = newSession()

    session.idleTimeout = 120
    expect(session.expirationDate).toBe('2026-01-01T02:00:00.000Z')

    session.idleTimeout = 60
    expect(session.expirationDate).toBe('2026-01-01T01:00:00.000Z')
  })

  it('S3: never passes the absolute limit', () => {
    const session = newSession({ absoluteTimeout: 100 })

    session.idleTimeout = 525_600

    expect(session.expirationDate).toBe('2026-01-01T01:40:00.000Z')
    expect(newSession({ absoluteTimeout: 60 }).expirationDate).toBe('2026-01-01T01:00:00.000Z')
  })

  it('S3: is a date without an absolute limit too', () => {
    const session = newSession({ absoluteTimeout: Infinity })

    session.idleTimeout = 525_600

    expect(session.expirationDate).toBe('2027-01-01T00:00:00.000Z')
  })

  it('S3: moves on with each request, and up to the absolute limit', async () => {
    const time = freezeTime()
    const { browser } = makeApp({}, { absoluteTimeout: 100 })
    const client = browser()

    await client.get('/write?a=1')
    expect((await me(client)).expirationDate).toBe('2026-01-01T01:00:00.000Z')

    time.pass(30)
    expect((await me(client)).expirationDate).toBe('2026-01-01T01:30:00.000Z')

    time.pass(30)
    expect((await me(client)).expirationDate).toBe('2026-01-01T01:40:00.000Z')
  })
})

describe('idleTimeout', () => {
  it('S4: is 60 by default', () => {
    expect(newSession().idleTimeout).toBe(60)
    expect(newSession({ idleTimeout: 600 }).idleTimeout).toBe(600)
  })

  it.each([
    [60, 60],
    [61, 61],
    [90.5, 90.5],
    [64.4, 64.4],
    [525_600, 525_600],
    [59.999, 60],
    [1, 60],
    [0, 60],
    [-0, 60],
    [-1, 60],
    [-525_601, 60],
    [-Number.MAX_VALUE, 60],
    [Number.MIN_VALUE, 60],
  ])('S4: set to %d it is %d', (minutes, expected) => {
    const session = newSession()

    session.idleTimeout = minutes

    expect(session.idleTimeout).toBe(expected)
  })

  it('S4: is raised to the floor that the app has set', () => {
    const session = newSession({ minIdleTimeout: 5, idleTimeout: 10 })

    session.idleTimeout = 6
    expect(session.idleTimeout).toBe(6)

    session.idleTimeout = 1
    expect(session.idleTimeout).toBe(5)
  })

  it.each([
    ['more than a year', 525_600.001],
    ['far more', Number.MAX_VALUE],
    ['NaN', Number.NaN],
    ['Infinity', Infinity],
    ['-Infinity', -Infinity],
    ['text', '90'],
    ['null', null],
    ['undefined', undefined],
    ['true', true],
    ['a BigInt', 90n],
    ['an array', [90]],
    ['an object that turns into a number', { valueOf: () => 90 }],
    ['a boxed number', Object(90)],
  ])('S4: refuses %s and stays as it was', (_, value) => {
    const session = newSession()
    session.idleTimeout = 90

    expect(() => assign(session, 'idleTimeout', value)).toThrow(TypeError)
    expect(() => assignSloppily(session, 'idleTimeout', value)).toThrow(/at most 525600/)

    expect(session.idleTimeout).toBe(90)
  })

  it('S4: is seen by later requests', async () => {
    const { browser } = makeApp({
      '/longer': ({ session }) => {
        session.idleTimeout = 240
      },
    })
    const client = browser()

    await client.get('/longer')

    expect(await me(client)).toMatchObject({ isNew: false, idleTimeout: 240 })
  })

  it('S4: keeps the session alive for so long, and no longer', async () => {
    const time = freezeTime()
    const { browser } = makeApp({
      '/longer': ({ session }) => {
        session.idleTimeout = 240
      },
    })
    const client = browser()
    await client.get('/longer')

    time.pass(239.9)
    expect((await me(client)).isNew).toBe(false)

    time.pass(242)
    expect((await me(client)).isNew).toBe(true)
  })

  it.each([60, 64.4, 64.01, 100.1, 1000.3, 200 / 3])(
    'L2: assigned the %d minutes that it has, nothing changes',
    async (minutes) => {
      const { browser, store } = makeApp({
        '/set': ({ session }) => {
          session.idleTimeout = minutes
          session.storage.a = 1
        },
        '/same': ({ session }) => {
          session.idleTimeout = session.idleTimeout + 0
        },
      })
      const client = browser()
      await client.get('/set')
      const { idleTimeout } = await me(client)
      const before = store.calls.length

      await client.get('/same')
      await client.get('/same')

      expect(store.calls.slice(before)).toEqual(['load', 'load'])
      expect((await me(client)).idleTimeout).toBe(idleTimeout)
    },
  )
})

describe('storage', () => {
  it('S5: is empty in a new session, and the same object at each read', () => {
    const session = newSession()

    expect({ ...session.storage }).toEqual({})
    expect(session.storage).toBe(session.storage)
  })

  it('S5: cannot be replaced', () => {
    const session = newSession()
    session.storage.a = 1

    expect(() => assign(session, 'storage', {})).toThrow('session.storage is read-only')
    expect(() => assignSloppily(session, 'storage', {})).toThrow(TypeError)

    expect({ ...session.storage }).toEqual({ a: 1 })
  })
})

describe('info', () => {
  it('S7: has exactly these names', () => {
    expect(Object.keys(newSession().info)).toEqual([
      'type',
      'userName',
      'machineName',
      'systemUserName',
      'IPAddress',
      'hostType',
      'creationDateTime',
      'state',
      'ID',
      'persistentID',
    ])
  })

  it('S7: says what is known of a web session, and empty text for the rest', () => {
    const session = newSession()
    session.setPrivileges({ userName: 'ann' })

    const { info } = session

    expect(info).toEqual({
      type: 'web',
      userName: 'ann',
      machineName: '',
      systemUserName: '',
      IPAddress: '192.0.2.1',
      hostType: 'browser',
      creationDateTime: '2026-01-01T00:00:00.000Z',
      state: 'active',
      ID: session.id,
      persistentID: info.persistentID,
    })
    expect(info.persistentID).toMatch(uuid)
  })

  it('S7: is a new plain object at each read, which changes nothing', () => {
    const session = newSession()
    const { info } = session

    assign(info, 'userName', 'eve')

    expect(session.info).not.toBe(info)
    expect(Object.getPrototypeOf(info)).toBe(Object.prototype)
    expect(session.info.userName).toBe('')
    expect(structuredClone(session.info)).toEqual(session.info)
  })

  it('S7: tells of the creation, not of the request', async () => {
    const time = freezeTime()
    const seen: Session['info'][] = []
    const { visit } = makeApp({
      '/info': ({ session }) => {
        seen.push(session.info)
      },
    })
    const cookie = cookieOf(await visit('/write?a=1'))

    time.pass(10)
    await visit('/info', cookie)
    await visit('/info', cookie)

    expect(seen[0]).toMatchObject({
      creationDateTime: '2026-01-01T00:00:00.000Z',
      IPAddress: expect.stringMatching(/^(?:127\.0\.0\.1|::1)$/),
    })
    expect(seen[1]).toEqual(seen[0])
  })
})

describe('isNew', () => {
  it('S8: is true until the session has been stored', async () => {
    const seen: unknown[] = []
    const { browser } = makeApp({
      '/save': async ({ session }) => {
        session.storage.a = 1
        seen.push(session.isNew)
        await session.save()
        seen.push(session.isNew)
      },
      '/again': ({ session }) => {
        seen.push(session.isNew)
      },
    })
    const client = browser()

    await client.get('/again')
    await client.get('/save')
    await client.get('/again')

    expect(seen).toEqual([true, true, false, false])
  })
})

describe('save, reload, destroy, regenerate and touch', () => {
  it('S9: save stores a session that nothing has changed', async () => {
    const { browser, store } = makeApp({ '/save': ({ session }) => session.save() })
    const client = browser()

    const response = await client.get('/save')

    expect(setCookies(response)).toHaveLength(1)
    expect(store.calls).toEqual(['create'])
    expect((await me(client)).isNew).toBe(false)
  })

  it('S9: save commits at once, and once', async () => {
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

  it('S9: regenerate gives the cookie a new secret; id and data stay', async () => {
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

  it('S9: touch leaves a session alone that is not stored', async () => {
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

  it('S10: lets the new session be used in the same request', async () => {
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

  it('S10: costs nothing when there is no session', async () => {
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
    'S11: refuses the property %j and points to storage',
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

  it('S11: still works as an object: in, instanceof and the methods of all objects', () => {
    const session = newSession()

    expect('id' in session).toBe(true)
    expect('account' in session).toBe(false)
    expect(Reflect.get(session, 'account')).toBeUndefined()
    expect(Reflect.get(session, 'isPrototypeOf')).toBeTypeOf('function')
    expect(Object.hasOwn(session, 'id')).toBe(false)
  })

  it('S11: shows what may be shown in JSON', () => {
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
