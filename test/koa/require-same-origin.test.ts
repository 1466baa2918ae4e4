import { once } from 'node:events'
import { request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'

import Koa from 'koa'
import { requireSameOrigin, requireUser } from 'koa-user-sessions'
import type { SameOriginOptions } from 'koa-user-sessions'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { cookieOf, makeApp } from '../support/apps.ts'

/** A raw request, repeated headers included. */
interface Written {
  readonly method?: string
  /** `localhost:3000` by default; `''` for none. */
  readonly host?: string
  readonly headers?: readonly (readonly [string, string])[]
}

interface Answer {
  readonly status: number | undefined
  readonly body: string
}

const trustedOrigins = ['https://app.example.com', 'http://localhost:5173']

/** An app whose only route is guarded. */
async function serve(options?: SameOriginOptions, isProxied = false) {
  const app = new Koa({ proxy: isProxied })
  const errors: unknown[] = []
  const handler = vi.fn<() => void>()
  app.on('error', (error) => errors.push(error))
  app.use(requireSameOrigin(options))
  app.use((ctx) => {
    handler()
    ctx.body = 'done'
  })
  const server = app.listen(0, '127.0.0.1')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined

  const ask = async ({
    method = 'POST',
    host = 'localhost:3000',
    headers = [],
  }: Written): Promise<Answer> => {
    const all = [...(host === '' ? [] : [['Host', host]]), ...headers].flat()
    const outgoing = request({ host: '127.0.0.1', port, method, headers: all, setHost: false })
    outgoing.end()
    const [response]: IncomingMessage[] = await once(outgoing, 'response')
    return { status: response!.statusCode, body: await text(response!) }
  }
  return { ask, handler, errors }
}

/** The guard's status for one request; expects that the handler has run accordingly. */
async function statusOf(
  written: Written,
  options?: SameOriginOptions,
  isProxied?: boolean,
): Promise<number | undefined> {
  const { ask, handler } = await serve(options, isProxied)
  const { status } = await ask(written)
  expect(handler).toHaveBeenCalledTimes(status === 200 ? 1 : 0)
  return status
}

const site = (value: string) => ['Sec-Fetch-Site', value] as const
const origin = (value: string) => ['Origin', value] as const

describe('requireSameOrigin', () => {
  it.each([
    ['GET', 200],
    ['HEAD', 200],
    ['OPTIONS', 200],
    ['POST', 403],
    ['PUT', 403],
    ['PATCH', 403],
    ['DELETE', 403],
    ['PROPFIND', 403],
    ['TRACE', 403],
  ])('M12: answers %s from another site with %d', async (method, status) => {
    expect(await statusOf({ method, headers: [site('cross-site')] })).toBe(status)
    expect(await statusOf({ method, headers: [origin('https://evil.example')] })).toBe(status)
    expect(await statusOf({ method, headers: [site('same-origin')] })).toBe(200)
    expect(await statusOf({ method })).toBe(200)
  })

  it.each<[string, number]>([
    ['same-origin', 200],
    ['none', 200],
    ['same-site', 403],
    ['cross-site', 403],
    ['Same-Origin', 403],
    ['NONE', 403],
    ['', 403],
    ['same-origin, cross-site', 403],
    ['"same-origin"', 403],
    ['same-origin;a=b', 403],
    ['constructor', 403],
    ['__proto__', 403],
  ])('M12, H1: answers Sec-Fetch-Site "%s" with %d, whatever the Origin', async (value, status) => {
    expect(await statusOf({ headers: [site(value)] })).toBe(status)
    const own = origin('http://localhost:3000')
    expect(await statusOf({ headers: [site(value), own] })).toBe(status)
    const foreign = origin('https://evil.example')
    expect(await statusOf({ headers: [site(value), foreign] })).toBe(status)
  })

  it.each<[string, string, number]>([
    ['localhost:3000', 'http://localhost:3000', 200],
    // A proxy ended TLS.
    ['localhost:3000', 'https://localhost:3000', 200],
    ['localhost:3000', 'http://localhost', 403],
    ['localhost:3000', 'http://localhost:3001', 403],
    ['localhost', 'http://localhost:3000', 403],
    ['shop.example', 'https://shop.example', 200],
    ['shop.example', 'http://shop.example', 200],
    ['SHOP.example', 'https://shop.example', 200],
    ['shop.example:443', 'https://shop.example', 200],
    ['shop.example:80', 'http://shop.example', 200],
    ['shop.example:80', 'https://shop.example', 403],
    ['shop.example:8443', 'https://shop.example:8443', 200],
    ['shop.example', 'https://www.shop.example', 403],
    ['shop.example', 'https://shop.example.evil.example', 403],
    ['shop.example', 'https://evilshop.example', 403],
    ['shop.example', 'https://evil.example', 403],
    ['127.0.0.1:3000', 'http://127.0.0.1:3000', 200],
    ['127.0.0.1:3000', 'http://localhost:3000', 403],
    ['[::1]:3000', 'http://[::1]:3000', 200],
    ['[0:0:0:0:0:0:0:1]:3000', 'http://[::1]:3000', 200],
    ['[::1]', 'http://[::1]', 200],
    ['[::1]:3000', 'http://[::2]:3000', 403],
    ['[::1]:3000', 'http://[::1]:3001', 403],
  ])('M12: compares hosts: at %s %s gets %d', async (host, value, status) => {
    expect(await statusOf({ host, headers: [origin(value)] })).toBe(status)
  })

  it.each([
    'null',
    '',
    'shop.example',
    '//shop.example',
    'https://',
    'https:shop.example',
    'https://shop.example/',
    'https://shop.example/path',
    'https://shop.example?a',
    'https://shop.example#a',
    'https://ann@shop.example',
    'https://shop.example:443',
    'HTTPS://SHOP.EXAMPLE',
    'https://shop.example https://shop.example',
    'https://shop.example, https://evil.example',
    'file://shop.example',
    'chrome-extension://shop.example',
    'data:text/html,shop.example',
    String.raw`https:\\shop.example`,
    'https://shop.example%00',
    'https://[shop.example',
    '__proto__',
    'é',
  ])('M12, H1: refuses a malformed Origin that no browser sends: %s', async (value) => {
    expect(await statusOf({ host: 'shop.example', headers: [origin(value)] })).toBe(403)
  })

  it.each(['', ' ', '[', ':', 'a b', 'shop.example:99999', '%', '/', 'evil.example'])(
    'M12, H1: refuses every Origin when the Host is "%s"',
    async (host) => {
      // Node itself answers 400 to some of these.
      const status = await statusOf({ host, headers: [origin('https://shop.example')] })

      expect([400, 403]).toContain(status)
    },
  )

  it('M12, H1: refuses a header that appears twice', async () => {
    const host = 'shop.example'
    const own = origin('https://shop.example')
    const foreign = origin('https://evil.example')
    const trusted = origin('https://app.example.com')

    expect(await statusOf({ host, headers: [own, own] })).toBe(403)
    expect(await statusOf({ host, headers: [own, foreign] })).toBe(403)
    expect(await statusOf({ host, headers: [foreign, own] })).toBe(403)
    expect(await statusOf({ host, headers: [trusted, foreign] }, { trustedOrigins })).toBe(403)
    expect(await statusOf({ host, headers: [site('same-origin'), site('cross-site')] })).toBe(403)
    expect(await statusOf({ host, headers: [site('none'), site('none')] })).toBe(403)
  })

  it('M12: uses the host from a trusted proxy, and from no other', async () => {
    const forwarded = ['X-Forwarded-Host', 'shop.example'] as const
    const headers = [forwarded, origin('https://shop.example')]

    expect(await statusOf({ headers }, {}, true)).toBe(200)
    expect(await statusOf({ headers }, {}, false)).toBe(403)
    const inside = [forwarded, origin('http://localhost:3000')]
    expect(await statusOf({ headers: inside }, {}, true)).toBe(403)
    expect(await statusOf({ headers: inside }, {}, false)).toBe(200)
  })

  it('M12: refuses a cross-site request even with an Authorization header', async () => {
    const headers = [['Authorization', 'Bearer abc'] as const, site('cross-site')]

    expect(await statusOf({ headers })).toBe(403)
  })

  it.each<[string, number]>([
    ['https://app.example.com', 200],
    ['http://localhost:5173', 200],
    ['http://app.example.com', 403],
    ['https://app.example.com:8443', 403],
    ['https://app.example.com/', 403],
    ['https://APP.example.com', 403],
    ['https://example.com', 403],
    ['https://x.app.example.com', 403],
    ['null', 403],
  ])('M12: allows a trusted origin, and no other: %s gets %d', async (value, status) => {
    for (const headers of [
      [origin(value)],
      [origin(value), site('same-site')],
      [site('cross-site'), origin(value)],
    ]) {
      expect(await statusOf({ headers }, { trustedOrigins })).toBe(status)
      expect(await statusOf({ headers })).toBe(403)
    }
  })

  it('M12: does not keep the given array', async () => {
    const origins = ['https://app.example.com']
    const { ask } = await serve({ trustedOrigins: origins })
    origins.push('https://evil.example')

    expect((await ask({ headers: [origin('https://app.example.com')] })).status).toBe(200)
    expect((await ask({ headers: [origin('https://evil.example')] })).status).toBe(403)
  })

  it('M12, G3: refuses with an error that the app can render', async () => {
    const { ask, errors } = await serve()

    const { status, body } = await ask({ headers: [site('cross-site')] })

    expect([status, body]).toEqual([403, 'not allowed: the request comes from another site'])
    expect(errors).toEqual([
      expect.objectContaining({ code: 'ERR_SESSION_CROSS_SITE', status: 403, expose: true }),
    ])
  })

  it('M12, G3: becomes the response of onDenied, and the handler does not run', async () => {
    const denied: unknown[] = []
    const { ask, handler, errors } = await serve({
      onDenied: async (ctx, error) => {
        await Promise.resolve()
        denied.push(error.code)
        ctx.status = 409
      },
    })

    expect((await ask({ headers: [site('same-site')] })).status).toBe(409)
    expect(handler).not.toHaveBeenCalled()
    expect((await ask({ headers: [site('same-origin')] })).status).toBe(200)
    expect(denied).toEqual(['ERR_SESSION_CROSS_SITE'])
    expect(errors).toEqual([])
  })

  it.each<[string, unknown]>([
    ['null', null],
    ['a text', 'https://app.example.com'],
    ['an option that is not known', { trustedOrigin: [] }],
    ['onDenied that is not a function', { onDenied: '/sign-in' }],
    ['origins that are not an array', { trustedOrigins: 'https://app.example.com' }],
    ['origins that are null', { trustedOrigins: null }],
    ['a slash at the end', { trustedOrigins: ['https://app.example.com/'] }],
    ['a default port', { trustedOrigins: ['https://app.example.com:443'] }],
    ['capitals', { trustedOrigins: ['https://App.example.com'] }],
    ['a path', { trustedOrigins: ['https://app.example.com/a'] }],
    ['no scheme', { trustedOrigins: ['app.example.com'] }],
    ['a wildcard', { trustedOrigins: ['*'] }],
    ['null as text', { trustedOrigins: ['null'] }],
    ['an opaque origin', { trustedOrigins: ['file://app'] }],
    ['a number', { trustedOrigins: [1] }],
    ['a URL object', { trustedOrigins: [new URL('https://app.example.com')] }],
    ['one wrong of two', { trustedOrigins: ['https://app.example.com', ''] }],
  ])('M12: throws at creation with %s', (_, options: unknown) => {
    expect(() => Reflect.apply(requireSameOrigin, undefined, [options])).toThrow(
      expect.objectContaining({ code: 'ERR_SESSION_OPTION' }),
    )
  })

  it('M12: has a name for debug output and stack traces', () => {
    expect(requireSameOrigin().name).toBe('requireSameOrigin')
  })

  it('M12: works beside session() and its guards, and does not touch the session', async () => {
    const testApp = makeApp()
    testApp.app.use(requireSameOrigin())
    testApp.app.use(requireUser())
    testApp.app.use((ctx) => (ctx.body = 'done'))
    const cookie = cookieOf(await testApp.visit('/login'))
    const browser = testApp.browser()
    testApp.store.calls.length = 0

    const send = (value: string) => browser.delete('/').set('Sec-Fetch-Site', value)

    expect((await send('cross-site').set('Cookie', cookie)).status).toBe(403)
    expect((await send('same-origin').set('Cookie', cookie)).status).toBe(200)
    expect((await send('same-origin')).status).toBe(401)
  })
})
