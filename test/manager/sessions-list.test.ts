import { subscribe, unsubscribe } from 'node:diagnostics_channel'

import { MemoryStore } from 'koa-user-sessions'
import type { Sessions } from 'koa-user-sessions'
import { describe, expect, it, onTestFinished } from 'vitest'

import { cookieOf, guestView, makeApp, me, storeKinds } from '../support/apps.ts'
import { timedStoreKinds } from '../support/time.ts'

const minute = 60_000
const unknownId = '11111111-1111-4111-8111-111111111111'
const edge =
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) ' +
  'Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0'

describe.each(storeKinds)('sessions.list() with a %s', (_, makeStore) => {
  it('M2: shows everything about a session', async () => {
    const { sessions, browser } = makeApp(
      {},
      {
        store: makeStore(),
        locate: () => ({ country: 'CH', region: 'Zürich' }),
        applications: { shop: { name: 'The Shop', client: 'desktop', official: true } },
        describeClient: () => ({ applicationId: 'shop', deviceModel: 'Box', systemVersion: '11' }),
      },
    )
    const client = browser()
    await client.get('/login').set('User-Agent', edge)
    const { id } = await me(client)

    const list = await sessions.list('ann')

    const [session] = list
    const now = Date.now() / 1000
    expect(list).toEqual([
      {
        id,
        isCurrent: false,
        appId: 'shop',
        appName: 'The Shop',
        appVersion: '131',
        isOfficialApp: true,
        deviceModel: 'Box',
        platform: 'Windows',
        systemVersion: '11',
        dateCreated: session?.dateCreated,
        dateActive: session?.dateActive,
        ip: '127.0.0.1',
        country: 'CH',
        region: 'Zürich',
      },
    ])
    for (const date of [session?.dateCreated ?? 0, session?.dateActive ?? 0]) {
      expect(Number.isInteger(date)).toBe(true)
      expect(Math.abs(now - date)).toBeLessThan(60)
    }
  })

  it('M2: marks the current session, and none of another user', async () => {
    const { sessions, browser } = makeApp({}, { store: makeStore() })
    const [one, two, bobs] = [browser(), browser(), browser()]
    await one.get('/login')
    await two.get('/login')
    await bobs.get('/login?user=bob')
    const [current, other] = [await me(one), await me(bobs)]

    const list = await sessions.list('ann', { current })
    const asked = await sessions.list('ann', { current: other })

    expect(list.map(({ id, isCurrent }) => [id === current.id, isCurrent])).toEqual([
      [true, true],
      [false, false],
    ])
    expect(asked.map(({ isCurrent }) => isCurrent)).toEqual([false, false])
    expect(await sessions.list('ann')).toHaveLength(2)
  })

  it('M2: shows no secret, no hash and no storage', async () => {
    const { sessions, visit } = makeApp({}, { store: makeStore() })
    const cookie = cookieOf(await visit('/write?cart=tea-and-milk'))
    const rotated = cookieOf(await visit('/login?privileges=WebAdmin', cookie))

    const text = JSON.stringify(await sessions.list('ann'))

    expect(text).toContain('"appName"')
    expect(text).not.toContain('tea-and-milk')
    expect(text).not.toContain('WebAdmin')
    for (const value of [cookie, rotated]) expect(text).not.toContain(value.split('=', 2)[1])
  })

  it("M2: is empty for '' and for a user without sessions, without a store call for ''", async () => {
    const { sessions, browser, store } = makeApp({}, { store: makeStore() })
    await browser().get('/write?a=1')
    const before = store.calls.length

    expect(await sessions.list('')).toEqual([])
    expect(store.calls).toHaveLength(before)
    expect(await sessions.list('bob')).toEqual([])
  })

  it('M2: compares names exactly', async () => {
    const { sessions, browser } = makeApp({}, { store: makeStore() })
    await browser().get('/login?user=ann')
    await browser().get('/login?user=Ann')
    await browser().get('/login?user=__proto__')

    for (const name of ['ann', 'Ann', '__proto__']) {
      expect(await sessions.list(name)).toHaveLength(1)
    }
    expect(await sessions.list('ANN')).toEqual([])
  })

  it('M2: omits a session after its sign-out', async () => {
    const { sessions, browser } = makeApp({}, { store: makeStore() })
    const client = browser()
    await client.get('/login')
    await client.get('/logout')

    expect(await sessions.list('ann')).toEqual([])
  })

  it('M2: survives regenerate(), and moves with a switch to another user', async () => {
    const { sessions, browser } = makeApp(
      { '/regenerate': ({ session }) => session.regenerate() },
      { store: makeStore() },
    )
    const client = browser()
    await client.get('/login')
    await client.get('/regenerate')
    const before = await sessions.list('ann')

    await client.get('/login?user=bob')

    expect(before).toHaveLength(1)
    expect(await sessions.list('ann')).toEqual([])
    expect(await sessions.list('bob')).toHaveLength(1)
  })
})

describe.each(timedStoreKinds)('the order of sessions.list() with a %s', (_, makeTimed) => {
  it('M2: starts with the current session, then goes by the most recent activity', async () => {
    const { store, passTime } = makeTimed()
    const { sessions, browser } = makeApp({}, { store })
    const clients = [browser(), browser(), browser(), browser()]
    const ids: string[] = []
    for (const client of clients) {
      await client.get('/login')
      ids.push((await me(client)).id)
      await passTime(2 * minute)
    }
    await me(clients[1]!)
    await passTime(2 * minute)

    const list = await sessions.list('ann', { current: { id: ids[0] ?? '' } })

    expect(list.map(({ id }) => ids.indexOf(id))).toEqual([0, 1, 3, 2])
    expect(
      list.map(({ dateActive }) => Math.round((list[0]!.dateActive - dateActive) / 60)),
    ).toEqual([0, 2, 4, 6])
  })

  it('M2: shows when the user signed in, not when the session was created', async () => {
    const { store, passTime } = makeTimed()
    const { sessions, browser } = makeApp({}, { store })
    const client = browser()
    await client.get('/write?a=1')
    await passTime(10 * minute)

    await client.get('/login')
    const [session] = await sessions.list('ann')
    const info = await sessions.info(session?.id ?? '')

    const createdAt = Date.parse(info?.creationDateTime ?? '') / 1000
    expect(Math.round(((session?.dateCreated ?? 0) - createdAt) / 60)).toBe(10)
  })

  it('M2: omits a session that was idle for too long', async () => {
    const { store, passTime } = makeTimed()
    const { sessions, browser } = makeApp({}, { store })
    await browser().get('/login')

    await passTime(62 * minute)

    expect(await sessions.list('ann')).toEqual([])
  })
})

describe.each(storeKinds)('ending sessions with a %s', (_, makeStore) => {
  it('M3: terminate() ends a session once, and its next request is a guest', async () => {
    const { sessions, browser } = makeApp({}, { store: makeStore() })
    const client = browser()
    await client.get('/login')
    await client.get('/write?a=1')
    const { id } = await me(client)

    expect(await sessions.terminate(id)).toBe(true)
    expect(await sessions.terminate(id)).toBe(false)
    expect(await sessions.terminate(unknownId)).toBe(false)

    const view = await me(client)
    expect(view).toMatchObject(guestView)
    expect(view.id).not.toBe(id)
    expect(await sessions.list('ann')).toEqual([])
    expect(await sessions.info(id)).toBeNull()
  })

  it('M3: terminate() for a user ends only sessions of that user', async () => {
    const { sessions, browser, events } = makeApp({}, { store: makeStore() })
    const [anns, guest] = [browser(), browser()]
    await anns.get('/login')
    await guest.get('/write?a=1')
    const [{ id }, { id: guestId }] = [await me(anns), await me(guest)]

    const others = [
      await sessions.terminate(id, { userName: 'bob' }),
      await sessions.terminate(id, { userName: 'Ann' }),
      await sessions.terminate(id, { userName: '' }),
      await sessions.terminate(guestId, { userName: '' }),
    ]
    const meanwhile = await me(anns)

    expect(others).toEqual([false, false, false, false])
    expect(meanwhile).toMatchObject({ id, userName: 'ann' })
    expect(events.filter(({ name }) => name === 'session:ended')).toEqual([])
    expect(await sessions.terminate(id, { userName: 'ann' })).toBe(true)
    expect(await me(anns)).toMatchObject(guestView)
    expect((await me(guest)).id).toBe(guestId)
  })

  it('M4: terminateOthers() keeps the current session, and those of other users', async () => {
    const { sessions, browser } = makeApp({}, { store: makeStore() })
    const clients = [browser(), browser(), browser()]
    for (const client of clients) await client.get('/login')
    const bobs = browser()
    await bobs.get('/login?user=bob')
    const current = await me(clients[1]!)

    expect(await sessions.terminateOthers(current)).toBe(2)
    expect(await sessions.terminateOthers(current)).toBe(0)

    const views = [await me(clients[0]!), await me(clients[1]!), await me(clients[2]!)]
    expect(views.map(({ userName }) => userName)).toEqual(['', 'ann', ''])
    expect(views[1]?.id).toBe(current.id)
    expect((await me(bobs)).userName).toBe('bob')
  })

  it('M4: terminateOthers() takes ctx.session, and ends nothing for a guest', async () => {
    const { sessions, browser, store } = makeApp(
      {
        '/others': async (ctx, app) => {
          ctx.body = { ended: await app.sessions.terminateOthers(ctx.session) }
        },
      },
      { store: makeStore() },
    )
    await browser().get('/login')
    const client = browser()
    await client.get('/write?a=1')
    const asGuest = await client.get('/others')
    const callsForGuest = store.calls.filter((call) => call === 'list' || call === 'destroy')
    await client.get('/login')

    const asUser = await client.get('/others')

    expect([asGuest.body, asUser.body]).toEqual([{ ended: 0 }, { ended: 1 }])
    expect(callsForGuest).toEqual([])
    expect(await sessions.list('ann')).toHaveLength(1)
  })

  it('M5: terminateAll() ends all sessions of a user, and returns how many', async () => {
    const { sessions, browser } = makeApp({}, { store: makeStore() })
    const clients = [browser(), browser(), browser()]
    for (const client of clients) await client.get('/login')
    const others = [browser(), browser()]
    await others[0]!.get('/login?user=Ann')
    await others[1]!.get('/write?a=1')

    expect(await sessions.terminateAll('ann')).toBe(3)
    expect(await sessions.terminateAll('ann')).toBe(0)
    expect(await sessions.terminateAll('')).toBe(0)

    for (const client of clients) expect(await me(client)).toMatchObject(guestView)
    expect((await me(others[0]!)).userName).toBe('Ann')
    expect((await me(others[1]!)).isNew).toBe(false)
  })

  it('M3: a request still running cannot bring an ended session back', async () => {
    const { sessions, browser } = makeApp(
      {
        '/late': async ({ session }, app) => {
          session.storage.late = 1
          await app.sessions.terminate(session.id)
        },
      },
      { store: makeStore() },
    )
    const client = browser()
    await client.get('/login')
    const { id } = await me(client)

    const { status } = await client.get('/late')

    expect(status).toBe(200)
    expect(await sessions.info(id)).toBeNull()
    expect(await me(client)).toMatchObject(guestView)
  })

  it('M10: emits one event for each terminated session', async () => {
    const { sessions, browser, events } = makeApp({}, { store: makeStore() })
    const ended: unknown[] = []
    const listener = (event: unknown): unknown => ended.push(event)
    subscribe('koa-user-sessions:session:ended', listener)
    onTestFinished(() => {
      unsubscribe('koa-user-sessions:session:ended', listener)
    })
    const ids: string[] = []
    for (let index = 0; index < 4; index += 1) {
      const client = browser()
      await client.get('/login')
      ids.push((await me(client)).id)
    }

    await sessions.terminate(ids[0] ?? '')
    await sessions.terminate(ids[0] ?? '')
    await sessions.terminateOthers({ id: ids[1] ?? '', userName: 'ann' })
    await sessions.terminateAll('ann')

    const told = events.filter(({ name }) => name === 'session:ended').map(({ event }) => event)
    expect(told).toEqual(ended)
    expect(told).toHaveLength(4)
    expect(told).toEqual(expect.arrayContaining(ids.map((id) => ({ id, reason: 'terminated' }))))
  })
})

describe('wrong arguments', () => {
  const wrongNames: readonly unknown[] = [undefined, null, 7, {}, ['ann'], Symbol('ann')]

  it.each(wrongNames)('M2: rejects %o as a user name with TypeError', async (userName) => {
    const { sessions, store } = makeApp()

    const calls: readonly (readonly [keyof Sessions, readonly unknown[]])[] = [
      ['list', [userName]],
      ['terminateAll', [userName]],
      ['terminateOthers', [{ id: unknownId, userName }]],
      ['setPrivileges', [userName, 'browse']],
      ['clearPrivileges', [userName]],
    ]
    for (const [method, args] of calls) {
      await expect(callOf(sessions, method, args)).rejects.toBeInstanceOf(TypeError)
    }
    expect(store.calls).toEqual([])
  })

  it.each([null, 7, {}])('M3: rejects %o as the user of terminate()', async (userName) => {
    const { sessions, store } = makeApp()

    await expect(callOf(sessions, 'terminate', [unknownId, { userName }])).rejects.toBeInstanceOf(
      TypeError,
    )
    expect(store.calls).toEqual([])
  })

  it.each([[{ userName: 'bob' }], [{ userName: '' }], [undefined], [7], [['a,b']]])(
    'M13: refuses %o as privileges',
    async (input) => {
      const store = new MemoryStore()
      const { sessions, browser } = makeApp({}, { store })
      const client = browser()
      await client.get('/login')

      await expect(callOf(sessions, 'setPrivileges', ['ann', input])).rejects.toBeInstanceOf(
        TypeError,
      )

      expect(await me(client)).toMatchObject({ userName: 'ann', privileges: ['browse'] })
    },
  )
})

/** Calls a method as JavaScript code may. */
function callOf(sessions: Sessions, method: keyof Sessions, args: readonly unknown[]): unknown {
  const called: unknown = Reflect.get(sessions, method)
  return typeof called === 'function' ? Reflect.apply(called, sessions, args) : undefined
}
