import { once } from 'node:events'
import { createServer } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { isDeepStrictEqual } from 'node:util'

import { session } from 'koa-user-sessions'
import type { CookieOptions, SessionsOptions } from 'koa-user-sessions'
import supertest from 'supertest'
import type { Response } from 'supertest'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { resolveCookie } from '../../src/cookie/cookie-options.ts'
import { readCredentials } from '../../src/cookie/cookie.ts'
import { newSecret, newSessionId, parseCookieValue } from '../../src/cookie/cookie.ts'
import { mutate, seededRandom } from '../hostile/inputs.ts'
import {
  cookieOf,
  exactly,
  guestView,
  makeApp,
  recordWarnings,
  setCookies,
} from '../support/apps.ts'
import type { TestApp } from '../support/apps.ts'
import { selfSignedCertificate } from '../support/tls.ts'

/** Like `visit`, over HTTPS. */
async function visitSecurely(testApp: TestApp, path: string, cookie?: string): Promise<Response> {
  const certificate = selfSignedCertificate()
  const server = createSecureServer(certificate, testApp.app.callback())
  const request = supertest(server).get(path).ca(certificate.cert)
  if (cookie !== undefined) request.set('Cookie', cookie)
  return request
}

/** Like `visit`, through a proxy that ended TLS, according to its header. */
async function visitByProxy(
  testApp: TestApp,
  path: string,
  [header, value] = ['X-Forwarded-Proto', 'https'],
): Promise<Response> {
  return supertest(testApp.app.callback()).get(path).set(header, value)
}

/** The response of a server to bytes that no client would send. */
async function visitRaw(
  testApp: TestApp,
  headerLines: string,
): Promise<{ readonly status: number; readonly head: string; readonly body: string }> {
  const server = createServer(testApp.app.callback())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('no TCP port')
    const socket = connect(address.port, '127.0.0.1')
    socket.setEncoding('latin1')
    const lines = `GET /me HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${headerLines}\r\n\r\n`
    socket.write(lines, 'latin1')
    const [head = '', body = ''] = (await text(socket)).split('\r\n\r\n')
    return { status: Number(head.split(' ', 2)[1]), head: head.toLowerCase(), body }
  } finally {
    server.close()
    await once(server, 'close')
  }
}

/** The names of the attributes of a `Set-Cookie` header, with their values, and without the cookie. */
function attributesOf(response: Response): string {
  const [header = ''] = setCookies(response)
  return header.slice(header.indexOf(';') + 2)
}

function maxAgeOf(response: Response): number | undefined {
  const maxAge = /(?:^|; )Max-Age=(\d+)/.exec(attributesOf(response))?.[1]
  return maxAge === undefined ? undefined : Number(maxAge)
}

function warnings(): readonly string[] {
  const { messages, stop } = recordWarnings()
  onTestFinished(stop)
  return messages
}

describe('the attributes', () => {
  it('C1, C3: are complete over HTTP, and the value is 64 characters of base64url', async () => {
    const messages = warnings()
    const { visit } = makeApp()

    const response = await visit('/write?a=1')

    expect(setCookies(response)).toEqual([
      expect.stringMatching(
        /^session=[\w-]{64}; Max-Age=2592000; Path=\/; HttpOnly; SameSite=Lax$/,
      ),
    ])
    expect(messages).toEqual([])
  })

  it('C2, C3: are those of a __Host- cookie over HTTPS', async () => {
    const messages = warnings()
    const testApp = makeApp()

    const response = await visitSecurely(testApp, '/write?a=1')

    expect(setCookies(response)).toEqual([
      expect.stringMatching(
        /^__Host-session=[\w-]{64}; Max-Age=2592000; Path=\/; HttpOnly; Secure; SameSite=Lax$/,
      ),
    ])
    const { body } = await visitSecurely(testApp, '/me', cookieOf(response, '__Host-session'))
    expect(body.storage).toEqual({ a: '1' })
    expect(messages).toEqual([])
  })

  it('C2: are those of a __Host- cookie behind a TLS proxy with app.proxy', async () => {
    const messages = warnings()
    const testApp = makeApp()
    testApp.app.proxy = true

    const response = await visitByProxy(testApp, '/write?a=1')

    expect(cookieOf(response, '__Host-session')).toBeTypeOf('string')
    expect(attributesOf(response)).toContain('Secure')
    expect(messages).toEqual([])
  })

  it.each([
    ['X-Forwarded-Proto', 'https'],
    ['X-Forwarded-Proto', 'HTTPS, http'],
    ['Forwarded', 'for=192.0.2.1;proto=https;by=192.0.2.2'],
    ['Forwarded', 'proto="https"'],
  ])(
    'C2: lack Secure behind a TLS proxy without app.proxy, and one warning reports it: %s %s',
    async (...header) => {
      const messages = warnings()
      const testApp = makeApp()

      for (const path of ['/write?a=1', '/write?a=2']) {
        const response = await visitByProxy(testApp, path, header)
        expect(response.status).toBe(200)
        expect(cookieOf(response)).toBeTypeOf('string')
        expect(attributesOf(response)).not.toContain('Secure')
      }

      expect(messages).toEqual([
        'a proxy ended TLS before this app, so the session cookie is not Secure: ' +
          'set app.proxy = true, or the option cookie: { secure: true }',
      ])
    },
  )

  it('C2: have Secure with secure: true behind a TLS proxy without app.proxy', async () => {
    const messages = warnings()
    const testApp = makeApp({}, { cookie: { secure: true } })

    const response = await visitByProxy(testApp, '/write?a=1')

    expect(cookieOf(response, '__Host-session')).toBeTypeOf('string')
    expect(attributesOf(response)).toContain('Secure')
    expect(messages).toEqual([])
  })

  it('C2: have Secure with secure: true over HTTP, and one warning says that browsers drop it', async () => {
    const messages = warnings()
    const { visit } = makeApp({}, { cookie: { secure: true } })

    for (const path of ['/write?a=1', '/write?a=2']) {
      const response = await visit(path)
      expect(cookieOf(response, '__Host-session')).toBeTypeOf('string')
    }

    expect(messages).toEqual([expect.stringContaining('the request came over HTTP')])
  })

  it('C2: lack Secure with secure: false over HTTPS', async () => {
    const messages = warnings()
    const testApp = makeApp({}, { cookie: { secure: false } })

    const response = await visitSecurely(testApp, '/write?a=1')

    expect(cookieOf(response)).toBeTypeOf('string')
    expect(attributesOf(response)).not.toContain('Secure')
    expect((await testApp.visit('/me', cookieOf(response))).body.storage).toEqual({ a: '1' })
    expect(messages).toEqual([])
  })

  it('C2: keep the cookies of HTTP and HTTPS apart', async () => {
    const testApp = makeApp()
    const plain = cookieOf(await testApp.visit('/login'))
    const secure = cookieOf(await visitSecurely(testApp, '/login'), '__Host-session')

    expect((await visitSecurely(testApp, '/me', plain)).body).toMatchObject(guestView)
    expect((await testApp.visit('/me', secure)).body).toMatchObject(guestView)
    const both = await visitSecurely(testApp, '/me', `${plain}; ${secure}`)
    expect(both.body.userName).toBe('ann')
    expect(testApp.events.map(({ name }) => name)).not.toContain('session:ambiguous')
  })

  it.each<[CookieOptions, string, string, string]>([
    [{}, 'session', '__Host-session', 'Path=/; HttpOnly; SameSite=Lax'],
    [{ name: 'sid' }, 'sid', '__Host-sid', 'Path=/; HttpOnly; SameSite=Lax'],
    [{ path: '/app' }, 'session', '__Secure-session', 'Path=/app; HttpOnly; SameSite=Lax'],
    [
      { name: 'sid', domain: 'example.com' },
      'sid',
      '__Secure-sid',
      'Domain=example.com; Path=/; HttpOnly; SameSite=Lax',
    ],
    [
      { domain: '.example.com', path: '/a b' },
      'session',
      '__Secure-session',
      'Domain=.example.com; Path=/a b; HttpOnly; SameSite=Lax',
    ],
    [{ sameSite: 'strict' }, 'session', '__Host-session', 'Path=/; HttpOnly; SameSite=Strict'],
    [
      { priority: 'high' },
      'session',
      '__Host-session',
      'Path=/; HttpOnly; Priority=High; SameSite=Lax',
    ],
  ])('C3: follow the options %j', async (cookie, plainName, secureName, attributes) => {
    const testApp = makeApp({}, { cookie })

    const plain = await testApp.visit('/write?a=1')
    const secure = await visitSecurely(testApp, '/write?a=1')

    expect(attributesOf(plain)).toBe(`Max-Age=2592000; ${attributes}`)
    expect(attributesOf(secure).replace('; Secure', '')).toBe(`Max-Age=2592000; ${attributes}`)
    expect(attributesOf(secure)).toContain('; Secure')
    const views = [
      await testApp.visit('/me', cookieOf(plain, plainName)),
      await visitSecurely(testApp, '/me', cookieOf(secure, secureName)),
    ]
    for (const { body } of views) expect(body.storage).toEqual({ a: '1' })
  })

  it.each<[CookieOptions, string]>([
    [{ secure: true, sameSite: 'none' }, 'HttpOnly; Secure; SameSite=None'],
    [{ secure: true, partitioned: true }, 'HttpOnly; Secure; Partitioned; SameSite=Lax'],
  ])('C3: follow the options %j, which need secure: true', async (cookie, attributes) => {
    const testApp = makeApp({}, { cookie })

    const response = await visitSecurely(testApp, '/write?a=1')

    expect(attributesOf(response)).toBe(`Max-Age=2592000; Path=/; ${attributes}`)
  })

  it.each<[CookieOptions, string]>([
    [{}, 'HttpOnly; SameSite=Lax'],
    [{ persistent: false, path: '/app', domain: 'example.com' }, 'HttpOnly; SameSite=Lax'],
  ])('S10: clear the cookie with the attributes that set it: %j', async (cookie, rest) => {
    const testApp = makeApp({}, { cookie })
    const set = await testApp.visit('/write?a=1')

    const cleared = await testApp.visit('/logout', cookieOf(set))

    const [path] = /(?:Domain=[^;]+; )?Path=[^;]+/.exec(attributesOf(set)) ?? []
    expect(setCookies(cleared)).toEqual([
      `session=; Max-Age=0; ${path}; Expires=Thu, 01 Jan 1970 00:00:00 GMT; ${rest}`,
    ])
  })
})

describe('cookie options', () => {
  const misspelt = { httpsOnly: true, name: 'session' }

  it.each<[string, unknown]>([
    ['an option that is not known', { htttpOnly: true }],
    ['httpOnly, which is not to be had otherwise', { httpOnly: false }],
    ['maxAge, which follows from absoluteTimeout', { maxAge: 1000 }],
    ['null', null],
    ['an array', []],
    ['text', 'session'],
    ['an empty name', { name: '' }],
    ['a name that is not text', { name: 1 }],
    ['a name with a space', { name: 'my session' }],
    ['a name with a semicolon', { name: 'a;b' }],
    ['a name with an equals sign', { name: 'a=b' }],
    ['a name with a line break', { name: 'a\r\nb' }],
    ['a name that is not ASCII', { name: 'sitzung_ä' }],
    ['a name of 65 characters', { name: 'a'.repeat(65) }],
    ['a name with a prefix', { name: '__Host-session' }],
    ['a name with a prefix in other case', { name: '__sEcUre-session' }],
    ['a name with a newer prefix', { name: '__Http-session' }],
    ['another sameSite', { sameSite: 'Lax' }],
    ['sameSite as a boolean', { sameSite: true }],
    ['sameSite none without secure', { sameSite: 'none' }],
    ['sameSite none with secure auto', { sameSite: 'none', secure: 'auto' }],
    ['sameSite none with secure false', { sameSite: 'none', secure: false }],
    ['another secure', { secure: 'yes' }],
    ['partitioned without secure', { partitioned: true }],
    ['partitioned with secure auto', { partitioned: true, secure: 'auto' }],
    ['partitioned that is not a boolean', { partitioned: 1 }],
    ['persistent that is not a boolean', { persistent: 'no' }],
    ['another priority', { priority: 'High' }],
    ['an empty path', { path: '' }],
    ['a relative path', { path: 'app' }],
    ['a path with a semicolon', { path: '/; Domain=evil.example' }],
    ['a path with a line break', { path: '/\r\nX: y' }],
    ['a path that no cookie can have', { path: '/ä' }],
    ['a path with a less-than sign', { path: '/<' }],
    ['a path that is not text', { path: /a/ }],
    ['an empty domain', { domain: '' }],
    ['a domain with a semicolon', { domain: 'example.com; Path=/' }],
    ['a domain with a port', { domain: 'example.com:3000' }],
    ['a domain with an empty label', { domain: 'example..com' }],
    ['a domain with a label that ends with a hyphen', { domain: 'a-.example.com' }],
    ['a domain with a label of 64 characters', { domain: `${'a'.repeat(64)}.example.com` }],
    ['a domain that is a url', { domain: 'https://example.com' }],
    ['a domain that is not text', { domain: ['example.com'] }],
  ])('C3: refuse %s at startup', (_, cookie: unknown) => {
    const options: SessionsOptions = {}
    Reflect.set(options, 'cookie', cookie)

    expect(() => session(options)).toThrow(
      expect.objectContaining({ name: 'SessionOptionError', code: 'ERR_SESSION_OPTION' }),
    )
  })

  it.each<[string, CookieOptions]>([
    ['"cookie" option has no "httpsOnly": it takes name, sameSite', misspelt],
    ['"cookie.sameSite" option "none" needs "cookie.secure": true', { sameSite: 'none' }],
    ['"cookie.partitioned" option needs "cookie.secure": true', { partitioned: true }],
    ['"cookie.name" option must not have a prefix', { name: '__Host-sid' }],
  ])('C3: say what is allowed: %s', (message, cookie) => {
    expect(() => session({ cookie })).toThrow(message)
  })
})

describe('Max-Age', () => {
  it.each([
    [120, 7200],
    [43_200, 2_592_000],
    [576_000, 34_560_000],
    [576_001, 34_560_000],
    [Infinity, 34_560_000],
  ])(
    'C4: reaches the absolute limit of %d minutes: %d seconds',
    async (absoluteTimeout, maxAge) => {
      const { visit } = makeApp({}, { absoluteTimeout })

      expect(maxAgeOf(await visit('/write?a=1'))).toBe(maxAge)
      expect(maxAgeOf(await visit('/login'))).toBe(maxAge)
    },
  )

  it('C4: is missing with persistent: false', async () => {
    const testApp = makeApp({}, { cookie: { persistent: false } })

    const first = await testApp.visit('/write?a=1')
    const rotated = await testApp.visit('/login', cookieOf(first))

    for (const response of [first, rotated]) {
      expect(attributesOf(response)).toBe('Path=/; HttpOnly; SameSite=Lax')
    }
  })

  it('C4: is the rest of the absolute time after a rotation, and all of it after a sign-in', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    onTestFinished(() => {
      vi.useRealTimers()
    })
    const start = Date.now()
    const { visit } = makeApp(
      { '/elevate': ({ session }) => session.setPrivileges('audit') },
      { absoluteTimeout: 120 },
    )
    const first = await visit('/write?a=1')

    vi.setSystemTime(start + 30 * 60_000)
    const signedIn = await visit('/login', cookieOf(first))
    vi.setSystemTime(start + 60 * 60_000)
    const elevated = await visit('/elevate', cookieOf(signedIn))

    expect(maxAgeOf(signedIn)).toBe(120 * 60)
    expect(maxAgeOf(elevated)).toBe(90 * 60)
  })
})

describe('Set-Cookie', () => {
  it('C4: is sent only when the session is first stored and when its secret is rotated', async () => {
    const testApp = makeApp({
      '/elevate': ({ session }) => session.setPrivileges('audit'),
      '/idle': ({ session }) => void (session.idleTimeout = 90),
      '/regenerate': ({ session }) => session.regenerate(),
    })
    const browser = testApp.browser()
    const paths = [
      ['/page', 0],
      ['/me', 0],
      ['/write?a=1', 1],
      ['/write?a=2', 0],
      ['/me', 0],
      ['/idle', 0],
      ['/login', 1],
      ['/page', 0],
      ['/login', 0],
      ['/write?a=3', 0],
      ['/elevate', 1],
      ['/elevate', 0],
      ['/regenerate', 1],
      ['/me', 0],
    ] as const

    const seen = []
    for (const [path] of paths) seen.push([path, setCookies(await browser.get(path)).length])

    expect(seen).toEqual(paths)
  })

  it("C6: follows the app's own cookies", async () => {
    const { visit } = makeApp({
      '/cookies': (ctx) => {
        ctx.cookies.set('theme', 'dark')
        ctx.session.storage.a = 1
        ctx.append('Set-Cookie', 'lang=en')
        ctx.cookies.set('session.sig', 'own')
      },
    })

    const response = await visit('/cookies')

    expect(setCookies(response)).toEqual([
      'theme=dark; path=/; httponly',
      'lang=en',
      'session.sig=own; path=/; httponly',
      expect.stringMatching(/^session=[\w-]{64};/),
    ])
  })

  it('C6: is sent even when the app has overwritten the header after save()', async () => {
    const { visit } = makeApp({
      '/cookies': async (ctx) => {
        await ctx.session.save()
        ctx.set('Set-Cookie', 'theme=dark')
      },
    })

    expect(setCookies(await visit('/cookies'))).toEqual([
      'theme=dark',
      expect.stringMatching(/^session=/),
    ])
  })
})

describe('the caching headers', () => {
  it.each(['public, max-age=3600', 'private', 'no-store'])(
    'C6: say no-store with the cookie, even when the app says %s',
    async (value) => {
      const { visit } = makeApp({
        '/before': (ctx) => {
          ctx.set('Cache-Control', value)
          ctx.session.storage.a = 1
        },
        '/after': async (ctx) => {
          await ctx.session.save()
          ctx.set('Cache-Control', value)
        },
      })

      for (const path of ['/before', '/after']) {
        const response = await visit(path)
        expect(setCookies(response)).toHaveLength(1)
        expect(response.headers['cache-control']).toBe('no-store')
      }
    },
  )

  it('C6: say no-store when the cookie is cleared', async () => {
    const { visit } = makeApp()
    const cookie = cookieOf(await visit('/write?a=1'))

    expect((await visit('/logout', cookie)).headers['cache-control']).toBe('no-store')
  })

  it("C6: stay the app's own when no cookie is set", async () => {
    const { visit } = makeApp({
      '/cached': (ctx) => {
        ctx.set('Cache-Control', 'public')
        ctx.body = ctx.session.isGuest()
      },
    })
    const cookie = cookieOf(await visit('/write?a=1'))

    expect((await visit('/cached')).headers['cache-control']).toBe('public')
    expect((await visit('/cached', cookie)).headers['cache-control']).toBe('public')
    expect((await visit('/me', cookie)).headers).not.toHaveProperty('cache-control')
  })

  it('C6: say Vary: Cookie when a session was attached, and only then', async () => {
    const { visit } = makeApp({
      '/language': (ctx) => {
        ctx.vary('Accept-Language')
        ctx.body = ctx.session.isGuest()
      },
      '/all': (ctx) => {
        ctx.set('Vary', '*')
        ctx.body = ctx.session.isGuest()
      },
    })
    const cookie = cookieOf(await visit('/write?a=1'))

    const vary = async (path: string, sent?: string): Promise<unknown> =>
      (await visit(path, sent)).headers['vary']

    expect(await vary('/page')).toBeUndefined()
    expect(await vary('/page', 'session=abc')).toBeUndefined()
    expect(await vary('/me')).toBe('Cookie')
    expect(await vary('/page', cookie)).toBe('Cookie')
    expect(await vary('/write?a=1')).toBe('Cookie')
    expect(await vary('/logout', cookie)).toBe('Cookie')
    expect(await vary('/language')).toBe('Accept-Language, Cookie')
    expect(await vary('/all')).toBe('*')
  })
})

describe('several cookies with our name', () => {
  const unknown = 'B'.repeat(64)

  it.each<[string, (good: string) => string, number]>([
    ['first, before an unknown one', (good) => `Cookie: session=${good}; session=${unknown}`, 2],
    ['second, after an unknown one', (good) => `Cookie: session=${unknown}; session=${good}`, 2],
    ['first, before a malformed one', (good) => `Cookie: session=${good}; session=x`, 1],
    ['second, after a malformed one', (good) => `Cookie: session=x; session=${good}`, 1],
    ['after an empty one', (good) => `Cookie: session=; session=${good}`, 1],
    ['there twice', (good) => `Cookie: session=${good}; session=${good}`, 1],
    [
      'in the first of two headers',
      (good) => `Cookie: session=${good}\r\nCookie: session=${unknown}`,
      2,
    ],
    [
      'in the second of two headers',
      (good) => `Cookie: session=${unknown}\r\ncookie: session=${good}`,
      2,
    ],
    ['beside a quoted one', (good) => `Cookie: session="${unknown}"; session=${good}`, 1],
    ['after a TAB', (good) => `Cookie: session=${unknown};\tsession=${good}`, 2],
    ['amid spaces', (good) => `Cookie:  session=${unknown}  ;  session=${good}  ;  a=1`, 2],
    ['without a space', (good) => `Cookie: session=${unknown};session=${good};a=1`, 2],
    ['after the same in other case', (good) => `Cookie: SESSION=${unknown}; session=${good}`, 1],
    ['inside the quotes of another', (good) => `Cookie: a="; session=${good}; b="`, 1],
  ])('C7: count only the live one, which is %s', async (_, headers, calls) => {
    const testApp = makeApp()
    const good = cookieOf(await testApp.visit('/login')).slice('session='.length)
    testApp.store.calls.length = 0

    const { status, body } = await visitRaw(testApp, headers(good))

    expect(status).toBe(200)
    expect(JSON.parse(body)).toMatchObject({ userName: 'ann' })
    expect(testApp.store.calls).toEqual(Array.from({ length: calls }, () => 'load'))
    expect(testApp.events.map(({ name }) => name)).not.toContain('session:ambiguous')
  })

  it('C7: are tried up to the fourth well-formed one', async () => {
    const { visit, store } = makeApp()
    const good = cookieOf(await visit('/login'))
    const [a, b, c, d] = ['A', 'B', 'C', 'D'].map((letter) => `session=${letter.repeat(64)}`)
    store.calls.length = 0

    const fourth = await visit('/me', ['session=x', a, b, 'session=', c, good].join('; '))
    expect(fourth.body).toMatchObject({ userName: 'ann' })
    expect(store.calls).toHaveLength(4)

    store.calls.length = 0
    const fifth = await visit('/me', [a, b, c, d, good].join('; '))
    expect(fifth.body).toMatchObject(guestView)
    expect(store.calls).toHaveLength(4)
    expect(setCookies(fifth)).toEqual([])
  })

  it.each(['; ', ';', ';\t', ' ;  '])(
    'C7: are all ignored when two are live, with %j in between',
    async (separator) => {
      const { visit, events } = makeApp()
      const cookies = [
        cookieOf(await visit('/login?user=ann')),
        cookieOf(await visit('/login?user=eve')),
      ]
      const ids = []
      for (const cookie of cookies) ids.push((await visit('/me', cookie)).body.id)

      const response = await visit('/me', cookies.join(separator))

      expect(response.body).toMatchObject(guestView)
      expect(setCookies(response)).toEqual([])
      expect(events.at(-1)).toEqual({ name: 'session:ambiguous', event: { ids } })
      for (const [index, cookie] of cookies.entries()) {
        expect((await visit('/me', cookie)).body.id).toBe(ids[index])
      }
    },
  )

  it('C7: put a change by an ambiguous request into a new session', async () => {
    const { visit } = makeApp()
    const [ann, eve] = [
      cookieOf(await visit('/login?user=ann')),
      cookieOf(await visit('/login?user=eve')),
    ]

    const response = await visit('/write?secret=1', `${ann}; ${eve}`)

    for (const cookie of [ann, eve]) expect((await visit('/me', cookie)).body.storage).toEqual({})
    const { body } = await visit('/me', cookieOf(response))
    expect(body).toMatchObject({ userName: '', storage: exactly({ secret: '1' }) })
  })
})

describe('hostile cookies', () => {
  it('H1: create no session when a write follows', async () => {
    const testApp = makeApp()
    const cookie = 'session=__proto__; __proto__=x; session[constructor]=y'

    const response = await testApp.visit('/write?a=1', cookie)

    expect(response.status).toBe(200)
    expect(testApp.store.calls).toEqual(['create'])
    expect((await testApp.visit('/me', cookieOf(response))).body.storage).toEqual({ a: '1' })
  })
})

describe('the parser', () => {
  it('H1: accepts none of 10 000 mutations of a good value as that value', () => {
    const random = seededRandom(20_261_122)
    const { value, secretHash } = newSecret(newSessionId())
    const good = parseCookieValue(value)
    expect(good?.secretHash).toBe(secretHash)

    const isGood = (candidate: string): boolean =>
      isDeepStrictEqual(parseCookieValue(candidate), good)
    let wellFormed = 0
    const accepted: string[] = []
    for (let round = 0; round < 10_000; round++) {
      const mutated = mutate(value, random)
      if (mutated === value) continue
      if (parseCookieValue(mutated)) wellFormed++
      const found = readCredentials(`a=1; session=${mutated}; b=2`, resolveCookie(), false)
      if (isGood(mutated)) accepted.push(mutated)
      const isFound = found.some((credential) => isDeepStrictEqual(credential, good))
      if (isFound && !mutated.includes(value)) accepted.push(mutated)
    }

    expect(accepted).toEqual([])
    expect(wellFormed).toBeGreaterThan(1000)
  })

  it('C1: accepts only one spelling of each value', () => {
    const { value, secretHash } = newSecret(newSessionId())
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

    const hashes = Array.from(
      alphabet,
      (last) => parseCookieValue(value.slice(0, -1) + last)?.secretHash,
    )

    expect(new Set(hashes).size).toBe(64)
    expect(hashes.filter((hash) => hash === secretHash)).toHaveLength(1)
  })
})
