import type { SessionsOptions } from 'koa-user-sessions'
import { describe, expect, it } from 'vitest'

import { cookieOf, exactly, guestView, makeApp, setCookies } from '../support/apps.ts'
import type { Handler, TestApp } from '../support/apps.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'

/** Two instances of an app, as in two processes: each with its own client and its own Sessions. */
function makeTwo(
  handlersOfOne: Readonly<Record<string, Handler>> = {},
  options: SessionsOptions = {},
): readonly [TestApp, TestApp] {
  const prefix = uniquePrefix()
  return [
    makeApp(handlersOfOne, { ...options, redis: connectRedis(), prefix }),
    makeApp({}, { ...options, redis: connectRedis(), prefix }),
  ]
}

describe('two processes', () => {
  it('T2: share the storage of a session, both ways', async () => {
    const [one, two] = makeTwo()
    const cookie = cookieOf(await one.visit('/write?cart=tea'))

    expect((await two.visit('/me', cookie)).body.storage).toEqual({ cart: 'tea' })
    await two.visit('/write?cart=coffee&size=2', cookie)

    expect((await one.visit('/me', cookie)).body).toMatchObject({
      isNew: false,
      storage: exactly({ cart: 'coffee', size: '2' }),
    })
  })

  it('T2: keep the storages of two sessions apart', async () => {
    const [one, two] = makeTwo()
    const ann = cookieOf(await one.visit('/write?of=ann'))
    const bob = cookieOf(await two.visit('/write?of=bob'))

    expect((await two.visit('/me', ann)).body.storage).toEqual({ of: 'ann' })
    expect((await one.visit('/me', bob)).body.storage).toEqual({ of: 'bob' })
  })

  it('T3: keep parallel changes to different names', async () => {
    const [one, two] = makeTwo()
    const cookie = cookieOf(await one.visit('/write?start=1'))
    const names = Array.from({ length: 20 }, (_, index) => `name${index}`)

    await Promise.all(
      names.map((name, index) => (index % 2 ? one : two).visit(`/write?${name}=1`, cookie)),
    )

    const { body } = await one.visit('/me', cookie)
    expect(Object.keys(body.storage).toSorted()).toEqual([...names, 'start'].toSorted())
  })

  it('T3: keep a change when a slow request has not touched that name', async () => {
    const [one, two] = makeTwo({
      '/slow': async (ctx) => {
        ctx.session.storage.mine = 'slow'
        await two.visit('/write?theirs=fast', ctx.get('Cookie'))
      },
    })
    const cookie = cookieOf(await one.visit('/write?theirs=old'))

    await one.visit('/slow', cookie)

    expect((await two.visit('/me', cookie)).body.storage).toEqual({ mine: 'slow', theirs: 'fast' })
  })

  it('P4: share who is signed in, and with which rights', async () => {
    const [one, two] = makeTwo({ '/clear': ({ session }) => session.clearPrivileges() })
    const cookie = cookieOf(await one.visit('/login?user=ann&privileges=browse,audit'))

    expect((await two.visit('/me', cookie)).body).toMatchObject({
      userName: 'ann',
      privileges: ['browse', 'audit'],
      isGuest: false,
    })
    const rotated = cookieOf(await one.visit('/clear', cookie))

    expect((await two.visit('/me', rotated)).body).toMatchObject({
      userName: '',
      privileges: [],
      isGuest: true,
      isNew: false,
    })
  })

  it('P9: expand the granted names with their own roles', async () => {
    const prefix = uniquePrefix()
    const role = { roles: [{ role: 'Clerk', privileges: ['browse'] }] }
    const one = makeApp(
      { '/in': ({ session }) => session.setPrivileges({ roles: 'Clerk', userName: 'ann' }) },
      { redis: connectRedis(), prefix, roles: { privileges: [{ privilege: 'browse' }], ...role } },
    )
    const two = makeApp(
      {},
      {
        redis: connectRedis(),
        prefix,
        roles: {
          privileges: [{ privilege: 'Browse', includes: ['prices'] }, { privilege: 'prices' }],
          ...role,
        },
      },
    )
    const cookie = cookieOf(await one.visit('/in'))

    expect((await one.visit('/me', cookie)).body.privileges).toEqual(['browse'])
    expect((await two.visit('/me', cookie)).body.privileges).toEqual(['Browse', 'prices'])
  })

  it('S4: share the idle timeout', async () => {
    const [one, two] = makeTwo({ '/idle': ({ session }) => void (session.idleTimeout = 90) })
    const cookie = cookieOf(await one.visit('/write?a=1'))

    await one.visit('/idle', cookie)

    expect((await two.visit('/me', cookie)).body.idleTimeout).toBe(90)
  })

  it('S1: know a session by the same id', async () => {
    const [one, two] = makeTwo()
    const cookie = cookieOf(await one.visit('/write?a=1'))

    const { body } = await one.visit('/me', cookie)

    expect((await two.visit('/me', cookie)).body.id).toBe(body.id)
  })

  it('C5: see at once that a cookie was rotated', async () => {
    const [one, two] = makeTwo()
    const old = cookieOf(await one.visit('/write?a=1'))

    const rotated = cookieOf(await two.visit('/login', old))

    expect((await one.visit('/me', old)).body).toMatchObject(guestView)
    expect((await one.visit('/me', rotated)).body).toMatchObject({ userName: 'ann', isNew: false })
  })

  it('L8: see at once that the other has ended a session', async () => {
    const [one, two] = makeTwo()
    const cookie = cookieOf(await one.visit('/login'))
    expect((await two.visit('/me', cookie)).body.userName).toBe('ann')

    await two.visit('/logout', cookie)

    const response = await one.visit('/me', cookie)
    expect(response.body).toMatchObject(guestView)
    expect(setCookies(response)).toEqual([])
  })

  it('L8: do not bring back a session that the other has ended meanwhile', async () => {
    const [one, two] = makeTwo({
      '/slow': async (ctx) => {
        ctx.session.storage.late = true
        await two.visit('/logout', ctx.get('Cookie'))
        ctx.body = 'done'
      },
    })
    const cookie = cookieOf(await one.visit('/login'))

    const response = await one.visit('/slow', cookie)

    expect([response.status, response.text]).toEqual([200, 'done'])
    expect(setCookies(response)).toEqual([])
    expect(one.events.map(({ event }) => 'reason' in event && event.reason)).toContain('gone')
    for (const { visit } of [one, two]) {
      expect((await visit('/me', cookie)).body).toMatchObject(guestView)
    }
  })

  it('L8: end a session for good by a sign-out amid 50 writes from both', async () => {
    const [one, two] = makeTwo()
    const cookie = cookieOf(await one.visit('/login'))
    const writes = Array.from({ length: 50 }, (_, index) => (index % 2 ? one : two))

    const responses = await Promise.all([
      ...writes.map(({ visit }, index) => visit(`/write?name${index}=1`, cookie)),
      two.visit('/logout', cookie),
    ])

    expect(responses.every(({ status }) => status === 200)).toBe(true)
    expect((await one.visit('/me', cookie)).body).toMatchObject(guestView)
  })

  it('§7: do not share sessions under different prefixes', async () => {
    const [one] = makeTwo()
    const [stranger] = makeTwo()
    const cookie = cookieOf(await one.visit('/login'))

    expect((await stranger.visit('/me', cookie)).body).toMatchObject(guestView)
    expect((await one.visit('/me', cookie)).body.userName).toBe('ann')
  })
})
