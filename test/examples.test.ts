import { once } from 'node:events'

import request from 'supertest'
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished, vi } from 'vitest'

import { app as locate } from '../examples/locate.ts'
import { app as nestedToken } from '../examples/nested-token.ts'
import { app as oneTimeToken } from '../examples/one-time-token.ts'
import { app as roles } from '../examples/roles.ts'

describe('examples/basic.ts', async () => {
  process.env['REDIS_URL'] = inject('redisUrl')
  const { app, redis } = await import('../examples/basic.ts')
  afterAll(() => redis.disconnect())
  beforeAll(async () => {
    if (redis.status !== 'ready') await once(redis, 'ready')
  })

  it('keeps a cart, refuses a guest, signs in and out', async () => {
    const agent = request.agent(app.callback())

    await agent.post('/cart/tea').expect(200, ['tea'])
    await agent.post('/cart/milk').expect(200, ['tea', 'milk'])
    await agent.get('/admin').expect(401, 'sign in first')
    const { body } = await agent.post('/login').expect(200)
    expect(body).toEqual({ guest: false, until: expect.stringMatching(/^\d{4}-.*Z$/) })
    await agent.get('/admin').expect(200, 'welcome')
    await agent.post('/cart/salt').expect(200, ['tea', 'milk', 'salt'])
    await agent.post('/logout').expect(200, { guest: true })
    await agent.get('/admin').expect(401)
    await agent.post('/cart/tea').expect(200, ['tea'])
  })
})

describe('examples/roles.ts', () => {
  it('gives a clerk what the role grants, and no more', async () => {
    const agent = request.agent(roles.callback())

    await agent.get('/prices').expect(401)
    await agent.get('/admin').expect(302).expect('Location', '/login.html')
    await agent.post('/login/Clerk').expect(200, { privileges: ['seePrices', 'browse'] })
    await agent.get('/prices').expect(200, { tea: 4.5, kettle: 39 })
    await agent.get('/stock').expect(403)
    await agent.post('/recount').expect(200, { counted: true, audit: false })
  })

  it('gives a manager any one of the privileges that the stock page asks for', async () => {
    const agent = request.agent(roles.callback())

    await agent.post('/login/manager').expect(200)
    await agent.get('/stock').expect(200)
    await agent.get('/admin').expect(302)
  })
})

describe('examples/locate.ts', () => {
  it.each([
    ['129.132.1.1', { country: 'CH', region: '' }],
    ['2001:4860:4860::8888', { country: 'US', region: '' }],
  ])('locates %s', async (address, place) => {
    const visit = request(locate.callback()).get('/').set('X-Forwarded-For', address)

    await visit.expect(200, place)
  })

  it('finds nothing for a private address', async () => {
    const visit = request(locate.callback()).get('/').set('X-Forwarded-For', '192.168.1.1')

    await visit.expect(200, 'not known')
  })
})

/** What the example prints. */
function listen(): string[] {
  const lines: string[] = []
  const log = vi.spyOn(console, 'log').mockImplementation((line) => void lines.push(String(line)))
  onTestFinished(() => log.mockRestore())
  return lines
}

/** Has a link created, and returns the token in it. */
async function linkOf(name: string) {
  const lines = listen()
  const laptop = request.agent(oneTimeToken.callback())
  await laptop.post('/link').expect(401)
  await laptop.post(`/login/${name}`).expect(200, 'signed in')
  await laptop.post('/link').expect(200, 'look into your mail')
  const [, token = ''] =
    /^To \w+: http:\/\/localhost:3000\/join\?token=([\w-]{64})$/.exec(lines[0] ?? '') ?? []
  return { laptop, token }
}

describe('examples/one-time-token.ts', () => {
  it('X5: signs a second browser in with the button, once', async () => {
    const { laptop, token } = await linkOf('ann')
    const phone = request.agent(oneTimeToken.callback())
    const stranger = request.agent(oneTimeToken.callback())

    await phone.post('/join').type('form').send({ token }).expect(303).expect('Location', '/')

    await phone.get('/').expect(200, 'signed in as ann')
    await laptop.get('/').expect(200, 'signed in as ann')
    const used = 'this link was used already, or is too old'
    await stranger.post('/join').type('form').send({ token }).expect(400, used)
    await stranger.get('/').expect(401)
  })

  it('X5: ignores programs that follow links, and posts from another site', async () => {
    const { token } = await linkOf('ann')
    const phone = request.agent(oneTimeToken.callback())

    for (const method of ['get', 'head', 'get'] as const) {
      const response = await phone[method](`/join?token=${token}`).expect(200)
      expect(response.get('Set-Cookie')).toBeUndefined()
      expect(response.headers['cache-control']).toBe('no-store')
    }
    await phone.post('/join').set('Sec-Fetch-Site', 'cross-site').send(`token=${token}`).expect(403)
    await phone.get('/').expect(401)

    await phone
      .post('/join')
      .set('Sec-Fetch-Site', 'same-origin')
      .send(`token=${token}`)
      .expect(303)
    await phone.get('/').expect(200)
  })

  it('H1: refuses text that is not a token, and any other form', async () => {
    const app = oneTimeToken.callback()

    await request(app).get('/join?token="><script>alert(1)</script>').expect(400)
    await request(app).get('/join').expect(400)
    await request(app).post('/join').expect(400)
    await request(app)
      .post('/join')
      .send(`token=${'a'.repeat(64)}`)
      .expect(400)
    await request(app).post('/join').send('a'.repeat(2000)).expect(413)
  })
})

describe('examples/nested-token.ts', () => {
  it('X3, X4: lets an admin act as a customer, by Bearer and by run(), and names both users', async () => {
    const lines = listen()
    const admin = request.agent(nestedToken.callback())
    await admin.post('/act-as/ann').expect(401)
    await admin.post('/login/Admin/root').expect(200)
    const { body } = await admin.post('/act-as/ann').expect(200)
    const tool = request.agent(nestedToken.callback()).auth(String(body.token), { type: 'bearer' })

    await tool.post('/orders/lamp').expect(200, { orders: ['lamp'] })
    await tool
      .get('/admin')
      .expect(403)
      .expect('WWW-Authenticate', 'Bearer realm="session", error="insufficient_scope"')
    await tool.post('/act-as/ben').expect(403)
    await admin.post('/order-for/ann/rope').expect(200, { orders: ['lamp', 'rope'] })
    await admin.post('/orders/tea').expect(200, { orders: ['tea'] })

    expect(lines).toEqual([
      'audit: root orders lamp for ann',
      'audit: root orders rope for ann',
      'audit: root orders tea for root',
    ])
  })

  it('X3: does not let a clerk do so', async () => {
    const clerk = request.agent(nestedToken.callback())
    await clerk.post('/login/Clerk/cleo').expect(200)

    await clerk.post('/act-as/ann').expect(403)
    await clerk.post('/order-for/ann/rope').expect(403)
  })
})
