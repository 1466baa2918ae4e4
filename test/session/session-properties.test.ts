import { describe, expect, it } from 'vitest'

import { newSecret, newSessionId } from '../../src/cookie/cookie.ts'
import type { Session } from '../../src/session/session.ts'
import { cookieOf, makeApp, me } from '../support/apps.ts'
import {
  assign,
  assignSloppily,
  freezeTime,
  isoDate,
  newSession,
  uuid,
} from '../support/bare-session.ts'
import { makeKey, tokensWith } from '../support/tokens.ts'

const tokens = tokensWith(makeKey('HS256'))

describe('id', () => {
  it('S1: is a UUID of its own for each session', () => {
    const session = newSession()

    expect(session.id).toMatch(uuid)
    expect(session.id).toBe(session.id)
    expect(newSession().id).not.toBe(session.id)
  })

  it('S1: stays for the life of the session, even across a sign-in', async () => {
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

describe('isSignedIn()', () => {
  it('S6: is false for a guest, and true for a user name, with or without a privilege', () => {
    const session = newSession()
    expect(session.isSignedIn()).toBe(false)

    session.setPrivileges({ userName: 'ann' })
    expect([session.isSignedIn(), session.isGuest()]).toEqual([true, true])

    session.setPrivileges('browse')
    expect([session.isSignedIn(), session.isGuest()]).toEqual([true, false])
  })

  it('S6: is true for a privilege alone, until the session loses it', () => {
    const session = newSession()

    session.setPrivileges('browse')
    expect([session.isSignedIn(), session.userName]).toEqual([true, ''])

    session.clearPrivileges()
    expect(session.isSignedIn()).toBe(false)
  })

  it('S6: is true for a remote session, also after clearPrivileges()', async () => {
    const { sessions } = makeApp({}, { tokens, privilegedTypes: ['web', 'remote'] })
    const { session } = await sessions.open({ userName: 'ann', applicationId: 'cli' })

    expect([session.isSignedIn(), session.isGuest()]).toEqual([true, true])

    expect(session.clearPrivileges()).toBe(true)
    expect(session.isSignedIn()).toBe(true)
  })
})

describe('type and userName', () => {
  it('S2: is web, or rest when the app says so', async () => {
    expect(newSession().type).toBe('web')
    expect(newSession({ type: 'rest' }).type).toBe('rest')
  })

  it('S2: stays what the session was created with', async () => {
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
    'S6: keeps the user name %j unchanged, in the next request too',
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
  it('S3: is the end of the idle timeout, as ISO text with milliseconds', () => {
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

  it('S3: is a date even without an absolute limit', () => {
    const session = newSession({ absoluteTimeout: Infinity })

    session.idleTimeout = 525_600

    expect(session.expirationDate).toBe('2027-01-01T00:00:00.000Z')
  })

  it('S3: moves with each request, and up to the absolute limit', async () => {
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
  ])('S4: throws for %s and stays as it was', (_, value) => {
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

  it('S4: keeps the session alive exactly that long', async () => {
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
    'L2: changes nothing when it is set to its own value of %d minutes',
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
  it('S5: is empty in a new session, and the same object at each access', () => {
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

  it('S7: describes a web session, with empty text for the rest', () => {
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

  it('S7: is a new plain object at each access, which changes nothing', () => {
    const session = newSession()
    const { info } = session

    assign(info, 'userName', 'eve')

    expect(session.info).not.toBe(info)
    expect(Object.getPrototypeOf(info)).toBe(Object.prototype)
    expect(session.info.userName).toBe('')
    expect(structuredClone(session.info)).toEqual(session.info)
  })

  it('S7: describes the creation, not the request', async () => {
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
