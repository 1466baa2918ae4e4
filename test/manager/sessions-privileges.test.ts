import { requirePrivilege } from 'koa-user-sessions'
import type { SessionsOptions } from 'koa-user-sessions'
import { describe, expect, it, onTestFinished } from 'vitest'

import { cookieOf, makeApp, recordWarnings, storeKinds } from '../support/apps.ts'

const roles = {
  privileges: [
    { privilege: 'WebAdmin', includes: ['audit'] },
    { privilege: 'audit' },
    { privilege: 'browse' },
  ],
  roles: [{ role: 'Admin', privileges: ['WebAdmin'] }],
} satisfies SessionsOptions['roles']

describe.each(storeKinds)("changing a user's privileges with a %s", (_, makeStore) => {
  it('M13: adds to all sessions of the user, whose cookies keep working', async () => {
    const { sessions, visit } = makeApp({}, { store: makeStore(), roles })
    const cookies = [cookieOf(await visit('/login')), cookieOf(await visit('/login'))]
    const bobs = cookieOf(await visit('/login?user=bob'))

    expect(await sessions.setPrivileges('ann', { privileges: 'audit', roles: ['Admin'] })).toBe(2)

    for (const cookie of cookies) {
      const { body, headers } = await visit('/me', cookie)
      expect(body).toMatchObject({ userName: 'ann' })
      expect(body.privileges.toSorted()).toEqual(['WebAdmin', 'audit', 'browse'])
      expect(headers).not.toHaveProperty('set-cookie')
    }
    expect((await visit('/me', bobs)).body).toMatchObject({ privileges: ['browse'] })
  })

  it('M13: removes what is not given, and the sessions stay signed in', async () => {
    const { sessions, visit } = makeApp({}, { store: makeStore(), roles })
    const cookie = cookieOf(await visit('/login?privileges=WebAdmin,browse'))

    expect(await sessions.setPrivileges('ann', ['audit'], { replace: true })).toBe(1)

    const { body } = await visit('/me', cookie)
    expect(body).toMatchObject({ userName: 'ann', privileges: ['audit'], isGuest: false })
    expect(await sessions.list('ann')).toHaveLength(1)
  })

  it('M13: answers 403 to a demoted admin at the next request', async () => {
    const { sessions, app, visit } = makeApp({}, { store: makeStore(), roles })
    app.use(requirePrivilege('WebAdmin'))
    app.use((ctx) => {
      ctx.body = 'secret'
    })
    const cookie = cookieOf(await visit('/login?privileges=WebAdmin'))
    const before = await visit('/admin', cookie)

    await sessions.setPrivileges('ann', [], { replace: true })

    expect([before.status, (await visit('/admin', cookie)).status]).toEqual([200, 403])
  })

  it('M13: clearPrivileges() makes them guests; id, storage and idle timeout stay', async () => {
    const { sessions, visit } = makeApp(
      {
        '/long': ({ session }) => {
          session.idleTimeout = 90
        },
      },
      { store: makeStore() },
    )
    const cookie = cookieOf(await visit('/login'))
    await visit('/write?a=1', cookie)
    await visit('/long', cookie)
    const { body: before } = await visit('/me', cookie)

    expect(await sessions.clearPrivileges('ann')).toBe(1)
    expect(await sessions.clearPrivileges('ann')).toBe(0)

    const { body } = await visit('/me', cookie)
    expect(body).toMatchObject({
      id: before.id,
      userName: '',
      privileges: [],
      isGuest: true,
      storage: { a: '1' },
      idleTimeout: 90,
      isNew: false,
    })
    expect(await sessions.list('ann')).toEqual([])
  })

  it('M13: warns about undeclared names, and does not grant them', async () => {
    const { messages, stop } = recordWarnings()
    onTestFinished(stop)
    const { sessions, visit } = makeApp({}, { store: makeStore(), roles })
    const cookie = cookieOf(await visit('/login'))

    const count = await sessions.setPrivileges('ann', {
      privileges: ['audit', 'WebAdmni'],
      roles: 'Amdin',
    })

    expect(count).toBe(1)
    expect((await visit('/me', cookie)).body.privileges.toSorted()).toEqual(['audit', 'browse'])
    expect(messages).toEqual([
      expect.stringContaining('"WebAdmni"'),
      expect.stringContaining('"Amdin"'),
    ])
  })

  it('M13: does nothing for an empty name or a user without sessions', async () => {
    const { sessions, visit } = makeApp({}, { store: makeStore() })
    const cookie = cookieOf(await visit('/write?a=1'))

    expect(await sessions.setPrivileges('', 'WebAdmin')).toBe(0)
    expect(await sessions.setPrivileges('bob', 'WebAdmin')).toBe(0)
    expect(await sessions.clearPrivileges('')).toBe(0)

    expect((await visit('/me', cookie)).body).toMatchObject({ privileges: [], isGuest: true })
  })
})
