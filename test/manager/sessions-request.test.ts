import { once } from 'node:events'
import { createServer, request as httpRequest } from 'node:http'
import type { IncomingMessage, Server } from 'node:http'
import { createServer as createTlsServer, request as httpsRequest } from 'node:https'

import { RedisStore, Sessions } from 'koa-user-sessions'
import type { Session } from 'koa-user-sessions'
import { describe, expect, it, onTestFinished } from 'vitest'

import { cookieOf, makeApp, me, storeKinds } from '../support/apps.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'
import { timedStoreKinds } from '../support/time.ts'
import { selfSignedCertificate } from '../support/tls.ts'

const minute = 60_000
const wellFormed = 'A'.repeat(64)

describe.each(storeKinds)('sessions.fromRequest() with a %s', (_, makeStore) => {
  it('M9: finds the session of a plain request by its cookie', async () => {
    const { sessions, visit } = makeApp({}, { store: makeStore() })
    const cookie = cookieOf(await visit('/login'))
    await visit('/write?a=1', cookie)
    const { body } = await visit('/me', cookie)
    const ask = await listen((req) => sessions.fromRequest(req))

    const session = await ask(`theme=dark; ${cookie}`)

    expect(session).toMatchObject({ id: body.id, userName: 'ann', isNew: false })
    expect(session?.getPrivileges()).toEqual(['browse'])
    expect(session?.storage).toEqual({ a: '1' })
    expect(session?.info.IPAddress).toBe('127.0.0.1')
  })

  it('M9: finds the session of an upgrade to a WebSocket', async () => {
    const { sessions, visit } = makeApp({}, { store: makeStore() })
    const cookie = cookieOf(await visit('/login'))

    expect(await upgrade((req) => sessions.fromRequest(req), cookie)).toMatchObject({
      userName: 'ann',
    })
  })

  it('M9: uses the secure name over HTTPS, and when the app says so', async () => {
    const { sessions, app, browser, visit } = makeApp({}, { store: makeStore() })
    app.proxy = true
    const response = await browser().get('/login').set('X-Forwarded-Proto', 'https')
    const secure = cookieOf(response, '__Host-session')
    const plain = cookieOf(await visit('/login?user=bob'))
    const both = `${secure}; ${plain}`
    const https = await listenSecurely((req) => sessions.fromRequest(req))
    const http = await listen((req) => sessions.fromRequest(req))
    const proxied = await listen((req) => sessions.fromRequest(req, { secure: true }))
    const forced = await listenSecurely((req) => sessions.fromRequest(req, { secure: false }))

    const found = [await https(both), await http(both), await proxied(both), await forced(both)]

    expect(found.map((session) => session?.userName)).toEqual(['ann', 'bob', 'ann', 'bob'])
    expect(await https(plain)).toBeNull()
    expect(await http(secure)).toBeNull()
    expect(await proxied(plain)).toBeNull()
    expect(await http(`__Host-${plain}`)).toBeNull()
  })

  it.each([true, false])('M9: uses the name that "secure: %s" forces', async (secure) => {
    const { sessions, app, browser } = makeApp({}, { store: makeStore(), cookie: { secure } })
    app.proxy = true
    const response = await browser().get('/login').set('X-Forwarded-Proto', 'https')
    const cookie = cookieOf(response, secure ? '__Host-session' : 'session')
    const ask = await listen((req) => sessions.fromRequest(req, { secure: !secure }))

    expect(await ask(cookie)).toMatchObject({ userName: 'ann' })
  })

  it('M9: is null without a cookie and with a malformed one, without a store call', async () => {
    const { sessions, store } = makeApp({}, { store: makeStore() })
    const ask = await listen((req) => sessions.fromRequest(req))

    for (const cookie of [
      undefined,
      '',
      ';',
      'theme=dark',
      'session',
      'session=',
      'session=x',
      `session=${wellFormed}A`,
      'session=%00%ff',
      'session=__proto__',
      `xsession=${wellFormed}`,
    ]) {
      expect(await ask(cookie)).toBeNull()
    }
    expect(store.calls).toEqual([])
  })

  it('M9: is null with a cookie that is unknown, ended or rotated out', async () => {
    const { sessions, visit, store, events } = makeApp({}, { store: makeStore() })
    const ended = cookieOf(await visit('/login'))
    await visit('/logout', ended)
    const rotated = cookieOf(await visit('/write?a=1'))
    await visit('/login', rotated)
    const ask = await listen((req) => sessions.fromRequest(req))
    store.calls.length = 0
    const told = events.length

    const found = [await ask(`session=${wellFormed}`), await ask(ended), await ask(rotated)]

    expect(found).toEqual([null, null, null])
    expect(new Set(store.calls)).toEqual(new Set(['load']))
    expect(events.slice(told)).toEqual([])
  })

  it('M9: is null with two live cookies, and emits an event', async () => {
    const { sessions, visit, events } = makeApp({}, { store: makeStore() })
    const [one, two] = [cookieOf(await visit('/login')), cookieOf(await visit('/login'))]
    const ended = cookieOf(await visit('/write?a=1'))
    await visit('/logout', ended)
    const ask = await listen((req) => sessions.fromRequest(req))

    const both = await ask(`${one}; ${two}`)

    expect(both).toBeNull()
    expect(events.at(-1)?.name).toBe('session:ambiguous')
    expect(await ask(`${one}; ${ended}`)).toMatchObject({ userName: 'ann' })
  })

  it('M9: keeps only changes that are saved', async () => {
    const { sessions, visit } = makeApp({}, { store: makeStore() })
    const cookie = cookieOf(await visit('/write?a=1'))
    const ask = await listen((req) => sessions.fromRequest(req))
    const session = await found(ask(cookie))

    session.storage['saved'] = true
    session.idleTimeout = 90
    await session.save()
    session.storage['lost'] = true

    expect((await visit('/me', cookie)).body).toMatchObject({
      storage: { a: '1', saved: true },
      idleTimeout: 90,
    })
    expect(await sessions.storage(session.id)).toEqual({ a: '1', saved: true })
  })

  it('M9: waits in the queue with the blocks of others', async () => {
    const { sessions, visit } = makeApp(
      {
        '/count': ({ session }) =>
          session.use((storage) => {
            storage['count'] = (storage['count'] ?? 0) + 1
          }),
      },
      { store: makeStore() },
    )
    const cookie = cookieOf(await visit('/write?a=1'))
    const ask = await listen((req) => sessions.fromRequest(req))
    const [one, two] = [await found(ask(cookie)), await found(ask(cookie))]

    await Promise.all([
      ...[one, two, one, two].map((session) =>
        session.use((storage) => {
          storage['count'] = (storage['count'] ?? 0) + 1
        }),
      ),
      visit('/count', cookie),
      visit('/count', cookie),
    ])

    expect(await sessions.storage(one.id)).toEqual({ a: '1', count: 6 })
  })

  it('M9: throws ERR_SESSION_ENDED from reload(), save(), use() and touch() after the end', async () => {
    const { sessions, visit } = makeApp({}, { store: makeStore() })
    const cookie = cookieOf(await visit('/login'))
    const ask = await listen((req) => sessions.fromRequest(req))
    const session = await found(ask(cookie))
    await sessions.terminate(session.id)

    session.storage['late'] = 1
    for (const call of [
      () => session.save(),
      () => session.use(() => 1),
      () => session.touch(),
      () => session.postpone(),
      () => session.reload(),
    ]) {
      await expect(call()).rejects.toMatchObject({ code: 'ERR_SESSION_ENDED' })
    }

    expect(await sessions.info(session.id)).toBeNull()
  })

  it('M9: reads again what others have changed', async () => {
    const { sessions, visit } = makeApp({}, { store: makeStore() })
    const cookie = cookieOf(await visit('/login'))
    const ask = await listen((req) => sessions.fromRequest(req))
    const session = await found(ask(cookie))
    await visit('/write?a=1', cookie)
    await sessions.setPrivileges('ann', 'more')

    await session.reload()

    expect(session.storage).toEqual({ a: '1' })
    expect(session.hasPrivilege('more')).toBe(true)
  })

  it('M9: throws ERR_SESSION_HEADERS_SENT for what needs a cookie, and stores nothing', async () => {
    const { sessions, visit, store } = makeApp({}, { store: makeStore() })
    const cookie = cookieOf(await visit('/write?a=1'))
    const { body: before } = await visit('/me', cookie)
    const ask = await listen((req) => sessions.fromRequest(req))
    const session = await found(ask(cookie))
    store.calls.length = 0

    session.setPrivileges({ privileges: 'WebAdmin', userName: 'eve' })
    const saved = session.save()
    await expect(saved).rejects.toMatchObject({ code: 'ERR_SESSION_HEADERS_SENT' })
    await expect(session.regenerate()).rejects.toMatchObject({ code: 'ERR_SESSION_HEADERS_SENT' })
    const calls = [...store.calls]
    session.storage['b'] = 2
    await session.save()

    expect(calls).toEqual([])
    expect(session.userName).toBe('')
    expect((await visit('/me', cookie)).body).toMatchObject({
      id: before.id,
      userName: '',
      privileges: [],
      storage: { a: '1', b: 2 },
    })
  })

  it('M9: takes rights away and ends the session, which need no cookie', async () => {
    const { sessions, visit } = makeApp({}, { store: makeStore() })
    const cookie = cookieOf(await visit('/login'))
    const ask = await listen((req) => sessions.fromRequest(req))
    const session = await found(ask(cookie))

    await session.destroy()

    expect(await sessions.info(session.id)).toBeNull()
    expect((await visit('/me', cookie)).body.userName).toBe('')
  })

  it('M9: rejects with ERR_SESSION_STORE when the store fails, whatever onStoreError says', async () => {
    for (const onStoreError of ['fail', 'guest'] as const) {
      const { sessions, visit, store } = makeApp({}, { store: makeStore(), onStoreError })
      const cookie = cookieOf(await visit('/login'))
      const ask = await listen((req) => sessions.fromRequest(req))
      store.faults.set('load', 'rejects')

      await expect(ask(cookie)).rejects.toMatchObject({ code: 'ERR_SESSION_STORE', status: 503 })
      expect(await ask(undefined)).toBeNull()
    }
  })

  it('K4: has the culture of this request', async () => {
    const { sessions, visit } = makeApp({}, { store: makeStore() })
    const cookie = cookieOf(await visit('/login'))
    const ask = await listen((req) => sessions.fromRequest(req))

    const session = await found(
      ask(cookie, {
        'accept-language': 'fr',
        'x-client-culture': 'de-ch',
        'x-client-utc-offset': '+120',
      }),
    )

    expect(session).toMatchObject({
      clientCulture: 'de-CH',
      clientUICulture: 'fr',
      clientUtcOffset: 120,
    })
  })
})

describe.each(timedStoreKinds)('the activity of fromRequest() with a %s', (_, makeTimed) => {
  it('M9: counts, and so does touch()', async () => {
    const { store, passTime } = makeTimed()
    const { sessions, browser, visit } = makeApp({}, { store })
    const cookie = cookieOf(await visit('/login'))
    const ask = await listen((req) => sessions.fromRequest(req))
    await passTime(55 * minute)
    const session = await found(ask(cookie))
    await passTime(55 * minute)
    const meanwhile = await sessions.info(session.id)

    await session.touch()
    await passTime(55 * minute)

    expect(meanwhile?.state).toBe('sleeping')
    expect(await sessions.info(session.id)).not.toBeNull()
    expect((await me(browser())).isNew).toBe(true)
  })
})

describe('sessions.fromRequest()', () => {
  it('M9: never creates a session', async () => {
    const [redis, prefix] = [connectRedis(), uniquePrefix()]
    const sessions = new Sessions({ store: new RedisStore(redis, { prefix }) })
    const ask = await listen((req) => sessions.fromRequest(req))

    const asked = await Promise.all([ask(undefined), ask(`session=${wellFormed}`), ask('a=b')])

    expect(asked).toEqual([null, null, null])
    expect(await redis.keys(`${prefix}*`)).toEqual([])
  })
})

type Ask = (
  cookie: string | undefined,
  headers?: Readonly<Record<string, string>>,
) => Promise<Session | null>

/** Starts a server without Koa. Each request is answered after its session was looked up. */
async function listen(find: (req: IncomingMessage) => Promise<Session | null>): Promise<Ask> {
  const results: Promise<Session | null>[] = []
  const server = createServer((req, res) => {
    const result = find(req)
    results.push(result)
    result.then(
      () => res.end(),
      () => res.end(),
    )
  })
  const port = await started(server)
  return async (cookie, headers = {}) => {
    const [response] = await once(
      httpRequest({ port, headers: { ...headers, ...(cookie !== undefined && { cookie }) } }).end(),
      'response',
    )
    response.resume()
    return results.pop() ?? null
  }
}

/** The same over HTTPS. */
async function listenSecurely(
  find: (req: IncomingMessage) => Promise<Session | null>,
): Promise<Ask> {
  const { key, cert } = selfSignedCertificate()
  const results: Promise<Session | null>[] = []
  const server = createTlsServer({ key, cert }, (req, res) => {
    results.push(find(req))
    res.end()
  })
  const port = await started(server)
  return async (cookie = '') => {
    const [response] = await once(
      httpsRequest({ port, ca: cert, headers: { cookie } }).end(),
      'response',
    )
    response.resume()
    return results.pop() ?? null
  }
}

/** Requests an upgrade, like a browser for a WebSocket. */
async function upgrade(
  find: (req: IncomingMessage) => Promise<Session | null>,
  cookie: string,
): Promise<Session | null> {
  const results: Promise<Session | null>[] = []
  const server = createServer()
  server.on('upgrade', (req, socket) => {
    results.push(find(req))
    socket.end(
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n',
    )
  })
  const port = await started(server)
  const headers = { cookie, connection: 'Upgrade', upgrade: 'websocket' }
  await once(httpRequest({ port, headers }).end(), 'upgrade')
  return results.pop() ?? null
}

async function started(
  server: Pick<Server, 'listen' | 'close' | 'address' | 'once'>,
): Promise<number> {
  server.listen(0, 'localhost')
  onTestFinished(() => {
    server.close()
  })
  await new Promise((resolve) => {
    server.once('listening', () => resolve(undefined))
  })
  const address = server.address()
  if (typeof address !== 'object' || address === null) throw new Error('no port')
  return address.port
}

async function found(asked: Promise<Session | null>): Promise<Session> {
  const session = await asked
  if (!session) throw new Error('no session')
  return session
}
