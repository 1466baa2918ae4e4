import { describe, expect, it, vi } from 'vitest'

import { deviceOf, placeOfClient } from '../../examples/demo/device-words.ts'
import { agoText } from '../../examples/demo/moment.ts'
import { locate } from '../../examples/locate.ts'
import {
  cookiesOf,
  devicesIn,
  idOf,
  newVisitor,
  send,
  signIn,
  textOf,
  unknown,
  visit,
} from '../support/shop-visits.ts'
import { userAgents } from '../support/user-agents.ts'

vi.mock('node:crypto', async (load) => {
  const { withQuickScrypt } = await import('../support/quick-scrypt.ts')
  return withQuickScrypt(() => load())
})

const infoNames =
  'type userName machineName systemUserName IPAddress hostType creationDateTime state ID ' +
  'persistentID'

describe('the devices page', () => {
  it('redirects guests and their form posts to the sign-in page', async () => {
    const { visitor } = visit()

    await visitor.get('/devices').expect(303).expect('Location', '/sign-in?next=%2Fdevices')
    await send(visitor, '/devices', { end: 'others' })
      .expect(303)
      .expect('Location', '/sign-in?next=%2Fdevices')
    expect(await textOf(visitor, '/')).not.toContain('href="/devices"')
  })

  it('lists the devices of the user, the current one first', async () => {
    const { shop, visitor } = visit()
    await signIn(newVisitor(shop).set('User-Agent', userAgents.phone), 'clerk')
    await signIn(newVisitor(shop).set('User-Agent', userAgents.linux), 'manager')
    await signIn(visitor.set('User-Agent', userAgents.windows), 'clerk')

    const text = await textOf(visitor, '/devices')

    expect(devicesIn(text)).toEqual(['Chrome 131 on Windows This device', 'Safari 17 on iPhone'])
    expect(text).toContain('this machine')
    expect(text).toContain('127.0.0.1')
    expect(text).toContain('<script type="module" src="/devices.js"></script>')
    expect(text).not.toMatch(/<script[^>]*>[^<]| on\w+=| style=/)
    expect(text).toContain('href="/devices" aria-current="page"')
  })

  it('ends another session, which is a guest from then on', async () => {
    const { shop, visitor } = visit()
    const other = newVisitor(shop).set('User-Agent', userAgents.phone)
    await signIn(other, 'clerk')
    await signIn(visitor, 'clerk')

    const end = await idOf(other)
    await send(visitor, '/devices', { end }).expect(303).expect('Location', '/devices')

    const text = await textOf(visitor, '/devices')
    expect(text).toContain('Ended: Safari 17 on iPhone.')
    expect(devicesIn(text)).toHaveLength(1)
    await other.get('/devices').expect(303)
    expect(await textOf(visitor, '/devices')).not.toContain('Ended:')
  })

  it.each([
    ['a stranger’s', 'manager'],
    ['an unknown', undefined],
  ])('answers 404 and the page again for the id of %s session', async (_whose, owner) => {
    const { shop, visitor } = visit()
    const other = newVisitor(shop)
    if (owner) await signIn(other, owner)
    const end = owner ? await idOf(other) : '00000000-0000-4000-8000-000000000000'
    await signIn(visitor, 'clerk')

    const { text } = await send(visitor, '/devices', { end }).expect(404)

    expect(text).toContain('That session is none of yours')
    expect(devicesIn(text)).toHaveLength(1)
    if (owner) await other.get('/devices').expect(200)
  })

  it.each(['', 'all', '<script>alert(1)</script>', '__proto__'])(
    'answers 404 and the page again for %j',
    async (end) => {
      const { visitor } = visit()
      await signIn(visitor, 'clerk')

      const { text } = await send(visitor, '/devices', { end }).expect(404)

      expect(text).toContain('<h1>Your devices</h1>')
      expect(text).not.toContain('alert(1)')
    },
  )

  it('ends all others, and says how many there were', async () => {
    const { shop, visitor } = visit()
    const others = [newVisitor(shop), newVisitor(shop)]
    for (const other of others) await signIn(other, 'clerk')
    const stranger = newVisitor(shop)
    await signIn(stranger, 'manager')
    await signIn(visitor, 'clerk')

    await send(visitor, '/devices', { end: 'others' }).expect(303)
    expect(await textOf(visitor, '/devices')).toContain('Ended: 2 other devices.')
    await send(visitor, '/devices', { end: 'others' }).expect(303)
    expect(await textOf(visitor, '/devices')).toContain('There was no other device.')

    for (const other of others) await other.get('/devices').expect(303)
    await stranger.get('/devices').expect(200)
  })

  it('signs out when it ends the current session', async () => {
    const { visitor } = visit()
    await signIn(visitor, 'clerk')

    const response = await send(visitor, '/devices', { end: await idOf(visitor) })

    expect(response.status).toBe(303)
    expect(response.headers['location']).toBe('/')
    expect(cookiesOf(response)).toEqual([expect.stringMatching(/^session=;.*Max-Age=0/)])
    await visitor.get('/devices').expect(303)
  })

  it('refuses a form from another site, and ends nothing', async () => {
    const { shop, visitor } = visit()
    const other = newVisitor(shop)
    await signIn(other, 'clerk')
    await signIn(visitor, 'clerk')

    for (const site of ['cross-site', 'same-site']) {
      await send(visitor, '/devices', { end: 'others' }).set('Sec-Fetch-Site', site).expect(403)
      await send(visitor, '/admin/sessions', { user: 'clerk', end: 'all' })
        .set('Sec-Fetch-Site', site)
        .expect(403)
    }

    expect(devicesIn(await textOf(visitor, '/devices'))).toHaveLength(2)
  })

  it('names the country of an address without asking the network', async () => {
    const { shop, visitor } = visit()
    shop.proxy = true
    await signIn(visitor.set('X-Forwarded-For', '8.8.8.8'), 'clerk')

    const text = await textOf(visitor, '/devices')

    expect(text).toContain('United States')
    expect(text).toContain('8.8.8.8')
  })
})

describe('the words for a device', () => {
  it.each([
    [{}, 'An unknown device'],
    [{ appName: 'Chrome', appVersion: '131.0.6778.86' }, 'Chrome 131'],
    [{ platform: 'Linux' }, 'An unknown app on Linux'],
    [{ appName: 'Chrome', platform: 'Windows', systemVersion: '10' }, 'Chrome on Windows 10'],
    [{ appName: 'Safari', platform: 'macOS', systemVersion: '14.5' }, 'Safari on macOS 14'],
    [{ appName: 'Safari', platform: 'iOS', deviceModel: 'iPhone' }, 'Safari on iPhone'],
  ])('call %j %j', (session, words) => {
    expect(deviceOf({ ...unknown, ...session })).toBe(words)
  })

  it.each([
    [{ ip: '127.0.0.1' }, 'this machine'],
    [{ ip: '::1' }, 'this machine'],
    [{ ip: '::ffff:127.0.0.1' }, 'this machine'],
    [{ ip: '192.168.1.7' }, 'a private network'],
    [{ ip: 'fd00::7' }, 'a private network'],
    [{ ip: '172.32.0.1' }, 'an unknown place'],
    [{ ip: '' }, 'an unknown place'],
    [{ ip: '194.25.0.1', country: 'DE' }, 'Germany'],
    [{ ip: '194.25.0.1', country: 'DE', region: 'Hesse' }, 'Hesse, Germany'],
    [{ ip: '194.25.0.1', country: 'Atlantis' }, 'Atlantis'],
    [{ ip: '194.25.0.1', country: 'XX' }, 'XX'],
  ])('call the place of %j %j', (session, words) => {
    expect(placeOfClient({ ...unknown, ...session })).toBe(words)
  })

  it.each([
    [-5, 'just now'],
    [44, 'just now'],
    [60, '1 minute ago'],
    [44 * 60, '44 minutes ago'],
    [50 * 60, '1 hour ago'],
    [21 * 3600, '21 hours ago'],
    [24 * 3600, 'yesterday'],
    [30 * 86_400, '30 days ago'],
  ])('call %i seconds ago %j', (seconds, words) => {
    expect(agoText(seconds)).toBe(words)
  })

  it('name a place by its address', () => {
    expect(locate('8.8.8.8')).toMatchObject({ country: 'US' })
    expect(locate('::ffff:8.8.8.8')).toMatchObject({ country: 'US' })
    expect(locate('2001:4860:4860::8888')).toMatchObject({ country: 'US' })
    expect(locate('127.0.0.1')).toBeNull()
  })
})

describe('the admin’s page of a user’s sessions', () => {
  it('is for admins', async () => {
    const { shop, visitor } = visit()
    await signIn(visitor, 'manager')

    await visitor.get('/admin/sessions?user=clerk').expect(403)
    await send(visitor, '/admin/sessions', { user: 'clerk', end: 'all' }).expect(403)
    await newVisitor(shop).get('/admin/sessions?user=clerk').expect(303)
  })

  it('shows the sessions with their info, or that there is none', async () => {
    const { shop, visitor } = visit()
    const clerk = newVisitor(shop).set('User-Agent', userAgents.linux)
    await signIn(clerk, 'clerk')
    await signIn(visitor, 'admin')

    const text = (await textOf(visitor, '/admin/sessions?user=clerk')).replaceAll(/\s+/g, ' ')

    expect(await textOf(visitor, '/admin')).toContain('action="/admin/sessions"')
    expect(devicesIn(text)).toEqual(['Firefox 128 on Linux'])
    expect(text).toContain('“clerk” has one session')
    expect(text).toContain(`<dt>ID</dt> <dd>${await idOf(clerk)}</dd>`)
    for (const name of infoNames.split(' ')) expect(text).toContain(`<dt>${name}</dt>`)
    const none = await textOf(visitor, '/admin/sessions?user=manager')
    expect(none).toContain('“manager” has no session.')
    expect(await textOf(visitor, '/admin/sessions')).not.toContain('has no session')
  })

  it('ends one session, then all, and no other user’s', async () => {
    const { shop, visitor } = visit()
    const clerks = [newVisitor(shop), newVisitor(shop), newVisitor(shop)]
    clerks[0]!.set('User-Agent', userAgents.linux)
    for (const clerk of clerks) await signIn(clerk, 'clerk')
    const manager = newVisitor(shop)
    await signIn(manager, 'manager')
    await signIn(visitor, 'admin')
    const page = '/admin/sessions?user=clerk'

    const end = await idOf(clerks[0]!)
    await send(visitor, '/admin/sessions', { user: 'clerk', end })
      .expect(303)
      .expect('Location', page)
    const text = await textOf(visitor, page)
    expect(text).toContain('Ended: Firefox 128 on Linux of “clerk”.')
    expect(devicesIn(text)).toHaveLength(2)
    await clerks[0]!.get('/devices').expect(303)
    await clerks[1]!.get('/devices').expect(200)

    const { text: twice } = await send(visitor, '/admin/sessions', { user: 'clerk', end })
    expect(twice).toContain('“clerk” has no such session, or it has ended already.')

    await send(visitor, '/admin/sessions', { user: 'clerk', end: 'all' }).expect(303)
    expect(await textOf(visitor, page)).toContain('Ended: 2 sessions of “clerk”.')
    for (const clerk of clerks) await clerk.get('/devices').expect(303)
    await manager.get('/devices').expect(200)
  })

  it('can end its own session, and then has to sign in again', async () => {
    const { visitor } = visit()
    await signIn(visitor, 'admin')

    await send(visitor, '/admin/sessions', { user: 'admin', end: 'all' }).expect(303)

    await visitor
      .get('/admin/sessions?user=admin')
      .expect(303)
      .expect('Location', '/sign-in?next=%2Fadmin%2Fsessions%3Fuser%3Dadmin')
  })

  it.each([`"><script>alert('1')</script>&`, '__proto__', ' clerk', '“'.repeat(500)])(
    'escapes the name %j and finds no user',
    async (user) => {
      const { shop, visitor } = visit()
      await signIn(newVisitor(shop), 'clerk')
      await signIn(visitor, 'admin')

      const path = `/admin/sessions?user=${encodeURIComponent(user)}`
      const pages = [
        await textOf(visitor, path),
        (await send(visitor, '/admin/sessions', { user, end: 'x' }).expect(404)).text,
      ]
      await send(visitor, '/admin/sessions', { user, end: 'all' }).expect('Location', path)

      for (const text of pages) {
        expect(text).not.toContain('<script')
        expect(text).toContain('has no session.')
      }
      expect(await textOf(visitor, path)).toContain('had no session.')
    },
  )
})
