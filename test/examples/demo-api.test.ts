import { Redis } from 'ioredis'
import request from 'supertest'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { createApp } from '../../examples/demo/app.ts'
import { users } from '../../examples/demo/users.ts'
import type { Shop } from '../support/shop-visits.ts'
import {
  cookiesOf,
  devicesIn,
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

  it('M7: says who is calling and from which machine', async () => {
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
  ])('answers 401 with a challenge for %s', async (_what, fields) => {
    const { visitor } = visit()

    const response = await visitor.post('/api/sessions').send(fields).expect(401)

    expect(response.body).toEqual({ message: 'that name and password do not belong together' })
    expect(response.headers['www-authenticate']).toBe('Bearer realm="shop"')
  })

  it.each([
    ['no body', '', '', 415],
    ['text', 'text/plain', 'name=clerk', 415],
    ['broken JSON', 'application/json', '{"name":', 400],
    ['JSON that is not an object', 'application/json', '7', 400],
    ['a name that is not text', 'application/json', '{"name":{"$ne":1}}', 400],
    ['too much', 'application/json', `{"name":"${'a'.repeat(70_000)}"}`, 413],
  ])('H1: answers JSON for %s', async (_what, type, body, status) => {
    const { visitor, errors } = visit()
    const asked = visitor.post('/api/sessions')

    const response = await (body === '' ? asked : asked.type(type).send(body)).expect(status)

    expect(response.body).toEqual({ message: expect.any(String) })
    expect(errors).toEqual([])
  })

  it('G1: shows the stock to a manager, but not to a clerk', async () => {
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

  it('signs out, after which the token is dead', async () => {
    const { shop } = visit()
    const program = await programOf(shop, 'clerk')

    await program.delete('/api/sessions/current').expect(204)

    await program.get('/api/me').expect(401)
    await program.delete('/api/sessions/current').expect(401)
  })

  it('ignores where a program calls from, but refuses another site with a cookie', async () => {
    const { shop, visitor } = visit()
    const program = await programOf(shop, 'clerk')
    await signIn(visitor, 'clerk')

    const crossSite = { 'Sec-Fetch-Site': 'cross-site', Origin: 'https://evil.example' }
    const refused = await visitor.delete('/api/sessions/current').set(crossSite).expect(403)
    expect(refused.body.code).toBe('ERR_SESSION_CROSS_SITE')
    await visitor.get('/api/me').expect(200)
    await program.delete('/api/sessions/current').set(crossSite).expect(204)
  })

  it('answers JSON for 404 and 503', async () => {
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

  it('M2: is listed among the devices with its name, full version and machine', async () => {
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

/** Opens a session through the API, like a program. */
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
