import { AsyncLocalStorage } from 'node:async_hooks'
import { execFile } from 'node:child_process'
import { subscribe, tracingChannel, unsubscribe } from 'node:diagnostics_channel'
import { fileURLToPath } from 'node:url'
import { inspect, promisify } from 'node:util'

import type { Middleware } from 'koa'
import {
  MemoryStore,
  requirePrivilege,
  requireSameOrigin,
  requireUser,
  SessionStoreError,
} from 'koa-user-sessions'
import type { RedisClient, SessionEventName, SessionEvents, StoreCall } from 'koa-user-sessions'
import supertest from 'supertest'
import { describe, expect, it, onTestFinished } from 'vitest'

import { newSecret, newSessionId, parseCookieValue } from '../../src/cookie/cookie.ts'
import { sessionKey } from '../../src/store/redis/keys.ts'
import { cookieOf, makeApp, me, setCookies } from '../support/apps.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'
import { changeStored } from '../support/stored-text.ts'
import { audience, issuer, makeKey } from '../support/tokens.ts'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../..', import.meta.url))

const names = [
  'session:created',
  'session:signedIn',
  'session:rotated',
  'session:ended',
  'session:refused',
  'session:ambiguous',
  'session:storeError',
] as const satisfies readonly SessionEventName[]

interface ChannelMessage {
  readonly name: SessionEventName
  readonly event: unknown
}

/** What `diagnostics_channel` publishes from now on. */
function listenToChannels(): readonly ChannelMessage[] {
  const told: ChannelMessage[] = []
  for (const name of names) {
    const listener = (event: unknown): unknown => told.push({ name, event })
    subscribe(`koa-user-sessions:${name}`, listener)
    onTestFinished(() => {
      unsubscribe(`koa-user-sessions:${name}`, listener)
    })
  }
  return told
}

/** A message of the tracing channel, as it was at that moment. */
interface TracedMoment {
  readonly moment: 'start' | 'end' | 'asyncStart' | 'asyncEnd' | 'error'
  /** The same object at all moments of a call. */
  readonly call: StoreCall
  readonly told: StoreCall
}

/** What the tracing channel publishes about store calls from now on. */
function listenToStore(): readonly TracedMoment[] {
  const told: TracedMoment[] = []
  const listenerFor =
    (moment: TracedMoment['moment']) =>
    (call: StoreCall): unknown =>
      told.push({ moment, call, told: { ...call } })
  const listeners = {
    start: listenerFor('start'),
    end: listenerFor('end'),
    asyncStart: listenerFor('asyncStart'),
    asyncEnd: listenerFor('asyncEnd'),
    error: listenerFor('error'),
  }
  const channel = tracingChannel<unknown, StoreCall>('koa-user-sessions:store')
  channel.subscribe(listeners)
  onTestFinished(() => {
    channel.unsubscribe(listeners)
  })
  return told
}

describe('listeners', () => {
  it('M10: are all called, and no longer after off()', async () => {
    const { sessions, browser } = makeApp()
    const told: string[] = []
    const one = ({ id }: SessionEvents['session:created']): unknown => told.push(`one ${id}`)
    const two = ({ id }: SessionEvents['session:created']): unknown => told.push(`two ${id}`)

    expect(sessions.on('session:created', one)).toBe(sessions)
    sessions.on('session:created', two)
    const client = browser()
    await client.get('/write?a=1')
    const { id } = await me(client)
    expect(told).toEqual([`one ${id}`, `two ${id}`])

    expect(sessions.off('session:created', one)).toBe(sessions)
    sessions.off('session:signedIn', two)
    await browser().get('/write?a=1')
    expect(told).toHaveLength(3)
    expect(told[2]).toMatch(/^two /)
  })

  it('M10: hear nothing of another Sessions', async () => {
    const { browser } = makeApp()
    const other = makeApp()

    await browser().get('/write?a=1')

    expect(other.events).toEqual([])
  })

  it('M10: hear the same as diagnostics_channel, in the same order', async () => {
    const told = listenToChannels()
    const { browser, events } = makeApp()
    const client = browser()

    await client.get('/write?a=1')
    await client.get('/login?user=ann')
    await client.get('/login?user=bob')
    await client.get('/logout')

    expect(told).toEqual(events)
    expect(told.map(({ name }) => name).toSorted()).toEqual([
      'session:created',
      'session:created',
      'session:ended',
      'session:ended',
      'session:rotated',
      'session:signedIn',
      'session:signedIn',
    ])
  })

  it('M10: get plain facts, not live objects', async () => {
    const { sessions, browser } = makeApp()
    const told: SessionEvents['session:created'][] = []
    sessions.on('session:created', (event) => told.push(event))

    await browser().get('/login?user=ann')

    expect(told).toEqual([{ id: expect.any(String), userName: 'ann' }])
    expect(structuredClone(told)).toEqual(told)
  })
})

describe('the events', () => {
  it('M10: do not fire for requests that change nothing', async () => {
    const { browser, visit, events } = makeApp()
    const client = browser()
    await client.get('/write?a=1')
    const before = events.length

    await client.get('/me')
    await client.get('/write?a=1')
    await visit('/me')
    await visit('/logout')
    await visit('/me', `session=${newSecret(newSessionId()).value}`)
    await visit('/me', 'session=malformed')

    expect(before).toBe(1)
    expect(events).toHaveLength(1)
  })

  it('M10: session:created, once for each session', async () => {
    const { browser, events } = makeApp()
    const client = browser()

    await client.get('/write?a=1')
    await client.get('/write?a=2')
    const { id } = await me(client)

    expect(events).toEqual([{ name: 'session:created', event: { id, userName: '' } }])
  })

  it('M10: session:signedIn, with the user name', async () => {
    const { browser, events } = makeApp()
    const client = browser()

    await client.get('/login?user=ann')
    const { id } = await me(client)

    expect(events).toEqual([
      { name: 'session:created', event: { id, userName: 'ann' } },
      { name: 'session:signedIn', event: { id, userName: 'ann' } },
    ])
  })

  it('M10: session:rotated, whenever the cookie gets a new secret', async () => {
    const { browser, events } = makeApp({
      '/regenerate': ({ session }) => session.regenerate(),
      '/more': ({ session }) => session.setPrivileges('audit'),
      '/less': ({ session }) => session.clearPrivileges(),
    })
    const client = browser()
    await client.get('/write?a=1')
    const { id } = await me(client)
    const rotated = { name: 'session:rotated', event: { id } }
    const before = events.length

    await client.get('/regenerate')
    await client.get('/login?user=ann')
    await client.get('/more')
    await client.get('/less')

    expect(events.slice(before)).toEqual([
      rotated,
      rotated,
      { name: 'session:signedIn', event: { id, userName: 'ann' } },
      rotated,
      rotated,
    ])
  })

  it.each([
    ['/logout', 'destroyed'],
    ['/destroy', 'destroyed'],
    ['/login?user=bob', 'replaced'],
  ])('M10: session:ended, after %s with the reason %s', async (path, reason) => {
    const { browser, events } = makeApp({ '/destroy': ({ session }) => session.destroy() })
    const client = browser()
    await client.get('/login?user=ann')
    const { id } = await me(client)

    await client.get(path)

    expect(events.filter(({ name }) => name === 'session:ended')).toEqual([
      { name: 'session:ended', event: { id, reason } },
    ])
  })

  it('M10: session:ended, once for the request whose session is gone', async () => {
    const { visit, events, errors } = makeApp({
      '/late': async (ctx, app) => {
        ctx.session.storage.late = 1
        await app.visit('/logout', ctx.req.headers.cookie)
        await expect(ctx.session.save()).rejects.toMatchObject({ code: 'ERR_SESSION_ENDED' })
        await expect(ctx.session.reload()).rejects.toMatchObject({ code: 'ERR_SESSION_ENDED' })
      },
    })
    const cookie = cookieOf(await visit('/login?user=ann'))
    const { id } = (await visit('/me', cookie)).body

    const response = await visit('/late', cookie)

    expect(errors).toEqual([])
    expect(response.status).toBe(200)
    expect(events.slice(2)).toEqual([
      { name: 'session:ended', event: { id, reason: 'destroyed' } },
      { name: 'session:ended', event: { id, reason: 'gone' } },
    ])
  })

  it('M10: session:ambiguous, with the ids of the sessions', async () => {
    const { visit, events } = makeApp()
    const ann = cookieOf(await visit('/login?user=ann'))
    const bob = cookieOf(await visit('/login?user=bob'))
    const ids = events.filter(({ name }) => name === 'session:created').map(({ event }) => event)

    const response = await visit('/me', `${ann}; ${bob}`)

    expect(response.body.isNew).toBe(true)
    expect(events.at(-1)).toEqual({
      name: 'session:ambiguous',
      event: { ids: ids.map((event) => Reflect.get(event, 'id')) },
    })
  })

  it('M10: session:refused, with the code, and with the id of a stored session', async () => {
    const { app, browser, events } = makeApp()
    const denied: string[] = []
    const guards: Record<string, Middleware> = {
      '/user': requireUser(),
      '/admin': requirePrivilege('WebAdmin', { onDenied: (_, { code }) => denied.push(code) }),
      '/form': requireSameOrigin(),
    }
    app.use((ctx, next) => guards[ctx.path]?.(ctx, next))
    const [guest, ann] = [browser(), browser()]
    await ann.get('/login?user=ann')
    const { id } = await me(ann)
    const before = events.length

    await guest.get('/user').expect(401)
    await ann.get('/admin').expect(404)
    const stranger = await guest.post('/form').set('Sec-Fetch-Site', 'cross-site').expect(403)
    await ann.post('/form').set('Sec-Fetch-Site', 'cross-site').expect(403)
    await ann.get('/user').expect(404)
    await ann.post('/form').set('Sec-Fetch-Site', 'same-origin').expect(404)

    expect(events.slice(before)).toEqual(
      [
        { userName: '', code: 'ERR_SESSION_GUEST' },
        { id, userName: 'ann', code: 'ERR_SESSION_PRIVILEGE' },
        { userName: '', code: 'ERR_SESSION_CROSS_SITE' },
        { id, userName: 'ann', code: 'ERR_SESSION_CROSS_SITE' },
      ].map((event) => ({ name: 'session:refused', event })),
    )
    expect(denied).toEqual(['ERR_SESSION_PRIVILEGE'])
    expect(stranger.headers['vary']).toBeUndefined()
  })

  it('M10: session:refused, for a bad bearer token, and not for a fault', async () => {
    const key = makeKey('HS256')
    const tokens = { keys: [key.option], issuer, audience }
    const { app, visit, store, events } = makeApp({}, { tokens, privilegedTypes: ['remote'] })
    app.use(requireUser())
    const request = supertest(app.callback())
    const cookie = `session=${newSecret(newSessionId()).value}`
    store.faults.set('load', 'rejects')

    await request.get('/').auth('no.good.token', { type: 'bearer' }).expect(401)
    expect((await visit('/', cookie)).status).toBe(503)

    expect(events).toEqual([
      { name: 'session:refused', event: { userName: '', code: 'ERR_SESSION_TOKEN' } },
      { name: 'session:storeError', event: expect.anything() },
    ])
  })

  it('M10: session:refused, for a cross-site request whose session cannot be loaded', async () => {
    const { app, store, events } = makeApp()
    app.use(requireSameOrigin())
    const cookie = `session=${newSecret(newSessionId()).value}`
    store.faults.set('load', 'rejects')

    const request = supertest(app.callback()).post('/').set('Cookie', cookie)
    await request.set('Origin', 'https://evil.example').expect(403)

    expect(events.at(-1)).toEqual({
      name: 'session:refused',
      event: { userName: '', code: 'ERR_SESSION_CROSS_SITE' },
    })
  })

  it('M6, M10: session:refused, for a sign-in over maxSessions', async () => {
    const { browser, sessions, events } = makeApp(
      {},
      {
        maxSessions: { perUser: 1, onExceed: 'refuse' },
        tokens: { keys: [makeKey('HS256').option], issuer, audience },
        privilegedTypes: ['web', 'remote'],
      },
    )
    await browser().get('/login?user=ann').expect(200)
    const guest = browser()
    await guest.get('/write?a=1')
    const { id } = await me(guest)
    const before = events.length

    await browser().get('/login?user=ann').expect(403)
    await guest.get('/login?user=ann').expect(403)
    const open = sessions.open({ userName: 'ann', applicationId: 'cli' })
    await expect(open).rejects.toMatchObject({ code: 'ERR_SESSION_LIMIT' })

    const refused = { userName: 'ann', code: 'ERR_SESSION_LIMIT' }
    expect(events.slice(before)).toEqual(
      [refused, { id, ...refused }, refused].map((event) => ({ name: 'session:refused', event })),
    )
  })

  it.each(['load', 'create', 'commit', 'destroy'] as const)(
    'M10: session:storeError, with the operation %s and the error',
    async (operation) => {
      const { visit, store, events } = makeApp({ '/touch': ({ session }) => session.touch() })
      const cookie = cookieOf(await visit('/login?user=ann'))
      const before = events.length
      store.faults.set(operation, 'rejects')

      await visit('/write?a=1')
      await visit('/write?a=1', cookie)
      await visit('/touch', cookie)
      await visit('/logout', cookie)

      const told = events.slice(before).filter(({ name }) => name === 'session:storeError')
      expect(told.length).toBeGreaterThan(0)
      expect(told[0]?.event).toEqual({ operation, error: expect.any(SessionStoreError) })
    },
  )

  it('M10: session:storeError, for a stored value that is not JSON', async () => {
    const prefix = uniquePrefix()
    const redis = connectRedis()
    const { browser, events } = makeApp({}, { redis, prefix })
    const client = browser()
    await client.get('/write?a=1')
    const { id } = await me(client)
    await changeStored(redis, sessionKey(prefix, id), (session) => {
      const storage = new Map([['a', 'S3CRET, no JSON']])
      return { ...session, record: { ...session.record, storage } }
    })

    const view = await me(client)

    expect(view.storage).toEqual({})
    expect(events.at(-1)).toEqual({
      name: 'session:storeError',
      event: { operation: 'load', id },
    })
    expect(inspect(events)).not.toContain('S3CRET')
  })
})

describe('the tracing channel of the store', () => {
  it('M10: reports each call in the order of tracePromise(), with one message', async () => {
    const told = listenToStore()
    const { browser, sessions } = makeApp()
    const client = browser()

    await client.get('/write?a=1')
    const { id } = await me(client)
    await sessions.list('ann')

    const messages = [{ operation: 'create', id }, { operation: 'load', id }, { operation: 'list' }]
    expect(told.map(({ moment, told: message }) => [moment, message])).toEqual(
      messages.flatMap((message) =>
        ['start', 'end', 'asyncStart', 'asyncEnd'].map((moment) => [moment, message]),
      ),
    )
    expect(new Set(told.map(({ call }) => call)).size).toBe(3)
  })

  it('M10: reports a failure, with the error of the event', async () => {
    const told = listenToStore()
    const { visit, store, events } = makeApp()
    store.faults.set('create', 'rejects')

    await visit('/write?a=1')

    expect(told.map(({ moment }) => moment)).toEqual([
      'start',
      'end',
      'error',
      'asyncStart',
      'asyncEnd',
    ])
    const { error } = told[2]!.told
    expect(error).toBeInstanceOf(SessionStoreError)
    expect(events.map(({ event }) => Reflect.get(event, 'error'))).toEqual([error])
  })

  it('M10: keeps a store bound to its start for the time of the call', async () => {
    const { start } = tracingChannel<string, StoreCall>('koa-user-sessions:store')
    const operation = new AsyncLocalStorage<string>()
    start.bindStore(operation, ({ operation: name }) => name)
    onTestFinished(() => {
      start.unbindStore(operation)
    })
    const seen: (string | undefined)[] = []
    const memory = new MemoryStore()
    const load: MemoryStore['load'] = memory.load.bind(memory)
    memory.load = async (...args) => {
      await Promise.resolve()
      seen.push(operation.getStore())
      return load(...args)
    }
    const { visit } = makeApp({}, { store: memory })

    await visit('/me', cookieOf(await visit('/write?a=1')))

    expect(seen).toEqual(['load'])
    expect(operation.getStore()).toBeUndefined()
  })
})

describe('what events show', () => {
  it('H2: contain no secret and nothing stored, throughout a whole session', async () => {
    const told = listenToChannels()
    const calls = listenToStore()
    const redis = failingRedis()
    const { app, sessions, browser, visit, events, errors } = makeApp(
      {
        '/secret': ({ session }) => {
          session.storage.card = 'S3CRET'
          session.storage.list = ['S3CRET', { name: 'S3CRET' }]
        },
        '/bad': ({ session }) => {
          session.storage.card = new Map([['S3CRET', 'S3CRET']])
        },
        '/broken': ({ session }) => {
          session.storage.list.push({ card: 'S3CRET', bad: 10n })
        },
        '/regenerate': ({ session }) => session.regenerate(),
      },
      { redis, prefix: uniquePrefix() },
    )
    app.use(requirePrivilege('WebAdmin'))
    const client = browser()
    const values: string[] = []
    const go = async (path: string): Promise<void> => {
      const cookies = setCookies(await client.get(path)).join()
      values.push(...Array.from(cookies.matchAll(/session=([\w-]+)/g), ([, value = '']) => value))
    }

    await go('/secret')
    await go('/login?user=ann')
    await go('/bad')
    await go('/broken')
    await go('/regenerate')
    await go('/guarded')
    const { id } = await me(client)
    await sessions.storage(id)
    await sessions.info(id)
    await sessions.list('ann')
    await visit('/me', `session=${values.at(-1)}; ${cookieOf(await visit('/login?user=eve'))}`)
    redis.fails = true
    await go('/secret')
    await visit('/secret')
    redis.fails = false
    await go('/login?user=bob')
    await go('/logout')

    const seen = new Set(told.map(({ name }) => name))
    expect([...seen].toSorted()).toEqual(names.toSorted())
    expect(errors.length).toBeGreaterThanOrEqual(4)
    expect(values).toHaveLength(4)
    const hashes = values.map((value) => parseCookieValue(value)?.secretHash ?? '')
    const moments = new Set(calls.map(({ moment }) => moment))
    expect([...moments]).toEqual(['start', 'end', 'asyncStart', 'asyncEnd', 'error'])
    const operations = ['create', 'load', 'commit', 'list', 'destroy']
    expect(calls.map(({ told: { operation } }) => operation)).toEqual(
      expect.arrayContaining(operations),
    )
    const shown = inspect([told, calls, events, errors], { depth: Infinity, showHidden: true })
    for (const hidden of ['S3CRET', ...values, ...hashes]) {
      expect(shown).not.toContain(hidden)
    }
  })
})

// Enough for a process that compiles the sources on a busy machine.
describe('a listener that throws', { timeout: 60_000 }, () => {
  it('M10: raises an uncaught exception, without an effect on the request', async () => {
    const { stdout } = await run(
      ...nodeScript(`
      process.on('uncaughtException', (error) => faults.push(error.message))
      sessions.on('session:created', () => { throw new Error('of a listener') })
      subscribe('koa-user-sessions:session:created', () => { throw new Error('of a channel') })
      await report()
    `),
    )

    expect(JSON.parse(stdout)).toEqual({
      status: 200,
      text: 'served',
      hasCookie: true,
      isStored: true,
      faults: expect.arrayContaining(['of a listener', 'of a channel']),
    })
  })

  it('M10: ends a process that does not handle the exception, as anywhere in Node', async () => {
    const script = nodeScript(`
      sessions.on('session:created', () => { throw new Error('of a listener') })
      await report()
    `)

    await expect(run(...script)).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('of a listener'),
    })
  })
})

/** A program with an app, in which `report()` requests a page that stores a session. */
function nodeScript(body: string): [string, string[], { cwd: string }] {
  const program = `
    import { subscribe } from 'node:diagnostics_channel'
    import { once } from 'node:events'
    import Koa from 'koa'
    import { MemoryStore, session, Sessions } from './src/index.ts'

    const faults = []
    const sessions = new Sessions({ store: new MemoryStore() })
    const app = new Koa()
    app.use(session(sessions))
    app.use((ctx) => {
      ctx.session.storage.visits = (ctx.session.storage.visits ?? 0) + 1
      ctx.body = ctx.session.storage.visits === 1 ? 'served' : 'stored'
    })
    async function report() {
      const server = app.listen(0, '127.0.0.1')
      await once(server, 'listening')
      const url = 'http://127.0.0.1:' + server.address().port
      const first = await fetch(url)
      const cookie = first.headers.get('set-cookie')
      const again = await fetch(url, { headers: { cookie: cookie.split(';')[0] } })
      const isStored = (await again.text()) === 'stored'
      const { status } = first
      console.log(JSON.stringify({
        status, text: await first.text(), hasCookie: cookie !== null, isStored, faults,
      }))
      server.close()
      server.closeAllConnections()
    }
    ${body}
  `
  const args = ['--import', 'tsx', '--input-type=module', '--eval', program]
  return [process.execPath, args, { cwd: root }]
}

/** A client that fails on demand with errors like those of ioredis: with the whole command in them. */
function failingRedis(): RedisClient & { fails: boolean } {
  const redis = connectRedis()
  const ask = async <T>(
    name: string,
    args: readonly unknown[],
    send: () => Promise<T>,
  ): Promise<T> => {
    if (!client.fails) return send()
    const error = new Error('ERR out of luck')
    throw Object.assign(error, { name: 'ReplyError', command: { name, args } })
  }
  const client: RedisClient & { fails: boolean } = {
    fails: false,
    get: (key) => ask('get', [key], () => redis.get(key)),
    getrange: (...args) => ask('getrange', args, () => redis.getrange(...args)),
    evalsha: (...args) => ask('evalsha', args, () => redis.evalsha(...args)),
    eval: (...args) => redis.eval(...args),
  }
  return client
}
