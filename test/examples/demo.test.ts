import { Redis } from 'ioredis'
import request from 'supertest'
import { describe, expect, it, vi } from 'vitest'

import { createApp } from '../../examples/demo/app.ts'
import { placeOf } from '../../examples/demo/place.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'
import {
  addToCart,
  cookiesOf,
  newVisitor,
  send,
  signIn,
  textOf,
  visit,
} from '../support/shop-visits.ts'

vi.mock('node:crypto', async (load) => {
  const { withQuickScrypt } = await import('../support/quick-scrypt.ts')
  return withQuickScrypt(() => load())
})

describe('the pages', () => {
  it.each([
    ['/', 'Goods for wet days'],
    ['/cart', 'Your cart'],
    ['/session', 'Your session'],
    ['/sign-in', 'Sign in'],
  ])('shows %s to a guest, and stores nothing', async (path, title) => {
    const { visitor } = visit()

    const response = await visitor.get(path).expect(200)

    expect(response.text).toContain(`<h1>${title}</h1>`)
    expect(response.text).toContain('in the memory of this process')
    expect(response.text).toContain('<html lang="en">')
    expect(response.text).toContain('name="viewport"')
    expect(response.text).not.toMatch(/<script|<style|style=| on\w+=/)
    expect(cookiesOf(response)).toEqual([])
  })

  it('labels every visible field', async () => {
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

  it('serves the style sheet, the script and the icon without looking up a session', async () => {
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

  it('sells no more than there is in stock', async () => {
    const { visitor } = visit()

    await addToCart(visitor, 'tide-clock', '2').expect(303)
    const { text } = await addToCart(visitor, 'tide-clock', '2').expect(400)
    await addToCart(visitor, 'fog-whistle').expect(400)

    expect(text).toContain('there are 3, and you want 4')
    expect(await textOf(visitor, '/session')).toContain('&quot;tide-clock&quot;: 2')
  })

  it.each(['<script>alert(1)</script>', '-1', '1.5', '1e3', '', '99999', 'NaN'])(
    'answers 400 and the page again for the quantity %j',
    async (quantity) => {
      const { visitor } = visit()

      const { text } = await addToCart(visitor, 'tin-kettle', quantity).expect(400)

      expect(text).toContain('is not a quantity')
      expect(text).toContain('<h1>Your cart</h1>')
      expect(text).not.toContain('<script')
    },
  )

  it.each(['nothing-like-it', '__proto__', 'constructor', ''])(
    'answers 400 for the product %j',
    async (product) => {
      const { visitor } = visit()

      const { text } = await addToCart(visitor, product).expect(400)

      expect(text).toContain('There is no product')
    },
  )

  it('belongs to one visitor', async () => {
    const { shop, visitor } = visit()
    await addToCart(visitor, 'tin-kettle')

    expect(await textOf(newVisitor(shop), '/cart')).toContain('There is nothing in it yet.')
  })
})

describe('the stock', () => {
  it('changes for everybody when a manager edits it', async () => {
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

  it('cannot be edited by a clerk or a guest', async () => {
    const { shop, visitor } = visit()
    await signIn(visitor, 'clerk')

    await send(visitor, '/stock', { product: 'tin-kettle', count: '77' }).expect(403)
    await send(newVisitor(shop), '/stock', { product: 'tin-kettle', count: '77' }).expect(303)

    expect(await textOf(visitor, '/')).not.toContain('77')
  })

  it('answers 400 and the page again for a bad number or product', async () => {
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

describe('the session page', () => {
  it('shows everything about the session', async () => {
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

  it('shows the language and the UTC offset of the request, when known', async () => {
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

  it('changes the idle timeout, and explains that lower values are raised', async () => {
    const { visitor } = visit()

    await send(visitor, '/session', { minutes: '90.5' }).expect(303).expect('Location', '/session')
    expect(await textOf(visitor, '/session')).toContain('Your idle timeout is 90.5 minutes.')

    await send(visitor, '/session', { minutes: '5' }).expect(303)
    const text = await textOf(visitor, '/session')
    expect(text).toContain('5 was below the floor')
    expect(text).toContain('value="60"')
  })

  it.each(['0', '-5', '525601', 'Infinity', 'NaN', '', ' ', '<script>'])(
    'answers 400 and the page again for %j minutes',
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

describe('on Redis', () => {
  it('shares sessions between processes, and says where they are stored', async () => {
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
    // No request waits for the user's index.
    await vi.waitFor(async () => expect(await redis.keys(`${prefix}*`)).toEqual([]))
    expect(await textOf(visitor, '/cart')).toContain('There is nothing in it yet.')
  })

  it('does not reveal its Redis credentials', () => {
    const redis = new Redis('redis://ann:secret@redis.example:6380/2', { lazyConnect: true })

    expect(placeOf(redis)).toBe('in Redis at redis.example:6380, database 2')
  })
})
