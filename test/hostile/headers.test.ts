import { isIP } from 'node:net'
import type * as util from 'node:util'

import { requirePrivilege, requireSameOrigin, requireUser } from 'koa-user-sessions'
import type { SessionsOptions } from 'koa-user-sessions'
import { sessionRoutes } from 'koa-user-sessions/routes'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { clientTexts } from '../../src/client/description.ts'
import { read } from '../store/contract-parts.ts'
import { cookieOf, makeApp, recordWarnings, storeKinds } from '../support/apps.ts'
import type { Handler, TestApp } from '../support/apps.ts'
import { makeKey, tokensWith } from '../support/tokens.ts'
import { hostileValues, readHeaders } from './inputs.ts'
import { prototypes } from './prototypes.ts'
import { exchange, requestText } from './wire.ts'
import type { Reply } from './wire.ts'

const debugLines: string[] = vi.hoisted(() => [])

// As with NODE_DEBUG, which Node reads when it starts.
vi.mock('node:util', async (load) => {
  const original = await load<typeof util>()
  const debuglog =
    () =>
    (...values: unknown[]): void =>
      void debugLines.push(original.format(...values))
  return { ...original, debuglog }
})

const inside = (ctx: { body: unknown }) => async (): Promise<void> => void (ctx.body = 'inside')
const admins = requirePrivilege('WebAdmin')
const users = requireUser()
const ours = requireSameOrigin({ trustedOrigins: ['https://app.example.com'] })
const handlers: Readonly<Record<string, Handler>> = {
  '/admin': (ctx) => admins(ctx, inside(ctx)),
  '/user': (ctx) => users(ctx, inside(ctx)),
  '/ours': (ctx) => ours(ctx, inside(ctx)),
  '/culture': (ctx) => {
    const { clientCulture, clientUICulture, clientUtcOffset, storage } = ctx.session
    storage['culture'] = { clientCulture, clientUICulture, clientUtcOffset }
  },
}

const unknownId = '01234567-89ab-4cde-8f01-23456789abcd'
const targets = [
  ['GET', '/write?a=1'],
  ['GET', '/login?user=eve'],
  ['GET', '/culture'],
  ['GET', '/admin'],
  ['POST', '/user'],
  ['POST', '/ours'],
  ['GET', '/sessions'],
  ['DELETE', '/sessions'],
  ['DELETE', `/sessions/${unknownId}`],
  ['GET', `/sessions/${unknownId}/info`],
] as const

const key = makeKey('HS256')
const modes: readonly (readonly [string, SessionsOptions, isProxied: boolean])[] = [
  ['without tokens', {}, false],
  [
    'with tokens and behind a proxy',
    { tokens: tokensWith(key), privilegedTypes: ['web', 'rest', 'remote'] },
    true,
  ],
]

function makeHostileApp(options: SessionsOptions, isProxied = false): TestApp {
  const testApp = makeApp(handlers, { ...options, locate: () => ({ country: 'CH' }) })
  testApp.app.proxy = isProxied
  testApp.app.use(sessionRoutes(testApp.sessions).routes())
  return testApp
}

/** Requests every route with each value in turn; returns the replies by value. */
async function ask(
  { app }: TestApp,
  headersOf: (value: string) => string,
): Promise<readonly (readonly [what: string, replies: Reply[]])[]> {
  const replies: [string, Reply[]][] = []
  for (const [what, value] of hostileValues) {
    const requests = targets.map(([method, path]) => requestText(method, path, headersOf(value)))
    replies.push([what, await exchange(app, requests)])
  }
  return replies
}

/** Expects one response per route for each value, and only responses that a client may get. */
function expectAnswers(replies: Awaited<ReturnType<typeof ask>>, { errors }: TestApp): void {
  const wrong = replies.filter(
    ([, all]) =>
      all.length !== targets.length ||
      all.some(({ status }) => ![200, 204, 400, 401, 403, 404].includes(status)),
  )
  expect(wrong.map(([what, all]) => [what, all.map(({ status }) => status)])).toEqual([])
  const statuses = errors.map((error) => Reflect.get(Object(error), 'status'))
  expect(statuses.filter((status) => !(status < 500))).toEqual([])
}

/** Expects that the stored data of all new clients is short and has no character that hides others. */
async function expectShortRecords({ store, events }: TestApp): Promise<void> {
  const ids = events
    .filter(({ name }) => name === 'session:created')
    .map(({ event }) => String(Reflect.get(event, 'id')))
  const records = await Promise.all(ids.map((id) => read(store, id)))
  const wrong = records.flatMap((record): (readonly string[])[] => {
    if (!record) return [['no record']]
    const texts = clientTexts.map((name) => record.client[name])
    const isAddress = record.ip === '' || isIP(record.ip) > 0
    return isAddress && [record.ip, ...texts].every(isShown) ? [] : [[record.ip, ...texts]]
  })
  expect(records.length).toBeGreaterThan(hostileValues.length)
  expect(wrong).toEqual([])
}

function isShown(text: string): boolean {
  return Buffer.byteLength(text) <= 64 && !/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(text)
}

describe.each(modes)('hostile headers, %s', (_mode, options, isProxied) => {
  it.each(readHeaders)('H1: cause no 5xx and store nothing long: %s', async (name) => {
    const testApp = makeHostileApp(options, isProxied)
    const { messages, stop } = recordWarnings()
    onTestFinished(stop)
    const before = prototypes()
    debugLines.length = 0

    const replies = await ask(testApp, (value) => `${name}: ${value}`)

    expectAnswers(replies, testApp)
    const isRefused = name === 'Authorization' && options.tokens !== undefined
    if (!isRefused) await expectShortRecords(testApp)
    expect([...debugLines, ...messages].filter((line) => /[\r\n]/.test(line))).toEqual([])
    expect(prototypes()).toEqual(before)
  })

  it('H1: cause no 5xx when sent twice or without a value', async () => {
    const testApp = makeHostileApp(options, isProxied)
    const headers = readHeaders.filter((name) => name !== 'Host')

    const replies = await ask(testApp, (value) => {
      const short = value.slice(0, 200)
      return headers.map((name) => `${name}: ${short}\r\n${name}:`).join('\r\n')
    })

    expectAnswers(replies, testApp)
  })
})

describe.each(storeKinds)('hostile headers, on %s', (_, makeStore) => {
  it('H1: store nothing long when all of them have the same value', async () => {
    const testApp = makeHostileApp({ store: makeStore() })

    const replies = await ask(testApp, (value) => {
      const short = value.slice(0, 700)
      return readHeaders.map((name) => `${name}: ${short}`).join('\r\n')
    })

    expectAnswers(replies, testApp)
    await expectShortRecords(testApp)
  })

  it('H1: keep an existing session, and never open it to another client', async () => {
    const testApp = makeHostileApp({ store: makeStore() })
    const cookie = cookieOf(await testApp.visit('/login?user=ann&privileges=WebAdmin'))

    for (const [, value] of hostileValues) {
      const lines = readHeaders
        .filter((name) => name !== 'Host' && name !== 'Origin' && name !== 'Sec-Fetch-Site')
        .map((name) => `${name}: ${value.slice(0, 700)}`)
        .join('\r\n')
      const [own, others] = await exchange(testApp.app, [
        requestText('GET', '/admin', `Cookie: ${cookie}\r\n${lines}`),
        requestText('GET', '/admin', lines),
      ])
      expect([own?.status, others?.status]).toEqual([200, 401])
    }
  })

  it('H1: never make a cross-site request count as same-origin', async () => {
    const testApp = makeHostileApp({ store: makeStore() })
    const refused: string[] = []

    for (const [what, value] of hostileValues) {
      const [byOrigin, bySite] = await exchange(testApp.app, [
        requestText('POST', '/ours', `Origin: ${value}`),
        requestText('POST', '/ours', `Sec-Fetch-Site: ${value}`),
      ])
      if (byOrigin?.status === 403 && bySite?.status === 403) refused.push(what)
    }

    expect(refused).toEqual(hostileValues.map(([what]) => what))
  })
})

describe('debug output', () => {
  it('H1, H2: is one line for each request, without the cookie, whatever the request contains', async () => {
    const testApp = makeApp({
      '/echo': (ctx) => {
        ctx.set('Cache-Control', ctx.get('User-Agent').slice(0, 200))
        ctx.session.storage['a'] = 1
      },
    })
    const ann = cookieOf(await testApp.visit('/login?user=ann'))
    const eve = cookieOf(await testApp.visit('/login?user=eve'))
    debugLines.length = 0

    for (const [, value] of hostileValues) {
      const line = `User-Agent: ${value}`
      await exchange(testApp.app, [
        requestText('GET', '/echo', line),
        requestText('GET', '/me', `Cookie: ${ann}; ${eve}; x=${value.slice(0, 200)}`),
      ])
    }
    testApp.store.faults.set('create', 'rejects')
    await exchange(testApp.app, [requestText('GET', '/write?a=1', 'User-Agent: %s%d%j')])

    expect(debugLines.length).toBeGreaterThan(hostileValues.length)
    expect(debugLines.filter((line) => /[\r\n]/.test(line))).toEqual([])
    expect(debugLines.join('\n')).not.toContain(ann.slice('session='.length))
    expect(debugLines.join('\n')).not.toContain(eve.slice('session='.length))
  })
})

describe('the work for a hostile header', () => {
  it.each(['Accept-Language', 'X-Client-Culture', 'X-Client-UI-Culture'])(
    'H1: does not grow with its length: %s',
    async (name) => {
      const asked = vi.spyOn(Intl, 'getCanonicalLocales')
      onTestFinished(() => asked.mockRestore())
      const testApp = makeHostileApp({})
      const counts: number[] = []

      for (const size of [1000, 2000, 4000, 8000, 15_000]) {
        const before = asked.mock.calls.length
        // Has the form of a tag, but is refused: the most expensive case.
        const value = 'aa-aa-aa,'.repeat(size / 9)
        const [reply] = await exchange(testApp.app, [
          requestText('GET', '/culture', `${name}: ${value}`),
        ])
        expect(reply?.status).toBe(200)
        counts.push(asked.mock.calls.length - before)
      }

      expect(Math.max(...counts)).toBeLessThanOrEqual(250)
      expect(counts.at(-1)).toBeLessThanOrEqual(counts[0] ?? 0)
    },
  )
})
