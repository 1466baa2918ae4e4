import request from 'supertest'
import { describe, expect, it } from 'vitest'

import { app } from '../../examples/metrics.ts'

/** The sum of the values of `/metrics` under a name, which may have labels. */
async function metric(name: string): Promise<number> {
  const { text } = await request(app.callback()).get('/metrics').expect(200)
  const lines = text.split('\n').filter((line) => line.split(' ', 1)[0] === name)
  return lines.reduce((sum, line) => sum + Number(line.split(' ')[1]), 0)
}

describe('examples/metrics.ts', () => {
  it('M10: counts sessions, sign-ins, ends by reason and refusals by code', async () => {
    const agent = request.agent(app.callback())

    await agent.post('/login/ann').expect(200, 'signed in')
    await agent.get('/admin').expect(403)
    await request(app.callback()).get('/admin').expect(401)
    await agent.post('/logout').expect(200)

    const counted = await Promise.all(
      [
        'sessions_created_total',
        'sessions_signed_in_total',
        'sessions_ended_total{reason="destroyed"}',
        'sessions_refused_total{code="ERR_SESSION_PRIVILEGE"}',
        'sessions_refused_total{code="ERR_SESSION_GUEST"}',
      ].map(metric),
    )
    expect(counted).toEqual([1, 1, 1, 1, 1])
  })

  it('M10: measures the calls of the store, and names no session and no user', async () => {
    const agent = request.agent(app.callback())
    const before = await metric('sessions_store_seconds_count{operation="load"}')

    await agent.post('/login/S3CRET').expect(200)
    await agent.get('/admin').expect(403)

    expect(await metric('sessions_store_seconds_count{operation="load"}')).toBe(before + 1)
    const { text, type } = await request(app.callback()).get('/metrics').expect(200)
    expect(type).toBe('text/plain')
    expect(text).not.toMatch(/S3CRET|[\da-f]{8}-/)
  })
})
