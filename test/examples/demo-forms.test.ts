import { once } from 'node:events'

import request from 'supertest'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { createApp } from '../../examples/demo/app.ts'
import { html } from '../../examples/demo/html.ts'
import { connectRedis } from '../support/redis-client.ts'
import { addToCart, cookiesOf, send, signIn, textOf, visit } from '../support/shop-visits.ts'

vi.mock('node:crypto', async (load) => {
  const { withQuickScrypt } = await import('../support/quick-scrypt.ts')
  return withQuickScrypt(() => load())
})

describe('escaping', () => {
  it('escapes user input, in text and in attributes', async () => {
    const { visitor } = visit()
    const name = `"><script>alert('1')</script>&`

    const { text } = await send(visitor, '/sign-in', { name, password: 'x', next: `/"><script>` })

    expect(text).not.toContain('<script')
    expect(text).toContain('value="&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;"')
  })

  it('escapes strings, keeps HTML, joins lists and omits nothing else', () => {
    const page = html`<p>${['<', html`<b>${'&'}</b>`, 0, false, undefined, ['"', "'"]]}</p>`

    expect(String(page)).toBe('<p>&lt;<b>&amp;</b>0&quot;&#39;</p>')
  })
})

describe('forms', () => {
  it('accepts 64 KB and answers 413 to more', async () => {
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

  it('answers 413 to a large form without a Content-Length', async () => {
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
  ])('answers 415 for %s', async (type, body) => {
    const { visitor } = visit()

    const { text } = await visitor.post('/cart').set('Content-Type', type).send(body).expect(415)

    expect(text).toContain('<h1>Not a form</h1>')
  })
})

describe('errors', () => {
  it('shows 404 as a page with the name of the user', async () => {
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
  ])('answers %s with a page', async (path) => {
    const { visitor } = visit()

    const { status, text } = await visitor.get(path)

    expect([400, 404]).toContain(status)
    expect(text).toContain('<!doctype html>')
  })

  it('shows 405 as a page with the allowed methods', async () => {
    const { visitor } = visit()

    const { text } = await visitor.get('/sign-out').expect(405).expect('Allow', 'POST')

    expect(text).toContain('<h1>Not that way</h1>')
  })

  it('shows a fault as a page without details, reports it, and stores nothing', async () => {
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
  ])(
    'answers %i with a page, and a cookie only if the change was stored',
    async (status, text, isKept) => {
      const shop = createApp()
      shop.use((ctx) => {
        ctx.session.storage.notice = 'kept'
        ctx.throw(status, 'gone')
      })
      const { visitor } = visit(shop)

      const response = await visitor.get('/late').expect(status).expect(text)

      expect(cookiesOf(response)).toHaveLength(isKept ? 1 : 0)
      expect((await textOf(visitor, '/')).includes('kept</p>')).toBe(isKept)
    },
  )

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

  it('shows 503 as a page while Redis is away, and pages without a session as usual', async () => {
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
