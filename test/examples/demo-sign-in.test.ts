import request from 'supertest'
import { describe, expect, it } from 'vitest'

import { localPath } from '../../examples/demo/local-path.ts'
import { users } from '../../examples/demo/users.ts'
import { addToCart, cookiesOf, idOf, send, signIn, textOf, visit } from '../support/shop-visits.ts'

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
  ])('answers 401 and the page again for %s', async (_what, fields) => {
    const { visitor } = visit()

    const response = await send(visitor, '/sign-in', { ...fields, next: '/cart' })

    expect(response.status).toBe(401)
    expect(response.text).toContain('do not belong together')
    expect(response.text).toContain('<h1>Sign in</h1>')
    expect(response.text).toContain('name="next" value="/cart"')
    expect(response.text).not.toContain('type="password" value')
    expect(cookiesOf(response)).toEqual([])
  })

  it("keeps the guest's cart, and changes the value of the cookie", async () => {
    const { visitor } = visit()
    const first = await addToCart(visitor, 'tin-kettle', '2').expect(303)
    const id = await idOf(visitor)

    const second = await signIn(visitor, 'clerk').expect(303)

    expect(await idOf(visitor)).toBe(id)
    expect(await textOf(visitor, '/cart')).toContain('€63.80')
    expect(cookiesOf(second)).toHaveLength(1)
    expect(cookiesOf(second)).not.toEqual(cookiesOf(first))
  })

  it('leaves nothing of one user for the next', async () => {
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

  it('signs out: ends the session, and clears its cookie, which opens nothing', async () => {
    const { shop, visitor } = visit()
    const cookie = cookiesOf(await signIn(visitor, 'admin'))[0]!.split(';')[0]!

    const response = await visitor.post('/sign-out').expect(303).expect('Location', '/')

    expect(cookiesOf(response)).toEqual([expect.stringMatching(/^session=;.*Max-Age=0/)])
    expect(await textOf(visitor, '/')).toContain('href="/sign-in"')
    await request(shop.callback()).get('/admin').set('Cookie', cookie).expect(303)
  })
})

describe('coming back after signing in', () => {
  it('returns a guest to the page after signing in', async () => {
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

  it('returns a guest who posts to the page of the form', async () => {
    const { visitor } = visit()

    await send(visitor, '/stock', { product: 'tin-kettle', count: '1' })
      .expect(303)
      .expect('Location', '/sign-in?next=%2Fstock')
  })

  it('shows a user without the privilege a page with a way out', async () => {
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
  ])('stays on this site for next=%j', async (next) => {
    const { visitor } = visit()

    const { text } = await visitor.get(`/sign-in?next=${encodeURIComponent(next)}`).expect(200)

    const wanted = /name="next" value="([^"]*)"/.exec(text.replaceAll(/\s+/g, ' '))?.[1]
    expect(wanted).toMatch(/^\/(?![/\\])/)
    expect(new URL(wanted!, 'http://shop.test').origin).toBe('http://shop.test')
    expect(wanted).toBe(localPath(next))
  })

  it('does not trust the form either', async () => {
    const { visitor } = visit()

    await signIn(visitor, 'clerk', '/.//example.com').expect(303).expect('Location', '/')
  })

  it('keeps local paths as they are', () => {
    expect(localPath('/admin')).toBe('/admin')
    expect(localPath('/cart?a=1&b=%2F')).toBe('/cart?a=1&b=%2F')
    expect(localPath(null)).toBe('/')
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
  ])('submit forms with %j and get %i', async (headers, status) => {
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

  it('send their forms without cookies', async () => {
    const { visitor } = visit()

    const [cookie] = cookiesOf(await addToCart(visitor, 'tin-kettle'))

    expect(cookie).toMatch(/; HttpOnly/)
    expect(cookie).toMatch(/; SameSite=Lax/)
  })
})
