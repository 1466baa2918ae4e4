import { inspect } from 'node:util'

import { MemoryStore, Sessions } from 'koa-user-sessions'
import type { SessionStore } from 'koa-user-sessions'
import { describe, expect, it } from 'vitest'

import { makeApp, me, ObservedStore, storeKinds } from '../support/apps.ts'
import type { Handler } from '../support/apps.ts'
import { timedStoreKinds } from '../support/time.ts'

const minute = 60_000
const isoDate = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/
const unknownId = '11111111-1111-4111-8111-111111111111'

const handlers: Readonly<Record<string, Handler>> = {
  '/info': (ctx) => {
    ctx.body = ctx.session.info
  },
  '/postpone': async (ctx) => {
    await ctx.session.postpone()
    ctx.body = ctx.session.info
  },
}

describe.each(storeKinds)('sessions.info() with a %s', (_, makeStore) => {
  it('M1: returns all that is known, the same as session.info', async () => {
    const { sessions, browser } = makeApp(handlers, {
      store: makeStore(),
      type: 'rest',
      describeClient: () => ({ machineName: 'desk', systemUserName: 'ann.b' }),
    })
    const client = browser()
    await client.get('/login')
    const { body: own } = await client.get('/info')
    const { id } = await me(client)

    const info = await sessions.info(id)

    expect(info).toEqual({
      type: 'rest',
      userName: 'ann',
      machineName: 'desk',
      systemUserName: 'ann.b',
      IPAddress: '127.0.0.1',
      hostType: 'browser',
      creationDateTime: expect.stringMatching(isoDate),
      state: 'active',
      ID: id,
      persistentID: id,
    })
    expect(own).toEqual(info)
    expect(Math.abs(Date.parse(info?.creationDateTime ?? '') - Date.now())).toBeLessThan(minute)
  })

  it('M1: accepts ids in any case, with and without hyphens', async () => {
    const { sessions, browser } = makeApp(handlers, { store: makeStore() })
    const client = browser()
    await client.get('/login')
    const { id } = await me(client)
    const spellings = [id.toUpperCase(), id.replaceAll('-', ''), id.replace('-', '').toUpperCase()]

    for (const spelling of spellings) {
      expect(await sessions.info(spelling)).toMatchObject({ ID: id })
      expect(await sessions.storage(spelling)).toEqual({})
      const [listed] = await sessions.list('ann', { current: { id: spelling } })
      expect(listed).toMatchObject({ id, isCurrent: true })
      expect(await sessions.terminateOthers({ id: spelling, userName: 'ann' })).toBe(0)
    }
    expect(await sessions.info(`${id} `)).toBeNull()
    expect(await sessions.terminate(spellings[2] ?? '')).toBe(true)
  })

  it('S7: is the same in the request that first stores the session', async () => {
    const { sessions, browser } = makeApp(
      {
        '/start': async (ctx) => {
          await ctx.session.save()
          ctx.body = ctx.session.info
        },
      },
      { store: makeStore(), describeClient: () => ({ machineName: 'desk' }) },
    )

    const { body } = await browser().get('/start')

    expect(body).toMatchObject({ machineName: 'desk' })
    expect(await sessions.info(body.ID)).toEqual(body)
  })

  it('M1: keeps what was recorded with the session, whoever signs in and out', async () => {
    const { sessions, browser } = makeApp(handlers, { store: makeStore() })
    const client = browser()
    await client.get('/write?a=1')
    const { id } = await me(client)
    const before = await sessions.info(id)

    await client.get('/login')

    expect(await sessions.info(id)).toEqual({ ...before, userName: 'ann' })
  })

  it('M1: is null for an unknown session and one that has ended', async () => {
    const { sessions, browser } = makeApp(handlers, { store: makeStore() })
    const client = browser()
    await client.get('/login')
    const { id } = await me(client)

    await client.get('/logout')

    expect(await sessions.info(id)).toBeNull()
    expect(await sessions.info(unknownId)).toBeNull()
  })

  it.each(['', 'x', '../sess:{a}', unknownId.slice(1), '__proto__', '\u0000'])(
    'H1: is null for the malformed id %j without a store call',
    async (id) => {
      const { sessions, store } = makeApp(handlers, { store: makeStore() })

      expect(await sessions.info(id)).toBeNull()
      expect(await sessions.terminate(id)).toBe(false)

      expect(store.calls).toEqual([])
    },
  )
})

describe.each(timedStoreKinds)('the state of a session with a %s', (_, makeTimed) => {
  it('K6: is active until a minute and refreshSeconds after the last use, then sleeping', async () => {
    const { store, passTime, isQuiet } = makeTimed()
    const { sessions, browser } = makeApp(handlers, { store })
    const client = browser()
    await client.get('/write?a=1')
    const { id } = await me(client)

    const states = [await stateOf(sessions, id)]
    for (const ms of [1.5 * minute, minute]) {
      await passTime(ms)
      states.push(await stateOf(sessions, id))
    }
    await client.get('/me')
    await isQuiet()
    states.push(await stateOf(sessions, id))

    expect(states).toEqual(['active', 'active', 'sleeping', 'active'])
  })

  it('K6: is exact to the second without refreshSeconds', async () => {
    const { store, passTime } = makeTimed()
    const { sessions, browser } = makeApp(handlers, { store, refreshSeconds: 0 })
    const client = browser()
    await client.get('/write?a=1')
    const { id } = await me(client)

    await passTime(50_000)
    const before = await stateOf(sessions, id)
    await passTime(15_000)

    expect([before, await stateOf(sessions, id)]).toEqual(['active', 'sleeping'])
  })

  it('K6: is not changed by a request that does not count as activity', async () => {
    const { store, passTime } = makeTimed()
    const { sessions, browser } = makeApp(handlers, {
      store,
      countsAsActivity: ({ path }) => path !== '/me',
    })
    const client = browser()
    await client.get('/write?a=1')
    const { id } = await me(client)
    await passTime(3 * minute)

    await me(client)

    expect(await stateOf(sessions, id)).toBe('sleeping')
  })

  it('K6: is postponed from postpone() until the next request, however late', async () => {
    const { store, passTime, isQuiet } = makeTimed()
    const { sessions, browser } = makeApp(handlers, { store })
    const client = browser()
    await client.get('/write?a=1')
    const { id } = await me(client)

    const { body } = await client.get('/postpone')
    const states = [await stateOf(sessions, id)]
    await passTime(10 * minute)
    states.push(await stateOf(sessions, id))
    const { body: later } = await client.get('/info')
    await isQuiet()
    states.push(await stateOf(sessions, id))

    expect(body).toMatchObject({ ID: id, state: 'postponed' })
    expect(later).toMatchObject({ ID: id, state: 'active' })
    expect(states).toEqual(['postponed', 'postponed', 'active'])
  })

  it('K6: does not keep the session from expiring', async () => {
    const { store, passTime } = makeTimed()
    const { sessions, browser } = makeApp(handlers, { store })
    const client = browser()
    await client.get('/write?a=1')
    const { id } = await me(client)
    await passTime(55 * minute)

    await client.get('/postpone')
    await passTime(62 * minute)

    expect(await sessions.info(id)).toBeNull()
  })
})

describe.each(storeKinds)('postpone() with a %s', (_, makeStore) => {
  it('S9: stores nothing for a session that is not stored', async () => {
    const { visit, store } = makeApp(handlers, { store: makeStore() })

    const { body, headers } = await visit('/postpone')

    expect(body).toMatchObject({ state: 'active' })
    expect(headers).not.toHaveProperty('set-cookie')
    expect(store.calls).toEqual([])
  })

  it('S9: commits what the request has changed, and stays after more changes', async () => {
    const { browser, sessions } = makeApp(
      {
        '/suspend': async ({ session }) => {
          session.storage.before = 1
          await session.postpone()
          session.storage.after = 2
        },
      },
      { store: makeStore() },
    )
    const client = browser()
    await client.get('/write?a=1')
    const { id } = await me(client)

    await client.get('/suspend')

    expect(await stateOf(sessions, id)).toBe('postponed')
    expect(await sessions.storage(id)).toEqual({ a: '1', before: 1, after: 2 })
  })

  it('S9: ends when the request touches the session', async () => {
    const { browser, sessions } = makeApp(
      {
        '/back': async (ctx) => {
          await ctx.session.postpone()
          await ctx.session.touch()
          ctx.body = ctx.session.info
        },
      },
      { store: makeStore() },
    )
    const client = browser()
    await client.get('/write?a=1')

    const { body } = await client.get('/back')

    expect(body).toMatchObject({ state: 'active' })
    expect(await stateOf(sessions, body.ID)).toBe('active')
  })

  it('S9: throws ERR_SESSION_ENDED when the session has ended meanwhile', async () => {
    const { browser, errors } = makeApp(
      {
        '/late': async ({ session }, { sessions }) => {
          await sessions.terminate(session.id)
          await session.postpone()
        },
      },
      { store: makeStore() },
    )
    const client = browser()
    await client.get('/write?a=1')

    const { status } = await client.get('/late')

    expect(status).toBe(401)
    expect(errors).toMatchObject([{ code: 'ERR_SESSION_ENDED' }])
  })
})

describe('the manager with a failing store', () => {
  const calls: readonly (readonly [string, string, (sessions: Sessions) => Promise<unknown>])[] = [
    ['info', 'load', (sessions) => sessions.info(unknownId)],
    ['storage', 'load', (sessions) => sessions.storage(unknownId)],
    ['list', 'list', (sessions) => sessions.list('ann-the-user')],
    ['terminate', 'destroy', (sessions) => sessions.terminate(unknownId)],
    [
      'terminate of a user',
      'destroy',
      (sessions) => sessions.terminate(unknownId, { userName: 'ann-the-user' }),
    ],
    [
      'terminateOthers',
      'list',
      (sessions) => sessions.terminateOthers({ id: unknownId, userName: 'ann-the-user' }),
    ],
    ['terminateAll', 'list', (sessions) => sessions.terminateAll('ann-the-user')],
    ['setPrivileges', 'list', (sessions) => sessions.setPrivileges('ann-the-user', 'browse')],
    ['clearPrivileges', 'list', (sessions) => sessions.clearPrivileges('ann-the-user')],
  ]

  it.each(calls)('F1: %s rejects with ERR_SESSION_STORE, without the user', async (...row) => {
    const [, operation, call] = row
    const store = brokenStore(new MemoryStore())
    const sessions = new Sessions({ store })
    const told: unknown[] = []
    sessions.on('session:storeError', (event) => told.push(event))

    const [result] = await Promise.allSettled([call(sessions)])

    expect(result).toMatchObject({
      status: 'rejected',
      reason: { code: 'ERR_SESSION_STORE', status: 503 },
    })
    expect(inspect([result, told], { depth: Infinity, showHidden: true })).not.toContain(
      'ann-the-user',
    )
    expect(told).toMatchObject([{ operation, error: { code: 'ERR_SESSION_STORE' } }])
  })

  it('F1: rejects when a change fails after the list', async () => {
    const { sessions, store, browser } = makeApp()
    await browser().get('/login')
    store.faults.set('commit', 'rejects')

    await expect(sessions.clearPrivileges('ann')).rejects.toMatchObject({
      code: 'ERR_SESSION_STORE',
    })
    await expect(sessions.setPrivileges('ann', 'more')).rejects.toMatchObject({
      code: 'ERR_SESSION_STORE',
    })
  })

  it('F1: rejects when an end fails after the list', async () => {
    const { sessions, store, browser } = makeApp()
    await browser().get('/login')
    store.faults.set('destroy', 'rejects')

    await expect(sessions.terminateAll('ann')).rejects.toMatchObject({
      code: 'ERR_SESSION_STORE',
    })
    await expect(
      sessions.terminateOthers({ id: unknownId, userName: 'ann' }),
    ).rejects.toMatchObject({ code: 'ERR_SESSION_STORE' })
  })
})

async function stateOf(sessions: Sessions, id: string): Promise<string | undefined> {
  return (await sessions.info(id))?.state
}

function brokenStore(inner: SessionStore): SessionStore {
  const store = new ObservedStore(inner)
  for (const operation of ['load', 'list', 'destroy'] as const) {
    store.faults.set(operation, 'rejects')
  }
  return store
}
