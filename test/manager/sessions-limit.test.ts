import { RedisStore } from 'koa-user-sessions'
import type { SessionLimit, SessionStore } from 'koa-user-sessions'
import { describe, expect, it } from 'vitest'

import { cookieOf, makeApp, me, setCookies, storeKinds } from '../support/apps.ts'
import type { Handler, TestApp } from '../support/apps.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'
import { timedStoreKinds } from '../support/time.ts'

const minute = 60_000

const handlers: Readonly<Record<string, Handler>> = {
  '/save': async (ctx) => {
    ctx.session.setPrivileges({ privileges: 'browse', userName: 'ann' })
    try {
      await ctx.session.save()
    } catch (error) {
      ctx.session.clearPrivileges()
      ctx.body = { code: error instanceof Error && 'code' in error && error.code }
    }
  },
}

describe.each(storeKinds)('maxSessions: terminateOldest, with a %s', (_, makeStore) => {
  it('M6: ends the session with the oldest sign-in, and emits the event', async () => {
    const { browser, sessions, events } = limitedApp(makeStore(), { perUser: 2 })
    const clients = [browser(), browser(), browser()]
    await clients[0]!.get('/login')
    const first = await me(clients[0]!)
    await clients[1]!.get('/login')
    await me(clients[0]!)

    await clients[2]!.get('/login').expect(200)

    const views = [await me(clients[0]!), await me(clients[1]!), await me(clients[2]!)]
    expect(views.map(({ userName }) => userName)).toEqual(['', 'ann', 'ann'])
    expect(await sessions.list('ann')).toHaveLength(2)
    expect(events.filter(({ name }) => name === 'session:ended')).toEqual([
      { name: 'session:ended', event: { id: first.id, reason: 'exceeded' } },
    ])
  })

  it('M6: ends nothing for a repeated sign-in, other users or guests', async () => {
    const { browser, sessions, events } = limitedApp(makeStore(), { perUser: 1 })
    const client = browser()
    for (let index = 0; index < 3; index += 1) await client.get('/login').expect(200)
    await browser().get('/login?user=bob')
    await browser().get('/write?a=1')
    await browser().get('/login?user=Ann')

    expect((await me(client)).userName).toBe('ann')
    expect(await sessions.list('ann')).toHaveLength(1)
    expect(events.filter(({ name }) => name === 'session:ended')).toEqual([])
  })

  it('M6: is exact under 50 parallel sign-ins', async () => {
    const { visit, sessions, events } = limitedApp(makeStore(), { perUser: 5 })

    const responses = await Promise.all(Array.from({ length: 50 }, () => visit('/login')))

    expect(responses.map(({ status }) => status)).toEqual(Array(50).fill(200))
    const views = await Promise.all(
      responses.map(async (response) => (await visit('/me', cookieOf(response))).body),
    )
    const live = views.filter(({ userName }) => userName === 'ann')
    expect(live).toHaveLength(5)
    expect((await sessions.list('ann')).map(({ id }) => id).toSorted()).toEqual(
      live.map(({ id }) => String(id)).toSorted(),
    )
    const ended = events.filter(({ name }) => name === 'session:ended')
    expect(ended).toHaveLength(45)
    expect(new Set(ended.map(({ event }) => JSON.stringify(event))).size).toBe(45)
  })

  it('M6: is exact when 50 guests sign in at once', async () => {
    const { visit, sessions } = limitedApp(makeStore(), { perUser: 3 })
    const guests = await Promise.all(
      Array.from({ length: 50 }, async () => cookieOf(await visit('/write?cart=tea'))),
    )

    const responses = await Promise.all(guests.map((cookie) => visit('/login', cookie)))

    const views = await Promise.all(
      responses.map(async (response) => (await visit('/me', cookieOf(response))).body),
    )
    const live = views.filter(({ userName }) => userName === 'ann')
    expect(live).toHaveLength(3)
    expect(live.map(({ storage }) => storage)).toEqual(live.map(() => ({ cart: 'tea' })))
    expect(await sessions.list('ann')).toHaveLength(3)
  })
})

describe.each(storeKinds)('maxSessions: refuse, with a %s', (_, makeStore) => {
  it('M6: answers 403 ERR_SESSION_LIMIT with the reason, and sets no cookie', async () => {
    const { visit, errors, sessions } = limitedApp(makeStore(), { perUser: 1, onExceed: 'refuse' })
    const cookie = cookieOf(await visit('/login'))

    const refused = await visit('/login')

    expect(refused.status).toBe(403)
    expect(refused.text).toBe('signed in on too many devices: sign out on another one first')
    expect(setCookies(refused)).toEqual([])
    expect(errors).toMatchObject([{ code: 'ERR_SESSION_LIMIT', status: 403, expose: true }])
    expect((await visit('/me', cookie)).body.userName).toBe('ann')
    expect(await sessions.list('ann')).toHaveLength(1)
  })

  it('M6: leaves the refused guest its session and its cart', async () => {
    const { browser, events } = limitedApp(makeStore(), { perUser: 1, onExceed: 'refuse' })
    await browser().get('/login')
    const client = browser()
    await client.get('/write?cart=tea')
    const before = await me(client)
    const told = events.length

    await client.get('/login').expect(403)

    expect(await me(client)).toMatchObject({
      id: before.id,
      userName: '',
      isGuest: true,
      storage: { cart: 'tea' },
    })
    expect(events.slice(told)).toMatchObject([{ name: 'session:refused' }])
  })

  it('M6: rejects save(), and the handler can continue as a guest', async () => {
    const { browser } = limitedApp(makeStore(), { perUser: 1, onExceed: 'refuse' })
    await browser().get('/login')
    const client = browser()
    await client.get('/write?cart=tea')

    const { status, body } = await client.get('/save')

    expect([status, body]).toEqual([200, { code: 'ERR_SESSION_LIMIT' }])
    expect(await me(client)).toMatchObject({ userName: '', storage: { cart: 'tea' } })
  })

  it('M6: has room again after a sign-out and after terminate()', async () => {
    const { browser, sessions } = limitedApp(makeStore(), { perUser: 1, onExceed: 'refuse' })
    const clients = [browser(), browser(), browser()]
    await clients[0]!.get('/login').expect(200)
    await clients[1]!.get('/login').expect(403)

    await clients[0]!.get('/logout')
    await clients[1]!.get('/login').expect(200)
    await clients[2]!.get('/login').expect(403)
    await sessions.terminateAll('ann')
    await clients[2]!.get('/login').expect(200)

    expect((await me(clients[2]!)).userName).toBe('ann')
  })

  it("M6: never refuses a user's session that is already signed in", async () => {
    const { browser } = limitedApp(makeStore(), { perUser: 1, onExceed: 'refuse' })
    const client = browser()
    await client.get('/login').expect(200)

    await client.get('/login?privileges=browse,more').expect(200)

    expect((await me(client)).privileges.toSorted()).toEqual(['browse', 'more'])
  })

  it('M6: refuses the switch to another user, too', async () => {
    const { browser } = limitedApp(makeStore(), { perUser: 1, onExceed: 'refuse' })
    await browser().get('/login?user=bob').expect(200)
    const client = browser()
    await client.get('/login?user=ann').expect(200)

    await client.get('/login?user=bob').expect(403)

    expect((await me(client)).userName).not.toBe('bob')
  })

  it('M6: is exact under 50 parallel sign-ins', async () => {
    const { visit, sessions } = limitedApp(makeStore(), { perUser: 5, onExceed: 'refuse' })

    const responses = await Promise.all(Array.from({ length: 50 }, () => visit('/login')))

    const signedIn = responses.filter(({ status }) => status === 200)
    expect(signedIn).toHaveLength(5)
    expect(responses.filter(({ status }) => status === 403)).toHaveLength(45)
    const views = await Promise.all(
      signedIn.map(async (response) => (await visit('/me', cookieOf(response))).body),
    )
    expect(views.map(({ userName }) => String(userName))).toEqual(Array(5).fill('ann'))
    expect(await sessions.list('ann')).toHaveLength(5)
  })
})

describe.each(timedStoreKinds)('maxSessions over time, with a %s', (_, makeTimed) => {
  it('M6: has room again after a session has been idle for too long', async () => {
    const { store, passTime } = makeTimed()
    const { browser } = limitedApp(store, { perUser: 1, onExceed: 'refuse' })
    await browser().get('/login').expect(200)
    await passTime(59 * minute)
    await browser().get('/login').expect(403)

    await passTime(3 * minute)

    await browser().get('/login').expect(200)
  })
})

describe('maxSessions over several processes', () => {
  it.each(['terminateOldest', 'refuse'] as const)(
    'M6: is exact under 50 parallel sign-ins by four connections: %s',
    async (onExceed) => {
      const prefix = uniquePrefix()
      const apps = Array.from({ length: 4 }, () =>
        limitedApp(new RedisStore(connectRedis(), { prefix }), { perUser: 5, onExceed }),
      )

      const responses = await Promise.all(
        Array.from({ length: 50 }, (_, index) => apps[index % 4]!.visit('/login')),
      )

      const signedIn = responses.filter(({ status }) => status === 200)
      const views = await Promise.all(
        signedIn.map(async (response) => (await apps[0]!.visit('/me', cookieOf(response))).body),
      )
      const live = views.filter(({ userName }) => userName === 'ann')
      expect(signedIn).toHaveLength(onExceed === 'refuse' ? 5 : 50)
      expect(live).toHaveLength(5)
      expect((await apps[1]!.sessions.list('ann')).map(({ id }) => id).toSorted()).toEqual(
        live.map(({ id }) => String(id)).toSorted(),
      )
    },
  )
})

/** An app that allows this many sessions of one user. */
function limitedApp(
  store: SessionStore,
  { perUser, onExceed = 'terminateOldest' }: Partial<SessionLimit> & { readonly perUser: number },
): TestApp {
  // Fifty requests at once take time on a busy machine.
  const storeTimeoutMs = 20_000
  return makeApp(handlers, { store, storeTimeoutMs, maxSessions: { perUser, onExceed } })
}
