import { describe, expect, it } from 'vitest'

import { exactly, me } from '../support/apps.ts'
import { openShop } from '../support/privileged-shop.ts'
import type { Shop } from '../support/privileged-shop.ts'

/** Signs ann in, and returns the id of her session. */
async function signedIn(shop: Shop): Promise<string> {
  await shop.run(({ session }) => {
    session.setPrivileges({ roles: 'Manager', userName: 'ann' })
    session.storage.card = 'of ann'
    session.idleTimeout = 90
  })
  return (await me(shop.client)).id
}

describe('another user', () => {
  it.each(['bob', 'Ann', 'ann ', '__proto__'])(
    'C5: inherits nothing when %j signs in over another user',
    async (userName) => {
      const shop = openShop()
      const id = await signedIn(shop)

      await shop.run(({ session }) => {
        session.storage.cart = 'of ann too'
        session.setPrivileges({ privileges: 'browse', userName })

        expect({ ...session.storage }).toEqual({})
        expect(session.getPrivileges()).toEqual(['browse'])
        expect(session.id).not.toBe(id)
        expect(session.isNew).toBe(true)
      })

      const view = await me(shop.client)
      expect(view).toMatchObject({
        userName,
        privileges: ['browse'],
        idleTimeout: 60,
        storage: exactly({}),
      })
      expect(view.id).not.toBe(id)
      expect(shop.events).toContainEqual({
        name: 'session:ended',
        event: { id, reason: 'replaced' },
      })
    },
  )

  it('C5: inherits nothing after clearPrivileges in the same request', async () => {
    const shop = openShop()
    const id = await signedIn(shop)

    await shop.run(({ session }) => {
      session.clearPrivileges()
      session.setPrivileges({ privileges: 'browse', userName: 'bob' })

      expect({ ...session.storage }).toEqual({})
    })

    const view = await me(shop.client)
    expect(view).toMatchObject({ userName: 'bob', privileges: ['browse'], storage: exactly({}) })
    expect(view.id).not.toBe(id)
  })

  it('C5: inherits nothing of a user who has signed in and out in the same request', async () => {
    const shop = openShop()
    await shop.client.get('/write?cart=tea')

    await shop.run(({ session }) => {
      session.setPrivileges({ userName: 'ann' })
      session.storage.card = 'of ann'
      session.clearPrivileges()
      session.setPrivileges({ userName: 'bob' })
    })

    expect(await me(shop.client)).toMatchObject({ userName: 'bob', storage: exactly({}) })
  })

  it('C5: keeps id and storage when the same user signs in after clearPrivileges', async () => {
    const shop = openShop()
    const id = await signedIn(shop)

    await shop.run(({ session }) => {
      session.clearPrivileges()
      session.setPrivileges({ privileges: 'browse', userName: 'ann' })

      expect(session.getPrivileges()).toEqual(['browse'])
    })

    expect(await me(shop.client)).toMatchObject({
      id,
      userName: 'ann',
      privileges: ['browse'],
      storage: exactly({ card: 'of ann' }),
    })
  })

  it('C5: keeps id and storage of a guest who signs in', async () => {
    const shop = openShop()
    await shop.client.get('/write?cart=tea')
    const { id } = await me(shop.client)

    await shop.run(({ session }) => session.setPrivileges({ userName: 'ann' }))

    expect(await me(shop.client)).toMatchObject({
      id,
      userName: 'ann',
      storage: exactly({ cart: 'tea' }),
    })
  })

  it('C5: ends both earlier sessions when two users sign in over a third in one request', async () => {
    const shop = openShop()
    const id = await signedIn(shop)

    await shop.run(({ session }) => {
      session.setPrivileges({ userName: 'bob' })
      session.storage.card = 'of bob'
      session.setPrivileges({ userName: 'eve' })
    })

    expect(await me(shop.client)).toMatchObject({ userName: 'eve', storage: exactly({}) })
    expect(shop.events.filter(({ name }) => name === 'session:ended')).toEqual([
      { name: 'session:ended', event: { id, reason: 'replaced' } },
    ])
  })
})
