import { once } from 'node:events'
import { request } from 'node:http'
import { text } from 'node:stream/consumers'

import type { ActiveSession, SessionsOptions } from 'koa-user-sessions'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { cookieOf, makeApp, recordWarnings, storeKinds } from '../support/apps.ts'
import type { Handler, TestApp } from '../support/apps.ts'

const windows = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64)'
const chrome = `${windows} AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36`
const iphone =
  'Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) ' +
  'Version/17.5 Mobile/15E148 Safari/604.1'

const handlers: Readonly<Record<string, Handler>> = {
  '/client': (ctx) => {
    const { session } = ctx
    ctx.body = {
      web: session.isWebClient(),
      desktop: session.isDesktopClient(),
      other: session.isNotWebOrDesktopClient(),
      culture: session.clientCulture,
      uiCulture: session.clientUICulture,
      utcOffset: session.clientUtcOffset,
    }
  },
}

describe.each(storeKinds)('who the client is, with a %s', (_, makeStore) => {
  it('K1: is recorded once, when the session is first stored', async () => {
    const { browser, sessions } = makeApp({}, { store: makeStore() })
    const client = browser()
    await client.get('/write?a=1').set('User-Agent', iphone)

    await client.get('/login').set('User-Agent', chrome)
    await client.get('/write?a=2').set('User-Agent', chrome)

    expect(await sessions.list('ann')).toMatchObject([
      {
        appId: '',
        appName: 'Safari',
        appVersion: '17.5',
        isOfficialApp: false,
        deviceModel: 'iPhone',
        platform: 'iOS',
        systemVersion: '17.5',
        ip: '127.0.0.1',
        country: '',
        region: '',
      },
    ])
  })

  it('K1: is also read from the Client Hints', async () => {
    const { browser, sessions } = makeApp({}, { store: makeStore() })

    await browser()
      .get('/login')
      .set('User-Agent', chrome)
      .set('Sec-CH-UA', '"Opera";v="115", "Chromium";v="131", "Not_A Brand";v="24"')
      .set('Sec-CH-UA-Platform', '"Windows"')
      .set('Sec-CH-UA-Platform-Version', '"15.0.0"')

    expect(await sessions.list('ann')).toMatchObject([
      { appName: 'Opera', appVersion: '115', platform: 'Windows', systemVersion: '11' },
    ])
  })

  it('K2: has the address that Koa reports, in the form of its family', async () => {
    const { app, browser, sessions } = makeApp({}, { store: makeStore() })
    app.proxy = true

    for (const address of ['203.0.113.7', '::ffff:203.0.113.8', '2001:db8::1', 'unknown', "' --"]) {
      await browser().get('/login').set('X-Forwarded-For', address)
    }

    const list = await sessions.list('ann')
    expect(list.map(({ ip }) => ip).toSorted()).toEqual([
      '',
      '',
      '2001:db8::1',
      '203.0.113.7',
      '203.0.113.8',
    ])
  })

  it('K1: includes what describeClient and locate have added', async () => {
    const { sessions, visit } = makeApp(
      {},
      {
        store: makeStore(),
        locate: async () => ({ country: 'CH', region: 'Zürich' }),
        describeClient: async (ctx, { platform, country }) => ({
          applicationId: ctx.get('X-App'),
          deviceModel: `${platform} in ${country}`,
        }),
      },
    )

    await visit('/login')
    const [session] = await sessions.list('ann')

    expect(session).toMatchObject({ country: 'CH', region: 'Zürich', deviceModel: 'in CH' })
  })

  it.each([
    ['nothing', {}],
    ['an empty User-Agent', { 'User-Agent': '' }],
    ['a User-Agent of 12 KB', { 'User-Agent': `${chrome} `.repeat(100) }],
    ['bytes that are not UTF-8', { 'User-Agent': '\u00ff\u00fe\u0080 \u009b31m' }],
    ['a prototype', { 'User-Agent': '__proto__/1.0 constructor/2', 'Sec-CH-UA': '__proto__' }],
    ['a script', { 'User-Agent': '<script>alert(1)</script>/1.0 (Windows NT 10.0)' }],
    [
      'Client Hints of no form',
      {
        'Sec-CH-UA': '"'.repeat(4000),
        'Sec-CH-UA-Platform': '"\\',
        'Sec-CH-UA-Platform-Version': '"9".9"',
        'Sec-CH-UA-Model': '"'.repeat(3000),
      },
    ],
    [
      'cultures of no form',
      {
        'Accept-Language': `${'a,'.repeat(3000)};q=9`,
        'X-Client-Culture': 'xx-'.repeat(1000),
        'X-Client-UI-Culture': '__proto__',
        'X-Client-UTC-Offset': '1e999',
      },
    ],
    ['addresses of no form', { 'X-Forwarded-For': `${'9'.repeat(4000)}, ::::, 1.2.3.4.5` }],
  ])('H1: survives %s in its headers', async (...row) => {
    const [, headers] = row
    const { app, sessions, errors } = makeApp(handlers, { store: makeStore() })
    app.proxy = true

    const statuses = [await askRaw(app, '/login', headers), await askRaw(app, '/client', headers)]

    expect(statuses).toEqual([200, 200])
    expect(errors).toEqual([])
    const [session] = await sessions.list('ann')
    expect(Object.keys(session ?? {})).toHaveLength(14)
    for (const value of textsOf(session)) {
      expect(value).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}]/u)
      expect(Buffer.byteLength(value)).toBeLessThanOrEqual(64)
    }
  })
})

describe('locate', () => {
  it('K2: is called once with the address, when the session is first stored', async () => {
    const locate = vi.fn(() => ({ country: 'CH' }))
    const { app, browser, sessions } = makeApp({}, { locate })
    app.proxy = true
    const client = browser()
    const from = (path: string): PromiseLike<unknown> =>
      client.get(path).set('X-Forwarded-For', '::ffff:203.0.113.7')

    await from('/page')
    await from('/me')
    const before = locate.mock.calls.length
    await from('/write?a=1')
    await from('/login')
    await from('/write?a=2')

    expect(before).toBe(0)
    expect(locate.mock.calls).toEqual([['203.0.113.7']])
    expect(await sessions.list('ann')).toMatchObject([{ country: 'CH', region: '' }])
  })

  it('K2: is not called for a text that is not an address', async () => {
    const locate = vi.fn(() => null)
    const { app, browser } = makeApp({}, { locate })
    app.proxy = true

    await browser().get('/login').set('X-Forwarded-For', 'unknown').expect(200)

    expect(locate).not.toHaveBeenCalled()
  })

  it.each<[string, unknown, object]>([
    ['null', null, { country: '', region: '' }],
    ['undefined', undefined, { country: '', region: '' }],
    ['a part', { region: 'Zürich' }, { country: '', region: 'Zürich' }],
    ['text', 'CH', { country: '', region: '' }],
    ['wrong types', { country: 41, region: ['Zürich'] }, { country: '', region: '' }],
    ['other names', { country: 'CH', appName: 'x', ip: '::1' }, { country: 'CH', appName: '' }],
    ['a prototype', JSON.parse('{"__proto__":{"country":"CH"}}'), { country: '' }],
    ['unseen characters', { country: 'C\u202EH\n' }, { country: 'CH' }],
    ['long text', { country: 'x'.repeat(1000) }, { country: 'x'.repeat(64) }],
  ])('K2: may return %s', async (_, answer, expected) => {
    const { visit, sessions } = makeApp({}, optionsOf({ locate: () => answer }))

    await visit('/login').then(({ status }) => expect(status).toBe(200))

    expect(await sessions.list('ann')).toMatchObject([{ ip: '127.0.0.1', ...expected }])
  })
})

describe('describeClient', () => {
  it('K1: is called once, when the session is first stored', async () => {
    const callback = vi.fn((ctx: { readonly path: string }) => ({ appName: ctx.path }))
    const { browser, sessions } = makeApp({}, { describeClient: callback })
    const client = browser()

    await client.get('/page')
    await client.get('/me')
    const before = callback.mock.calls.length
    await client.get('/write?a=1')
    await client.get('/login')
    await client.get('/me')

    expect(before).toBe(0)
    expect(callback).toHaveBeenCalledTimes(1)
    expect(await sessions.list('ann')).toMatchObject([{ appName: '/write' }])
  })

  it('K1: receives what is already known, including the place', async () => {
    const callback = vi.fn()
    const { browser } = makeApp({}, { describeClient: callback, locate: () => ({ country: 'CH' }) })

    await browser().get('/write?a=1').set('User-Agent', iphone)

    expect(callback.mock.calls[0]?.[1]).toMatchObject({
      appName: 'Safari',
      deviceModel: 'iPhone',
      country: 'CH',
    })
  })

  it.each<[string, unknown, object]>([
    ['nothing', undefined, { appName: 'Chrome' }],
    ['null', null, { appName: 'Chrome' }],
    ['text', 'Shop', { appName: 'Chrome' }],
    ['an empty text', { appName: '' }, { appName: '', platform: 'Windows' }],
    ['wrong types', { appName: 1, platform: null, isOfficialApp: 'yes' }, { appName: 'Chrome' }],
    ['whether it is official', { isOfficialApp: true }, { isOfficialApp: true }],
    ['a prototype', JSON.parse('{"__proto__":{"appName":"Shop"}}'), { appName: 'Chrome' }],
    ['unseen characters', { deviceModel: 'a\0\u202Eb\n' }, { deviceModel: 'ab' }],
  ])('K1: may return %s', async (_, answer, expected) => {
    const { browser, sessions } = makeApp({}, optionsOf({ describeClient: () => answer }))

    await browser().get('/login').set('User-Agent', chrome).expect(200)

    expect(await sessions.list('ann')).toMatchObject([{ platform: 'Windows', ...expected }])
    expect(Reflect.get({}, 'appName')).toBeUndefined()
  })
})

describe.each(['locate', 'describeClient'] as const)('%s that throws', (option) => {
  it.each<[string, () => unknown]>([
    [
      'at once',
      () => {
        throw new Error('the address is 203.0.113.7')
      },
    ],
    ['later', () => Promise.reject(new Error('the address is 203.0.113.7'))],
    ['nothing', () => Promise.reject(undefined)],
    [
      'when it is read',
      () =>
        Object.defineProperty({}, option === 'locate' ? 'country' : 'appName', {
          get() {
            throw new Error('the address is 203.0.113.7')
          },
        }),
    ],
  ])('K1: %s costs no data, and warns once', async (_, callback) => {
    const { messages, stop } = recordWarnings()
    onTestFinished(stop)
    const { browser, sessions, errors } = makeApp({}, optionsOf({ [option]: callback }))

    await browser().get('/login').set('User-Agent', chrome).expect(200)
    await browser().get('/login').set('User-Agent', chrome).expect(200)

    expect(await sessions.list('ann')).toMatchObject([
      { appName: 'Chrome', ip: '127.0.0.1', country: '' },
      { appName: 'Chrome', ip: '127.0.0.1', country: '' },
    ])
    expect(errors).toEqual([])
    expect(messages).toHaveLength(1)
    expect(messages[0]).toContain(`"${option}"`)
    expect(messages[0]).not.toContain('203.0.113.7')
  })
})

describe.each(storeKinds)('applications with a %s', (_, makeStore) => {
  const applications: SessionsOptions['applications'] = {
    site: { name: 'The Site', client: 'web' },
    till: { name: 'The Till', client: 'desktop', official: true },
    robot: { name: 'The Robot', client: 'other' },
  }

  it.each([
    ['site', 'The Site', false, 'web'],
    ['till', 'The Till', true, 'desktop'],
    ['robot', 'The Robot', false, 'other'],
    ['stranger', 'Chrome', false, 'web'],
    ['', 'Chrome', false, 'web'],
    ['__proto__', 'Chrome', false, 'web'],
    ['constructor', 'Chrome', false, 'web'],
    ['TILL', 'Chrome', false, 'web'],
  ])('K3: %j is %s, official: %s, and a client of the kind %s', async (...row) => {
    const [applicationId, appName, isOfficialApp, kind] = row
    const { browser, sessions } = makeApp(handlers, {
      store: makeStore(),
      applications,
      describeClient: (ctx) => ({ applicationId: ctx.get('X-App') }),
    })
    const client = browser()
    await client.get('/login').set({ 'X-App': applicationId, 'User-Agent': chrome })

    const { body } = await client.get('/client')

    expect(await sessions.list('ann')).toMatchObject([
      { appId: applicationId, appName, isOfficialApp },
    ])
    expect(body).toMatchObject({
      web: kind === 'web',
      desktop: kind === 'desktop',
      other: kind === 'other',
    })
  })

  it('K3: does not believe a client that claims to be official against the option', async () => {
    const { visit, sessions } = makeApp(handlers, {
      store: makeStore(),
      applications,
      describeClient: () => ({ applicationId: 'site', isOfficialApp: true, appName: 'Other' }),
    })

    await visit('/login')

    expect(await sessions.list('ann')).toMatchObject([
      { appName: 'The Site', isOfficialApp: false },
    ])
  })

  it('K3: knows the kind in the request that first stores the session', async () => {
    const kinds: boolean[] = []
    const { visit } = makeApp(
      {
        '/start': async ({ session }) => {
          kinds.push(session.isDesktopClient())
          await session.save()
          kinds.push(session.isDesktopClient())
        },
      },
      { store: makeStore(), applications, describeClient: () => ({ applicationId: 'till' }) },
    )

    await visit('/start')

    expect(kinds).toEqual([false, true])
  })

  it('K3: calls a guest that is not stored a web client', async () => {
    const { visit } = makeApp(handlers, { store: makeStore(), applications })

    expect((await visit('/client')).body).toMatchObject({ web: true, desktop: false, other: false })
  })
})

describe('the culture of a request', () => {
  it('K4: comes from the headers of the request, whoever created the session', async () => {
    const { visit, app } = makeApp(handlers)
    const cookie = cookieOf(await visit('/write?a=1'))

    const first = await askForClient(app, cookie, {
      'X-Client-Culture': 'de-ch',
      'X-Client-UI-Culture': 'fr-CH',
      'X-Client-UTC-Offset': '+120',
    })
    const next = await askForClient(app, cookie, { 'Accept-Language': 'it;q=0.5, en-gb' })
    const none = await askForClient(app, cookie, {})

    expect(first).toMatchObject({ culture: 'de-CH', uiCulture: 'fr-CH', utcOffset: 120 })
    expect(next).toMatchObject({ culture: 'en-GB', uiCulture: 'en-GB', utcOffset: null })
    expect(none).toMatchObject({ culture: null, uiCulture: null, utcOffset: null })
  })

  it('K4: is null when no header has such a form', async () => {
    const { app } = makeApp(handlers)

    const client = await askForClient(app, '', {
      'Accept-Language': 'fr',
      'X-Client-Culture': 'not a tag',
      'X-Client-UTC-Offset': 'Z',
    })

    expect(client).toMatchObject({ culture: null, uiCulture: 'fr', utcOffset: null })
  })

  it('K4: is read-only', async () => {
    const thrown: unknown[] = []
    const { visit } = makeApp({
      '/assign': ({ session }) => {
        for (const name of ['clientCulture', 'clientUICulture', 'clientUtcOffset', 'info']) {
          try {
            Reflect.set(session, name, 'de')
          } catch (error) {
            thrown.push(error)
          }
        }
      },
    })

    await visit('/assign')

    expect(thrown).toHaveLength(4)
    expect(thrown.every((error) => error instanceof TypeError)).toBe(true)
  })
})

/** Options that the compiler would refuse. */
function optionsOf(options: Readonly<Record<string, unknown>>): SessionsOptions {
  return options
}

async function askForClient(
  app: TestApp['app'],
  cookie: string,
  headers: Readonly<Record<string, string>>,
): Promise<unknown> {
  return JSON.parse((await ask(app, '/client', { cookie, ...headers })).body)
}

async function askRaw(
  app: TestApp['app'],
  path: string,
  headers: Readonly<Record<string, string>>,
): Promise<number | undefined> {
  return (await ask(app, path, headers)).status
}

/** One request with these headers, and otherwise only those that HTTP needs. */
async function ask(
  app: TestApp['app'],
  path: string,
  headers: Readonly<Record<string, string>>,
): Promise<{ readonly status: number | undefined; readonly body: string }> {
  const server = app.listen(0, '127.0.0.1')
  onTestFinished(() => {
    server.close()
  })
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  const sent = request({ port, path, host: '127.0.0.1', headers }).end()
  const [response] = await once(sent, 'response')
  return { status: response.statusCode, body: await text(response) }
}

function textsOf(session: ActiveSession | undefined): readonly string[] {
  return Object.values(session ?? {}).filter((value) => typeof value === 'string')
}
