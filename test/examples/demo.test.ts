import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

import { Redis } from 'ioredis'
import type { ActiveSession } from 'koa-user-sessions'
import request from 'supertest'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { createApp } from '../../examples/demo/app.ts'
import { deviceOf, placeOfClient } from '../../examples/demo/device-words.ts'
import { html } from '../../examples/demo/html.ts'
import { localPath } from '../../examples/demo/local-path.ts'
import { agoText } from '../../examples/demo/moment.ts'
import { placeOf } from '../../examples/demo/place.ts'
import { readSettings } from '../../examples/demo/settings.ts'
import { users } from '../../examples/demo/users.ts'
import { locate } from '../../examples/locate.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'
import { userAgents } from '../support/user-agents.ts'

type Shop = ReturnType<typeof createApp>
type Visitor = ReturnType<typeof request.agent>

/** A shop, what it has reported, and a browser that looks at it. */
function visit(shop: Shop = createApp()): { shop: Shop; errors: unknown[]; visitor: Visitor } {
  const errors: unknown[] = []
  shop.on('error', (error) => errors.push(error))
  return { shop, errors, visitor: request.agent(shop.callback()) }
}

function newVisitor(shop: Shop): Visitor {
  return request.agent(shop.callback())
}

function send(visitor: Visitor, path: string, fields: Record<string, string>) {
  return visitor.post(path).type('form').send(fields)
}

function signIn(visitor: Visitor, name: string, next = '/') {
  const password = users.find((user) => user.name === name)?.shownPassword ?? ''
  return send(visitor, '/sign-in', { name, password, next })
}

function addToCart(visitor: Visitor, product: string, quantity = '1') {
  return send(visitor, '/cart', { do: 'add', product, quantity })
}

async function textOf(visitor: Visitor, path: string, status = 200): Promise<string> {
  const { text } = await visitor
    .get(path)
    .expect(status)
    .expect('Content-Type', /^text\/html/)
  return text
}

async function idOf(visitor: Visitor): Promise<string> {
  return /<code>([0-9a-f-]{36})<\/code>/.exec(await textOf(visitor, '/session'))?.[1] ?? ''
}

function cookiesOf(response: request.Response): string[] {
  return [response.get('Set-Cookie') ?? []].flat()
}

/** A session of which nothing is known. */
const unknown: ActiveSession = {
  id: '00000000-0000-4000-8000-000000000000',
  isCurrent: false,
  appId: '',
  appName: '',
  appVersion: '',
  isOfficialApp: false,
  deviceModel: '',
  platform: '',
  systemVersion: '',
  dateCreated: 0,
  dateActive: 0,
  ip: '',
  country: '',
  region: '',
}

const infoNames =
  'type userName machineName systemUserName IPAddress hostType creationDateTime state ID ' +
  'persistentID'

/** The headings of the cards. */
function devicesIn(text: string): string[] {
  return [...text.matchAll(/<h3>(.*?)<\/h3>/gs)].map(([, heading = '']) =>
    heading
      .replaceAll(/<[^>]+>/g, '')
      .replaceAll(/\s+/g, ' ')
      .trim(),
  )
}

describe('the pages', () => {
  it.each([
    ['/', 'Goods for wet days'],
    ['/cart', 'Your cart'],
    ['/session', 'Your session'],
    ['/sign-in', 'Sign in'],
  ])('shows %s to a guest, and stores nothing for it', async (path, title) => {
    const { visitor } = visit()

    const response = await visitor.get(path).expect(200)

    expect(response.text).toContain(`<h1>${title}</h1>`)
    expect(response.text).toContain('in the memory of this process')
    expect(response.text).toContain('<html lang="en">')
    expect(response.text).toContain('name="viewport"')
    expect(response.text).not.toMatch(/<script|<style|style=| on\w+=/)
    expect(cookiesOf(response)).toEqual([])
  })

  it('labels every field that is not hidden', async () => {
    const { visitor } = visit()
    await addToCart(visitor, 'tin-kettle')
    await signIn(visitor, 'admin')

    const pages = ['/', '/cart', '/session', '/sign-in', '/stock']
    const texts = await Promise.all(pages.map((page) => textOf(visitor, page)))

    for (const text of texts) {
      const fields = text.match(/<input(?![^>]*type="hidden")[^>]*>/g) ?? []
      expect(fields.length).toBeGreaterThan(0)
      for (const field of fields) {
        const id = /\sid="([^"]+)"/.exec(field)?.[1]
        expect(text).toContain(`<label for="${id}"`)
      }
    }
  })

  it('serves the style sheet, the script and the icon, for which no session is looked up', async () => {
    const { visitor } = visit()

    const style = await visitor
      .get('/shop.css')
      .expect(200)
      .expect('Content-Type', /^text\/css/)
    // Koa 2 says `application`.
    await visitor
      .get('/devices.js')
      .expect(200)
      .expect('Content-Type', /^(text|application)\/javascript/)
    await visitor
      .get('/icon.svg')
      .expect(200)
      .expect('Content-Type', /^image\/svg\+xml/)

    expect(style.text).toContain('prefers-color-scheme: dark')
    expect(style.headers['vary']).toBeUndefined()
  })

  it.each(['/', '/nothing-here', '/shop.css'])('sets the security headers on %s', async (path) => {
    const { headers } = await visit().visitor.get(path)

    expect(headers['content-security-policy']).toContain("default-src 'none'")
    expect(headers['content-security-policy']).toContain("frame-ancestors 'none'")
    expect(headers['content-security-policy']).not.toContain('unsafe')
    expect(headers['x-content-type-options']).toBe('nosniff')
    expect(headers['referrer-policy']).toBe('same-origin')
  })
})

describe('signing in', () => {
  it('shows all names and passwords', async () => {
    const text = await textOf(visit().visitor, '/sign-in')

    for (const { name, shownPassword } of users) {
      expect(text).toContain(`<code>${name}</code>`)
      expect(text).toContain(`<code>${shownPassword}</code>`)
    }
  })

  it.each([
    { name: 'clerk', prices: true, stock: 403, admin: 403, privileges: 'seePrices, browse' },
    { name: 'manager', prices: true, stock: 200, admin: 403, privileges: 'editStock' },
    { name: 'admin', prices: true, stock: 200, admin: 200, privileges: 'WebAdmin' },
  ])('lets $name see what the role allows', async ({ name, stock, admin, privileges }) => {
    const { visitor } = visit()

    await signIn(visitor, name).expect(303).expect('Location', '/')

    const front = await textOf(visitor, '/')
    expect(front).toContain(`<strong>${name}</strong>`)
    expect(front).toContain(`Welcome, ${name}.`)
    expect(front).toContain('€48.00')
    expect(await textOf(visitor, '/')).not.toContain('Welcome')
    expect(await textOf(visitor, '/session')).toContain(privileges)
    await visitor.get('/stock').expect(stock)
    await visitor.get('/admin').expect(admin)
  })

  it('shows a guest no prices', async () => {
    const { visitor } = visit()
    await addToCart(visitor, 'tin-kettle')

    expect(await textOf(visitor, '/')).not.toContain('€')
    expect(await textOf(visitor, '/cart')).not.toContain('€')
  })

  it.each([
    ['a wrong password', { name: 'clerk', password: 'brass anchor' }],
    ['an unknown user', { name: 'nobody', password: 'paper lantern' }],
    ['the name of a property', { name: '__proto__', password: '' }],
    ['nothing', {}],
  ])('answers 401 and the page again to %s', async (_what, fields) => {
    const { visitor } = visit()

    const response = await send(visitor, '/sign-in', { ...fields, next: '/cart' })

    expect(response.status).toBe(401)
    expect(response.text).toContain('do not belong together')
    expect(response.text).toContain('<h1>Sign in</h1>')
    expect(response.text).toContain('name="next" value="/cart"')
    expect(response.text).not.toContain('type="password" value')
    expect(cookiesOf(response)).toEqual([])
  })

  it('takes the cart of the guest along, under a cookie of another value', async () => {
    const { visitor } = visit()
    const first = await addToCart(visitor, 'tin-kettle', '2').expect(303)
    const id = await idOf(visitor)

    const second = await signIn(visitor, 'clerk').expect(303)

    expect(await idOf(visitor)).toBe(id)
    expect(await textOf(visitor, '/cart')).toContain('€63.80')
    expect(cookiesOf(second)).toHaveLength(1)
    expect(cookiesOf(second)).not.toEqual(cookiesOf(first))
  })

  it('leaves nothing of one user to the next', async () => {
    const { visitor } = visit()
    await signIn(visitor, 'admin')
    await addToCart(visitor, 'tin-kettle')
    const id = await idOf(visitor)
    expect(await textOf(visitor, '/sign-in')).toContain('ends\n')

    await signIn(visitor, 'clerk').expect(303)

    expect(await idOf(visitor)).not.toBe(id)
    expect(await textOf(visitor, '/cart')).toContain('There is nothing in it yet.')
    await visitor.get('/admin').expect(403)
  })

  it('signs out: the session ends, its cookie opens nothing and is cleared', async () => {
    const { shop, visitor } = visit()
    const cookie = cookiesOf(await signIn(visitor, 'admin'))[0]!.split(';')[0]!

    const response = await visitor.post('/sign-out').expect(303).expect('Location', '/')

    expect(cookiesOf(response)).toEqual([expect.stringMatching(/^session=;.*Max-Age=0/)])
    expect(await textOf(visitor, '/')).toContain('href="/sign-in"')
    await request(shop.callback()).get('/admin').set('Cookie', cookie).expect(303)
  })
})

describe('coming back after signing in', () => {
  it('sends a guest to sign in and back to the page', async () => {
    const { visitor } = visit()

    await visitor
      .get('/admin?x=1&y=%26')
      .expect(303)
      .expect('Location', /^\/sign-in\?next=/)
    const { headers } = await visitor.get('/admin?x=1&y=%26')
    const text = await textOf(visitor, headers['location']!)
    expect(text).toContain('name="next" value="/admin?x=1&amp;y=%26"')

    await signIn(visitor, 'admin', '/admin?x=1&y=%26').expect('Location', '/admin?x=1&y=%26')
  })

  it('sends a guest who posts to the page of the form', async () => {
    const { visitor } = visit()

    await send(visitor, '/stock', { product: 'tin-kettle', count: '1' })
      .expect(303)
      .expect('Location', '/sign-in?next=%2Fstock')
  })

  it('shows a page to somebody who lacks the privilege, with a way out', async () => {
    const { visitor } = visit()
    await signIn(visitor, 'clerk', '/admin').expect('Location', '/admin')

    const text = await textOf(visitor, '/admin', 403)

    expect(text).toContain('WebAdmin')
    expect(text).toContain('<strong>clerk</strong>')
    expect(text).toContain('/sign-in?next=%2Fadmin')
  })

  it.each([
    'https://example.com/',
    '//example.com',
    '///example.com',
    '/\\example.com',
    '\\\\example.com',
    '/\t/example.com',
    '/\n/example.com',
    '\t//example.com',
    '/.//example.com',
    '/..//example.com',
    '/x/..//example.com',
    '/%2e//example.com',
    '/.\\example.com',
    'javascript:alert(1)',
    'example.com',
    '',
    'http:/example.com',
    '//shop.invalid@example.com',
    '/\u0000/example.com',
  ])('goes nowhere else for next=%j', async (next) => {
    const { visitor } = visit()

    const { text } = await visitor.get(`/sign-in?next=${encodeURIComponent(next)}`).expect(200)

    const wanted = /name="next" value="([^"]*)"/.exec(text.replaceAll(/\s+/g, ' '))?.[1]
    expect(wanted).toMatch(/^\/(?![/\\])/)
    expect(new URL(wanted!, 'http://shop.test').origin).toBe('http://shop.test')
    expect(wanted).toBe(localPath(next))
  })

  it('does not believe the form either', async () => {
    const { visitor } = visit()

    await signIn(visitor, 'clerk', '/.//example.com').expect(303).expect('Location', '/')
  })

  it('keeps local paths as they are', () => {
    expect(localPath('/admin')).toBe('/admin')
    expect(localPath('/cart?a=1&b=%2F')).toBe('/cart?a=1&b=%2F')
    expect(localPath(null)).toBe('/')
  })
})

describe('the cart', () => {
  it('adds, changes, removes and empties', async () => {
    const { visitor } = visit()

    await addToCart(visitor, 'tin-kettle', '2').expect(303).expect('Location', '/cart')
    await addToCart(visitor, 'tin-kettle', '3').expect(303)
    await addToCart(visitor, 'rope-mat').expect(303)
    expect(await textOf(visitor, '/cart')).toMatch(/Cart <span class="count">6<\/span>/)

    await send(visitor, '/cart', { do: 'change', product: 'tin-kettle', quantity: '4' }).expect(303)
    expect(await textOf(visitor, '/session')).toContain('&quot;tin-kettle&quot;: 4')

    await send(visitor, '/cart', { do: 'remove', product: 'tin-kettle', quantity: '' }).expect(303)
    const text = await textOf(visitor, '/cart')
    expect(text).toContain('Removed: Tin kettle.')
    expect(text).not.toContain('id="quantity-tin-kettle"')

    await send(visitor, '/cart', { do: 'change', product: 'rope-mat', quantity: '0' }).expect(303)
    await addToCart(visitor, 'rope-mat').expect(303)
    await send(visitor, '/cart', { do: 'empty' }).expect(303)
    expect(await textOf(visitor, '/cart')).toContain('There is nothing in it yet.')
  })

  it('takes no more than there is, and nothing that is sold out', async () => {
    const { visitor } = visit()

    await addToCart(visitor, 'tide-clock', '2').expect(303)
    const { text } = await addToCart(visitor, 'tide-clock', '2').expect(400)
    await addToCart(visitor, 'fog-whistle').expect(400)

    expect(text).toContain('there are 3, and you want 4')
    expect(await textOf(visitor, '/session')).toContain('&quot;tide-clock&quot;: 2')
  })

  it.each(['<script>alert(1)</script>', '-1', '1.5', '1e3', '', '99999', 'NaN'])(
    'answers 400 and the page again to the quantity %j',
    async (quantity) => {
      const { visitor } = visit()

      const { text } = await addToCart(visitor, 'tin-kettle', quantity).expect(400)

      expect(text).toContain('is not a quantity')
      expect(text).toContain('<h1>Your cart</h1>')
      expect(text).not.toContain('<script')
    },
  )

  it.each(['nothing-like-it', '__proto__', 'constructor', ''])(
    'answers 400 to the product %j',
    async (product) => {
      const { visitor } = visit()

      const { text } = await addToCart(visitor, product).expect(400)

      expect(text).toContain('There is no product')
    },
  )

  it('is each visitor’s own', async () => {
    const { shop, visitor } = visit()
    await addToCart(visitor, 'tin-kettle')

    expect(await textOf(newVisitor(shop), '/cart')).toContain('There is nothing in it yet.')
  })
})

describe('the stock', () => {
  it('is changed by a manager and seen by everybody', async () => {
    const { shop, visitor } = visit()
    const guest = newVisitor(shop)
    await addToCart(guest, 'tin-kettle', '5')
    await signIn(visitor, 'manager')

    const change = { product: 'tin-kettle', count: '2' }
    await send(visitor, '/stock', change).expect(303).expect('Location', '/stock')
    await send(visitor, '/stock', { product: 'fog-whistle', count: '77' }).expect(303)

    expect(await textOf(visitor, '/stock')).toContain('Fog whistle: 77 in stock.')
    expect(await textOf(guest, '/')).toContain('77 in stock')
    expect(await textOf(guest, '/cart')).toContain('Only 2 left in stock.')
  })

  it('is not changed by a clerk or a guest', async () => {
    const { shop, visitor } = visit()
    await signIn(visitor, 'clerk')

    await send(visitor, '/stock', { product: 'tin-kettle', count: '77' }).expect(403)
    await send(newVisitor(shop), '/stock', { product: 'tin-kettle', count: '77' }).expect(303)

    expect(await textOf(visitor, '/')).not.toContain('77')
  })

  it('answers 400 and the page again to what is no number or no product', async () => {
    const { visitor } = visit()
    await signIn(visitor, 'manager')

    for (const fields of [
      { product: 'tin-kettle', count: '<script>' },
      { product: '<script>', count: '1' },
      { product: 'tin-kettle', count: '-1' },
    ]) {
      const { text } = await send(visitor, '/stock', fields).expect(400)

      expect(text).toContain('<h1>Stock</h1>')
      expect(text).not.toContain('<script')
    }
  })
})

describe('the page of the session', () => {
  it('shows all there is to know', async () => {
    const { visitor } = visit()
    await signIn(visitor, 'manager')

    const text = (await textOf(visitor, '/session')).replaceAll(/\s+/g, ' ')

    for (const [name, value] of [
      ['type', 'web'],
      ['userName', 'manager'],
      ['isGuest()', 'false'],
      ['isNew', 'false'],
      ['idleTimeout', '60 minutes'],
      ['kept', 'in the memory of this process'],
      ['hostType', 'browser'],
      ['IPAddress', '127.0.0.1'],
      ['state', 'active'],
    ]) {
      expect(text).toContain(`<dt>${name}</dt> <dd>${value}</dd>`)
    }
    expect(text).toMatch(/<dt>expirationDate<\/dt> <dd><time datetime="\d{4}-[^"]+Z">/)
    const names = 'id privileges machineName systemUserName creationDateTime ID persistentID'
    for (const name of names.split(' ')) expect(text).toContain(`<dt>${name}</dt>`)
  })

  it('shows the language and the UTC offset of the request, as far as they are told', async () => {
    const { visitor } = visit()

    const silent = (await textOf(visitor, '/session')).replaceAll(/\s+/g, ' ')
    const { text } = await visitor
      .get('/session')
      .set({ 'Accept-Language': 'de-CH,de;q=0.8', 'X-Client-UTC-Offset': '330' })
    const told = text.replaceAll(/\s+/g, ' ')

    for (const name of ['clientCulture', 'clientUtcOffset']) {
      expect(silent).toContain(`<dt>${name}</dt> <dd><span class="faint">not told</span></dd>`)
    }
    expect(told).toContain('<dt>clientCulture</dt> <dd>de-CH</dd>')
    expect(told).toContain('<dt>clientUtcOffset</dt> <dd>330 minutes</dd>')
  })

  it('changes the idle timeout, and says that lower values are raised', async () => {
    const { visitor } = visit()

    await send(visitor, '/session', { minutes: '90.5' }).expect(303).expect('Location', '/session')
    expect(await textOf(visitor, '/session')).toContain('Your idle timeout is 90.5 minutes.')

    await send(visitor, '/session', { minutes: '5' }).expect(303)
    const text = await textOf(visitor, '/session')
    expect(text).toContain('5 was below the floor')
    expect(text).toContain('value="60"')
  })

  it.each(['0', '-5', '525601', 'Infinity', 'NaN', '', ' ', '<script>'])(
    'answers 400 and the page again to %j minutes',
    async (minutes) => {
      const { visitor } = visit()

      const { text } = await send(visitor, '/session', { minutes }).expect(400)

      expect(text).toContain('is not an idle timeout')
      expect(text).not.toContain('<script')
    },
  )
})

describe('the admin page', () => {
  it('shows users, visits, sessions and the process', async () => {
    const { visitor } = visit()
    await textOf(visitor, '/cart?anything')
    await signIn(visitor, 'admin')
    const text = (await textOf(visitor, '/admin')).replaceAll(/\s+/g, ' ')

    expect(text).toContain('<th scope="row">admin</th> <td>Admin</td><td>1</td>')
    expect(text).toContain('<th scope="row">GET /cart</th> <td>1</td>')
    expect(text).toContain('<th scope="row">signed in</th> <td>1</td>')
    expect(text).toContain(process.version)
  })
})

describe('the page of the devices', () => {
  it('sends guests to sign in, and its form too', async () => {
    const { visitor } = visit()

    await visitor.get('/devices').expect(303).expect('Location', '/sign-in?next=%2Fdevices')
    await send(visitor, '/devices', { end: 'others' })
      .expect(303)
      .expect('Location', '/sign-in?next=%2Fdevices')
    expect(await textOf(visitor, '/')).not.toContain('href="/devices"')
  })

  it('lists what the user is signed in with, the present one first', async () => {
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

  it('ends another one, which is a guest from then on', async () => {
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
    ['nobody’s', undefined],
  ])('answers 404 and the page again to the id of %s session', async (_whose, owner) => {
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
    'answers 404 and the page again to %j',
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

  it('signs out when it ends the present one', async () => {
    const { visitor } = visit()
    await signIn(visitor, 'clerk')

    const response = await send(visitor, '/devices', { end: await idOf(visitor) })

    expect(response.status).toBe(303)
    expect(response.headers['location']).toBe('/')
    expect(cookiesOf(response)).toEqual([expect.stringMatching(/^session=;.*Max-Age=0/)])
    await visitor.get('/devices').expect(303)
  })

  it('refuses the form of another site, and ends nothing', async () => {
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
  ])('of %j are %j', (session, words) => {
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
  ])('and for the place of %j are %j', (session, words) => {
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
  ])('and for %i seconds ago are %j', (seconds, words) => {
    expect(agoText(seconds)).toBe(words)
  })

  it('and for a place by its address', () => {
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

  it('shows the sessions with their info, and says when there is none', async () => {
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

  it('ends one, then all, and nobody else’s', async () => {
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

  it('may end the session that asks, which then signs in again', async () => {
    const { visitor } = visit()
    await signIn(visitor, 'admin')

    await send(visitor, '/admin/sessions', { user: 'admin', end: 'all' }).expect(303)

    await visitor
      .get('/admin/sessions?user=admin')
      .expect(303)
      .expect('Location', '/sign-in?next=%2Fadmin%2Fsessions%3Fuser%3Dadmin')
  })

  it.each([`"><script>alert('1')</script>&`, '__proto__', ' clerk', '“'.repeat(500)])(
    'escapes the name %j and finds nobody',
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

describe('escaping', () => {
  it('escapes what people typed, in text and in attributes', async () => {
    const { visitor } = visit()
    const name = `"><script>alert('1')</script>&`

    const { text } = await send(visitor, '/sign-in', { name, password: 'x', next: `/"><script>` })

    expect(text).not.toContain('<script')
    expect(text).toContain('value="&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;"')
  })

  it('escapes strings, keeps HTML, joins lists and leaves out nothing else', () => {
    const page = html`<p>${['<', html`<b>${'&'}</b>`, 0, false, undefined, ['"', "'"]]}</p>`

    expect(String(page)).toBe('<p>&lt;<b>&amp;</b>0&quot;&#39;</p>')
  })
})

describe('other sites', () => {
  it.each([
    [{ 'Sec-Fetch-Site': 'cross-site' }, 403],
    [{ 'Sec-Fetch-Site': 'same-site' }, 403],
    [{ 'Sec-Fetch-Site': 'cross-site', Origin: 'http://shop.test' }, 403],
    [{ Origin: 'https://example.com' }, 403],
    [{ Origin: 'http://shop.test.example.com' }, 403],
    [{ Origin: 'http://shop.test:81' }, 403],
    [{ Origin: 'null' }, 403],
    [{ 'Sec-Fetch-Site': 'same-origin' }, 303],
    [{ Origin: 'http://shop.test' }, 303],
    [{}, 303],
  ])('answers a form that came with %j by %i', async (headers, status) => {
    const { visitor } = visit()

    const response = await addToCart(visitor, 'tin-kettle').set({ Host: 'shop.test', ...headers })

    expect(response.status).toBe(status)
    expect(cookiesOf(response)).toHaveLength(status === 303 ? 1 : 0)
    if (status === 403) expect(response.text).toContain('the request comes from another site.')
  })

  it('may link to every page', async () => {
    const { visitor } = visit()

    await visitor.get('/').set('Sec-Fetch-Site', 'cross-site').expect(200)
  })

  it('get no cookies with their forms', async () => {
    const { visitor } = visit()

    const [cookie] = cookiesOf(await addToCart(visitor, 'tin-kettle'))

    expect(cookie).toMatch(/; HttpOnly/)
    expect(cookie).toMatch(/; SameSite=Lax/)
  })
})

describe('forms', () => {
  it('takes 64 KB and answers 413 to more', async () => {
    const { visitor } = visit()
    const size = 64 * 1024 - 'name='.length

    await visitor
      .post('/sign-in')
      .type('form')
      .send(`name=${'x'.repeat(size)}`)
      .expect(401)
    const { text } = await visitor
      .post('/sign-in')
      .type('form')
      .send(`name=${'x'.repeat(size + 1)}`)
      .expect(413)

    expect(text).toContain('<h1>Too much at once</h1>')
    expect(text).toContain('64 KB')
  })

  it('answers 413 to a large form that does not say its length', async () => {
    const { shop } = visit()
    const server = shop.listen(0, '127.0.0.1')
    onTestFinished(() => void server.close())
    await once(server, 'listening')
    const address = server.address()
    const port = typeof address === 'object' ? address?.port : 0
    const body = new ReadableStream({
      start(controller) {
        for (let count = 0; count < 200; count += 1) controller.enqueue(new Uint8Array(1024))
        controller.close()
      },
    })

    const init = {
      method: 'POST',
      headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
      body,
      duplex: 'half',
    }
    const response = await fetch(`http://127.0.0.1:${port}/cart`, init)

    expect(response.status).toBe(413)
    expect(await response.text()).toContain('64 KB')
  })

  it.each([
    ['application/json', '{"do":"empty"}'],
    ['text/plain', 'do=empty'],
  ])('answers 415 to %s', async (type, body) => {
    const { visitor } = visit()

    const { text } = await visitor.post('/cart').set('Content-Type', type).send(body).expect(415)

    expect(text).toContain('<h1>Not a form</h1>')
  })
})

describe('errors', () => {
  it('shows 404 as a page that knows who is signed in', async () => {
    const { visitor, errors } = visit()
    await signIn(visitor, 'clerk')

    const text = await textOf(visitor, '/<script>', 404)

    expect(text).toContain('<h1>No such page</h1>')
    expect(text).toContain('<strong>clerk</strong>')
    expect(text).not.toContain('<script')
    expect(errors).toEqual([])
  })

  it.each([
    '/%',
    '/%E0%A4%A',
    '/..%2f..%2fpackage.json',
    '/shop.css/',
    '/server.ts',
    '//example.com',
  ])('answers a page to %s', async (path) => {
    const { visitor } = visit()

    const { status, text } = await visitor.get(path)

    expect([400, 404]).toContain(status)
    expect(text).toContain('<!doctype html>')
  })

  it('shows 405 as a page, with the methods that do', async () => {
    const { visitor } = visit()

    const { text } = await visitor.get('/sign-out').expect(405).expect('Allow', 'POST')

    expect(text).toContain('<h1>Not that way</h1>')
  })

  it('shows a fault as a page without a trace of it, reports it, and keeps nothing', async () => {
    const { visitor, errors } = visit()
    await signIn(visitor, 'admin')
    await textOf(visitor, '/')

    const text = await textOf(visitor, '/admin/fault', 500)

    expect(text).toContain('<h1>Something broke</h1>')
    expect(text).not.toMatch(/TypeError|asked for|\.ts|\.js|node_modules|\n\s+at /)
    expect(errors).toEqual([expect.any(TypeError)])
    expect(await textOf(visitor, '/session')).not.toContain('never shown')
  })

  it.each([
    [409, /Gone\./, true],
    [500, /Something broke/, false],
  ])('answers %i by a page, whose cookie follows what was kept', async (status, text, isKept) => {
    const shop = createApp()
    shop.use((ctx) => {
      ctx.session.storage.notice = 'kept'
      ctx.throw(status, 'gone')
    })
    const { visitor } = visit(shop)

    const response = await visitor.get('/late').expect(status).expect(text)

    expect(cookiesOf(response)).toHaveLength(isKept ? 1 : 0)
    expect((await textOf(visitor, '/')).includes('kept</p>')).toBe(isKept)
  })

  it.each([
    { status: 499 },
    { status: 200 },
    { status: '404' },
    new Error('inside'),
    null,
    'inside',
  ])('shows the thrown %j as a fault', async (thrown) => {
    const shop = createApp()
    shop.use(() => {
      throw thrown
    })
    const { visitor, errors } = visit(shop)

    const text = await textOf(visitor, '/late', 500)

    expect(text).toContain('<h1>Something broke</h1>')
    expect(text).not.toContain('inside')
    expect(errors).toHaveLength(1)
  })

  it('shows 401 as a page when the session has ended', async () => {
    const shop = createApp()
    shop.use(async ({ session }) => {
      await session.destroy()
      session.storage.notice = 'too late'
    })
    const { visitor } = visit(shop)
    await addToCart(visitor, 'tin-kettle')

    const response = await visitor.get('/late').expect(401)

    expect(response.text).toContain('<h1>Please sign in again</h1>')
    expect(response.headers['www-authenticate']).toBeDefined()
  })

  it('shows 503 as a page while Redis is away, and what needs no session as ever', async () => {
    const redis = connectRedis('redis://127.0.0.1:1')
    const { shop, visitor, errors } = visit(createApp({ redis }))
    const cookie = cookiesOf(await addToCart(visit().visitor, 'tin-kettle'))[0]!.split(';')[0]!

    const change = await addToCart(visitor, 'tin-kettle').expect(503)
    const read = await request(shop.callback()).get('/').set('Cookie', cookie).expect(503)

    for (const { text, headers } of [change, read]) {
      expect(text).toContain('<h1>Back in a moment</h1>')
      expect(text).toContain('in Redis at 127.0.0.1:1')
      expect(headers['retry-after']).toBeDefined()
      expect(headers['location']).toBeUndefined()
      expect(headers['set-cookie']).toBeUndefined()
    }
    expect(errors).toHaveLength(2)
    await visitor.get('/').expect(200)
    await request(shop.callback()).get('/shop.css').set('Cookie', cookie).expect(200)
  })
})

describe('on Redis', () => {
  it('keeps sessions for every process, and says where', async () => {
    const prefix = uniquePrefix()
    const redis = connectRedis()
    const { visitor } = visit(createApp({ redis, prefix }))

    await addToCart(visitor, 'tin-kettle', '2').expect(303)
    const cookie = cookiesOf(await signIn(visitor, 'clerk', '/cart').expect(303))[0]!
    const text = await textOf(visitor, '/cart')
    expect(text).toContain('€63.80')
    expect(text).toContain(`in Redis at 127.0.0.1:${redis.options.port}, database 0`)

    const other = createApp({ redis: connectRedis(), prefix }).callback()
    const there = request(other).get('/cart').set('Cookie', cookie.split(';')[0]!)
    expect((await there).text).toContain('€63.80')
    expect(await redis.keys(`${prefix}*`)).toHaveLength(2)

    await visitor.post('/sign-out').expect(303)
    // Nobody waits for the user's index.
    await vi.waitFor(async () => expect(await redis.keys(`${prefix}*`)).toEqual([]))
    expect(await textOf(visitor, '/cart')).toContain('There is nothing in it yet.')
  })

  it('does not say how it signs in to Redis', () => {
    const redis = new Redis('redis://ann:secret@redis.example:6380/2', { lazyConnect: true })

    expect(placeOf(redis)).toBe('in Redis at redis.example:6380, database 2')
  })
})

describe('npm start', () => {
  it('serves, says that its port is taken, and ends when told to', async () => {
    const first = start({ PORT: '0' })
    const url = (await firstLine(first)).trim()
    expect(url).toMatch(/^http:\/\/localhost:\d+$/)
    const port = new URL(url).port

    const page = await fetch(`http://127.0.0.1:${port}/`)
    expect(page.status).toBe(200)
    expect(await page.text()).toContain('<h1>Goods for wet days</h1>')

    const second = start({ PORT: port })
    expect(await outcome(second)).toEqual({
      code: 1,
      output: `Port ${port} is taken. Choose another one: PORT=${Number(port) + 1} npm start\n`,
    })

    const end = outcome(first)
    process.kill(first.pid!, 'SIGTERM')
    expect(await end).toEqual({ code: 0, output: '' })
  }, 30_000)

  it('says in one line what is wrong with PORT', async () => {
    expect(await outcome(start({ PORT: 'x\n' }))).toEqual({
      code: 1,
      output: 'PORT is to be a number from 0 to 65535, not "x\\n".\n',
    })
  }, 30_000)

  it.each(['65536', '-1', '3.5', 'x', ' ', '1e3', '0x10', '99999999999'])(
    'refuses the PORT %j',
    (port) => {
      expect(() => readSettings({ PORT: port })).toThrow(/^PORT is to be/)
    },
  )

  it.each(['127.0.0.1', 'http://127.0.0.1', ':secret@', 'redis'])(
    'refuses the REDIS_URL %j without saying it',
    (url) => {
      const message = 'REDIS_URL is to look like redis://127.0.0.1:6379.'
      expect(() => readSettings({ REDIS_URL: url })).toThrow(message)
    },
  )

  it('takes no settings at all', () => {
    const settings = { port: 3000, host: '127.0.0.1', redisUrl: undefined }
    expect(readSettings({})).toEqual(settings)
    expect(readSettings({ PORT: '', HOST: '', REDIS_URL: '' })).toEqual(settings)
  })
})

const root = fileURLToPath(new URL('../..', import.meta.url))

function start(env: Record<string, string>): ChildProcess {
  const child = spawn(process.execPath, ['--import', 'tsx', 'examples/demo/server.ts'], {
    cwd: root,
    env: {
      PATH: process.env['PATH'],
      HOME: process.env['HOME'],
      TSX_TSCONFIG_PATH: 'test/tsconfig.json',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  return child
}

async function firstLine(child: ChildProcess): Promise<string> {
  const [line] = await Promise.race([once(child.stdout!, 'data'), once(child.stderr!, 'data')])
  return String(line)
}

async function outcome(child: ChildProcess): Promise<{ code: number | null; output: string }> {
  let output = ''
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.on('data', (chunk: Buffer) => (output += chunk.toString()))
  }
  await once(child, 'close')
  return { code: child.exitCode, output }
}

/** Opens a session by the API, as a program does. */
function openSession(shop: Shop, name: string, said: Record<string, string> = {}) {
  const password = users.find((user) => user.name === name)?.shownPassword ?? ''
  return request(shop.callback())
    .post('/api/sessions')
    .send({ name, password, ...said })
}

async function programOf(shop: Shop, name: string, said: Record<string, string> = {}) {
  const { body } = await openSession(shop, name, said).expect(201)
  return newVisitor(shop).auth(String(body.token), { type: 'bearer' })
}

describe('the API', () => {
  it('M7: opens a session for a name and a password, as JSON and as a form', async () => {
    const { shop } = visit()

    const response = await openSession(shop, 'clerk').expect(201)

    expect(response.body).toEqual({
      token: expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]+$/),
      expires: expect.stringMatching(/^\d{4}-.*Z$/),
    })
    expect(response.headers['cache-control']).toBe('no-store')
    expect(cookiesOf(response)).toEqual([])
    const form = { name: 'clerk', password: 'paper lantern' }
    await send(newVisitor(shop), '/api/sessions', form).expect(201)
  })

  it('M7: says who is calling, and knows the machine', async () => {
    const { shop } = visit()
    const said = { machineName: 'lighthouse', systemUserName: 'ann', platform: 'macOS' }
    const program = await programOf(shop, 'manager', said)

    const { body } = await program.get('/api/me').expect(200)

    expect(body).toEqual({
      userName: 'manager',
      privileges: expect.arrayContaining(['editStock', 'seePrices']),
      until: expect.stringMatching(/Z$/),
      info: expect.objectContaining({
        type: 'remote',
        userName: 'manager',
        machineName: 'lighthouse',
        systemUserName: 'ann',
        hostType: 'mac',
        IPAddress: '127.0.0.1',
      }),
    })
  })

  it.each([
    ['a wrong password', { name: 'clerk', password: 'brass anchor' }],
    ['an unknown user', { name: 'nobody', password: 'paper lantern' }],
    ['the name of a property', { name: '__proto__', password: '' }],
    ['nothing', {}],
  ])('answers 401 with a challenge to %s', async (_what, fields) => {
    const { visitor } = visit()

    const response = await visitor.post('/api/sessions').send(fields).expect(401)

    expect(response.body).toEqual({ message: 'that name and password do not belong together' })
    expect(response.headers['www-authenticate']).toBe('Bearer realm="shop"')
  })

  it.each([
    ['no body', '', '', 415],
    ['text', 'text/plain', 'name=clerk', 415],
    ['broken JSON', 'application/json', '{"name":', 400],
    ['JSON that is no object', 'application/json', '7', 400],
    ['a name that is no text', 'application/json', '{"name":{"$ne":1}}', 400],
    ['too much', 'application/json', `{"name":"${'a'.repeat(70_000)}"}`, 413],
  ])('H1: answers JSON to %s', async (_what, type, body, status) => {
    const { visitor, errors } = visit()
    const asked = visitor.post('/api/sessions')

    const response = await (body === '' ? asked : asked.type(type).send(body)).expect(status)

    expect(response.body).toEqual({ message: expect.any(String) })
    expect(errors).toEqual([])
  })

  it('G1: lets no clerk see the stock, and a manager', async () => {
    const { shop } = visit()
    const clerk = await programOf(shop, 'clerk')
    const manager = await programOf(shop, 'manager')

    const refused = await clerk.get('/api/stock').expect(403)
    expect(refused.body.code).toBe('ERR_SESSION_PRIVILEGE')
    expect(refused.headers['www-authenticate']).toContain('error="insufficient_scope"')
    expect((await manager.get('/api/stock').expect(200)).body).toMatchObject({ 'tin-kettle': 8 })
  })

  it('X2: answers JSON with the challenge of RFC 6750 to guests and bad tokens', async () => {
    const { visitor } = visit()

    const guest = await visitor.get('/api/me').expect(401)
    const bad = await visitor.get('/api/me').set('Authorization', 'Bearer x').expect(401)
    const malformed = await visitor.get('/api/me').set('Authorization', 'Bearer').expect(400)

    expect(guest.body).toEqual({ code: 'ERR_SESSION_GUEST', message: 'sign in first' })
    expect(guest.headers['www-authenticate']).not.toContain('error')
    expect(bad.body.code).toBe('ERR_SESSION_TOKEN')
    expect(bad.headers['www-authenticate']).toContain('error="invalid_token"')
    expect(malformed.headers['www-authenticate']).toContain('error="invalid_request"')
  })

  it('signs out: the token is dead', async () => {
    const { shop } = visit()
    const program = await programOf(shop, 'clerk')

    await program.delete('/api/sessions/current').expect(204)

    await program.get('/api/me').expect(401)
    await program.delete('/api/sessions/current').expect(401)
  })

  it('is in the way of no program, and of every other site that uses a cookie', async () => {
    const { shop, visitor } = visit()
    const program = await programOf(shop, 'clerk')
    await signIn(visitor, 'clerk')

    const crossSite = { 'Sec-Fetch-Site': 'cross-site', Origin: 'https://evil.example' }
    const refused = await visitor.delete('/api/sessions/current').set(crossSite).expect(403)
    expect(refused.body.code).toBe('ERR_SESSION_CROSS_SITE')
    await visitor.get('/api/me').expect(200)
    await program.delete('/api/sessions/current').set(crossSite).expect(204)
  })

  it('answers JSON where there is nothing, and where it breaks', async () => {
    const redis = new Redis({ port: 1, lazyConnect: true, maxRetriesPerRequest: 0 })
    redis.on('error', () => {})
    onTestFinished(() => redis.disconnect())
    const { shop, visitor, errors } = visit(createApp({ redis }))

    await visitor.get('/api/nothing').expect(404, { message: 'Not Found' })
    await visitor.put('/api/me').expect(405, { message: 'Method Not Allowed' })
    expect(errors).toEqual([])
    await openSession(shop, 'clerk').expect(503, { message: 'Service Unavailable' })
    expect(errors).toEqual([expect.objectContaining({ code: 'ERR_SESSION_STORE' })])
  })

  it('M2: is among the devices, by its name, its whole version and its machine', async () => {
    const { shop, visitor } = visit()
    const said = { appVersion: '1.0', machineName: '<b>lighthouse', platform: 'Linux' }
    await programOf(shop, 'clerk', said)
    await signIn(visitor, 'clerk')

    const text = await textOf(visitor, '/devices')

    expect(devicesIn(text)).toContain(
      'Lantern &amp; Rope on the command line 1.0 on Linux, &lt;b&gt;lighthouse',
    )
    const admin = newVisitor(shop)
    await signIn(admin, 'admin')
    expect(await textOf(admin, '/admin/sessions?user=clerk')).toContain('&lt;b&gt;lighthouse')
  })
})
