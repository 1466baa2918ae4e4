import request from 'supertest'
import { afterAll, describe, expect, inject, it } from 'vitest'

import { app as customStore } from '../examples/custom-store.ts'
import { app as locate } from '../examples/locate.ts'
import { app as roles } from '../examples/roles.ts'

describe('examples/basic.ts', async () => {
  process.env['REDIS_URL'] = inject('redisUrl')
  const { app, redis } = await import('../examples/basic.ts')
  afterAll(() => redis.disconnect())

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
  it('gives a clerk what the role gives, and no more', async () => {
    const agent = request.agent(roles.callback())

    await agent.get('/prices').expect(401)
    await agent.get('/admin').expect(302).expect('Location', '/login.html')
    await agent.post('/login/Clerk').expect(200, { privileges: ['seePrices', 'browse'] })
    await agent.get('/prices').expect(200, { tea: 4.5, kettle: 39 })
    await agent.get('/stock').expect(403)
    await agent.post('/recount').expect(200, { counted: true, audit: false })
  })

  it('gives a manager any one of the privileges that the stock asks for', async () => {
    const agent = request.agent(roles.callback())

    await agent.post('/login/manager').expect(200)
    await agent.get('/stock').expect(200)
    await agent.get('/admin').expect(302)
  })
})

describe('examples/custom-store.ts', () => {
  it('counts visits and times the calls of its store', async () => {
    const agent = request.agent(customStore.callback())

    await agent.post('/visits').expect(200, '1')
    await agent.post('/visits').expect(200, '2')
    const { body } = await agent.get('/timings').expect(200)
    expect(body).toMatchObject({ create: { calls: 1 }, load: { calls: 2 }, commit: { calls: 1 } })
  })
})

describe('examples/locate.ts', () => {
  it.each([
    ['129.132.1.1', { country: 'CH', region: '' }],
    ['2001:4860:4860::8888', { country: 'US', region: '' }],
  ])('finds where %s is', async (address, place) => {
    const visit = request(locate.callback()).get('/').set('X-Forwarded-For', address)

    await visit.expect(200, place)
  })

  it('does not know where a private address is', async () => {
    const visit = request(locate.callback()).get('/').set('X-Forwarded-For', '192.168.1.1')

    await visit.expect(200, 'not known')
  })
})
