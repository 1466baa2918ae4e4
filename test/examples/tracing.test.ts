import request from 'supertest'
import { beforeEach, describe, expect, it } from 'vitest'

import { app, spans } from '../../examples/tracing.ts'

beforeEach(() => spans.reset())

describe('examples/tracing.ts', () => {
  it('M10: records the calls of the store within the span of their request', async () => {
    const agent = request.agent(app.callback())
    await agent.get('/').expect(200, '1')
    spans.reset()

    await agent.get('/').expect(200, '2')

    const [load, commit, page] = spans.getFinishedSpans()
    expect([load, commit, page].map((span) => span?.name)).toEqual([
      'session load',
      'session commit',
      'GET',
    ])
    const parents = [load, commit].map((span) => span?.parentSpanContext?.spanId)
    expect(parents).toEqual([page?.spanContext().spanId, page?.spanContext().spanId])
    expect(page?.parentSpanContext).toBeUndefined()
    expect(page?.attributes).toEqual({ 'url.path': '/', 'http.response.status_code': 200 })
    expect(load?.attributes['session.id']).toBe(commit?.attributes['session.id'])
  })

  it('M10: keeps the spans of parallel requests apart', async () => {
    await Promise.all(Array.from({ length: 5 }, () => request(app.callback()).get('/')))

    const all = spans.getFinishedSpans()
    const pages = all.filter(({ name }) => name === 'GET')
    const creates = all.filter(({ name }) => name === 'session create')
    expect([pages.length, creates.length]).toEqual([5, 5])
    expect(new Set(creates.map((span) => span.parentSpanContext?.spanId))).toEqual(
      new Set(pages.map((span) => span.spanContext().spanId)),
    )
  })
})
