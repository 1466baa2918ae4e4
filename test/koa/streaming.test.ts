import { once } from 'node:events'
import { request } from 'node:http'
import type { IncomingMessage } from 'node:http'

import Koa from 'koa'
import type { Context } from 'koa'
import { MemoryStore, RedisStore, session, SessionError, Sessions } from 'koa-user-sessions'
import type { SessionStore } from 'koa-user-sessions'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { read } from '../store/contract-parts.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'

/** What needs a cookie, and the kind of session that needs it. */
const needsCookie: readonly (readonly [
  string,
  'stored' | 'new',
  (ctx: Context) => Promise<void>,
])[] = [
  [
    'setPrivileges() and save()',
    'stored',
    async ({ session }) => {
      session.setPrivileges({ privileges: 'admin', userName: 'ann' })
      await session.save()
    },
  ],
  ['regenerate()', 'stored', ({ session }) => session.regenerate()],
  [
    'the first save() of a guest',
    'new',
    async ({ session }) => {
      session.storage['color'] = 'red'
      await session.save()
    },
  ],
  [
    'the first use() of a guest',
    'new',
    ({ session }) =>
      session.use((storage) => {
        storage['color'] = 'red'
      }),
  ],
  [
    'setPrivileges() in use()',
    'stored',
    ({ session }) =>
      session.use(() => {
        session.setPrivileges({ privileges: 'admin', userName: 'ann' })
      }),
  ],
]

const harmless: ReadonlySet<string> = new Set(['load', 'lock'])

const storeKinds: readonly (readonly [string, () => SessionStore])[] = [
  ['MemoryStore', () => new MemoryStore()],
  ['RedisStore', () => new RedisStore(connectRedis(), { prefix: uniquePrefix() })],
]

describe('a stream of events', () => {
  it.each(storeKinds)('saves storage while it streams (L9): %s', async (_name, makeStore) => {
    const { store } = observed(makeStore())
    const steps: (() => void)[] = []
    const server = await serve(store, async (ctx) => {
      startStream(ctx)
      for (const step of [1, 2, 3]) {
        await new Promise<void>((resolve) => steps.push(resolve))
        ctx.session.storage[`step${step}`] = step
        await ctx.session.save()
        await ctx.session.use((storage) => {
          storage['sum'] = Number(storage['sum'] ?? 0) + step
        })
        ctx.res.write(`data: ${step}\n\n`)
      }
      ctx.res.end()
    })
    const cookie = await server.signUp()
    const stream = await server.open(cookie)
    const events = stream[Symbol.asyncIterator]()
    expect(String((await events.next()).value)).toBe('data: 0\n\n')

    for (const [index, sum] of [1, 3, 6].entries()) {
      await vi.waitFor(() => expect(steps).toHaveLength(index + 1))
      steps[index]?.()
      expect(String((await events.next()).value)).toBe(`data: ${index + 1}\n\n`)
      expect(await server.storageOf(cookie)).toMatchObject({ [`step${index + 1}`]: index + 1, sum })
    }

    expect((await events.next()).done).toBe(true)
    expect(stream.headers['set-cookie']).toBeUndefined()
    expect(server.errors).toEqual([])
  })

  it('saves after its middleware has returned (L9)', async () => {
    const { store } = observed(new MemoryStore())
    let goOn: (() => void) | undefined
    const server = await serve(store, (ctx) => {
      startStream(ctx)
      const { session } = ctx
      const stopped = new Promise<void>((resolve) => {
        goOn = resolve
      })
      const goesOn = async (): Promise<void> => {
        await stopped
        session.storage['late'] = 1
        await session.save()
        ctx.res.end()
      }
      void goesOn()
    })
    const cookie = await server.signUp()
    const stream = await server.open(cookie)
    await server.storageOf(cookie)

    goOn?.()
    await textOf(stream)

    expect(await server.storageOf(cookie)).toEqual({ made: true, late: 1 })
  })

  it('keeps saving storage after a grant that came too late (L9)', async () => {
    const { store } = observed(new MemoryStore())
    const codes: unknown[] = []
    const server = await serve(store, async (ctx) => {
      startStream(ctx)
      ctx.session.setPrivileges('admin')
      await ctx.session.save().catch((error: { code?: unknown }) => codes.push(error.code))
      ctx.session.storage['late'] = ctx.session.isGuest()
      await ctx.session.save()
      ctx.res.end()
    })
    const cookie = await server.signUp()

    await textOf(await server.open(cookie))

    expect(codes).toEqual(['ERR_SESSION_HEADERS_SENT'])
    expect(server.errors).toEqual([])
    expect(await server.storageOf(cookie)).toEqual({ made: true, late: true })
  })

  it('saves the remaining changes at the end of its handler (L9, L6)', async () => {
    const { store } = observed(new MemoryStore())
    const server = await serve(store, (ctx) => {
      startStream(ctx)
      ctx.session.storage['late'] = 1
      ctx.res.end()
    })
    const cookie = await server.signUp()

    await textOf(await server.open(cookie))

    await vi.waitFor(async () => {
      expect(await server.storageOf(cookie)).toEqual({ made: true, late: 1 })
    })
  })
})

describe.each(needsCookie)('%s after the headers', (_name, kind, work) => {
  it('throws ERR_SESSION_HEADERS_SENT and stores nothing (L9)', async () => {
    const { store, writes } = observed(new MemoryStore())
    let failure: unknown
    const server = await serve(store, async (ctx) => {
      startStream(ctx)
      try {
        await work(ctx)
      } catch (error) {
        failure = error
      }
      ctx.res.write('data: 1\n\n')
      ctx.res.end()
    })
    const cookie = kind === 'stored' ? await server.signUp() : undefined
    writes.length = 0

    const text = await textOf(await server.open(cookie))

    expect(text).toBe('data: 0\n\ndata: 1\n\n')
    expect(failure).toBeInstanceOf(SessionError)
    expect(failure).toMatchObject({ code: 'ERR_SESSION_HEADERS_SENT' })
    expect(writes).toEqual([])
    if (cookie !== undefined) expect(await server.storageOf(cookie)).toEqual({ made: true })
  })

  it('ends the response when the handler does not catch it (L9)', async () => {
    const { store, writes } = observed(new MemoryStore())
    const server = await serve(store, async (ctx) => {
      startStream(ctx)
      await work(ctx)
      ctx.res.write('data: 1\n\n')
    })
    const cookie = kind === 'stored' ? await server.signUp() : undefined
    writes.length = 0

    const text = await textOf(await server.open(cookie))

    expect(text).toBe('data: 0\n\n')
    expect(server.errors).toMatchObject([{ code: 'ERR_SESSION_HEADERS_SENT' }])
    expect(writes).toEqual([])
  })

  it('ends the response when the handler has flushed the headers of a body (L9)', async () => {
    const { store, writes } = observed(new MemoryStore())
    const server = await serve(store, async (ctx) => {
      ctx.status = 200
      ctx.flushHeaders()
      ctx.body = 'a body'
      await work(ctx)
    })
    const cookie = kind === 'stored' ? await server.signUp() : undefined
    writes.length = 0

    const response = await server.open(cookie)
    await textOf(response)

    expect(response.statusCode).toBe(200)
    expect(server.errors).toMatchObject([{ code: 'ERR_SESSION_HEADERS_SENT' }])
    expect(writes).toEqual([])
  })
})

describe('the end of a request whose headers are sent', () => {
  it.each<readonly [string, 'stored' | 'new', (ctx: Context) => void]>([
    ['a sign-in', 'stored', ({ session }) => void session.setPrivileges({ userName: 'ann' })],
    [
      'the first change of a guest',
      'new',
      ({ session }) => {
        session.storage['color'] = 'red'
      },
    ],
  ])('ends the response for %s that cannot be stored (L9)', async (_name, kind, change) => {
    const { store, writes } = observed(new MemoryStore())
    const server = await serve(store, (ctx) => {
      ctx.status = 200
      ctx.flushHeaders()
      ctx.body = 'a body'
      change(ctx)
    })
    const cookie = kind === 'stored' ? await server.signUp() : undefined
    writes.length = 0

    await textOf(await server.open(cookie))

    expect(server.errors).toMatchObject([{ code: 'ERR_SESSION_HEADERS_SENT' }])
    expect(writes).toEqual([])
  })

  it('ends the response for changes that the store refuses (L9, F1)', async () => {
    const { store, faults } = observed(new MemoryStore())
    const server = await serve(store, (ctx) => {
      ctx.status = 200
      ctx.flushHeaders()
      ctx.body = 'a body'
      ctx.session.storage['color'] = 'red'
    })
    const cookie = await server.signUp()
    faults.add('commit')

    await textOf(await server.open(cookie))

    expect(server.errors).toMatchObject([{ code: 'ERR_SESSION_STORE' }])
  })

  it.each(storeKinds)('merges storage, and sends the body (L9): %s', async (_name, makeStore) => {
    const { store } = observed(makeStore())
    const server = await serve(store, (ctx) => {
      ctx.status = 200
      ctx.flushHeaders()
      ctx.body = 'a body'
      ctx.session.storage['late'] = 1
    })
    const cookie = await server.signUp()

    const text = await textOf(await server.open(cookie))

    expect(text).toBe('a body')
    expect(server.errors).toEqual([])
    expect(await server.storageOf(cookie)).toEqual({ made: true, late: 1 })
  })
})

describe('ending the session after the headers', () => {
  it.each<readonly [string, (ctx: Context) => unknown]>([
    ['destroy()', (ctx) => ctx.session.destroy()],
    [
      'ctx.session = null',
      (ctx) => {
        ctx.session = null
      },
    ],
  ])('works in the store with %s (L9, S9, S10)', async (_name, end) => {
    const inner = new MemoryStore()
    const { store } = observed(inner)
    let id = ''
    const server = await serve(store, async (ctx) => {
      startStream(ctx)
      const { session } = ctx
      id = session.id
      await end(ctx)
      ctx.res.end()
    })
    const cookie = await server.signUp()

    const response = await server.open(cookie)
    await textOf(response)

    await vi.waitFor(async () => {
      expect(await read(inner, id)).toBeUndefined()
    })
    expect(id).not.toBe('')
    expect(response.headers['set-cookie']).toBeUndefined()
    expect(server.errors).toEqual([])
  })
})

/** An app on a port of its own. */
interface Server {
  /** The errors that Koa reported. */
  readonly errors: readonly unknown[]
  /** Makes a session with `{ made: true }` in its storage, and returns its cookie. */
  signUp(): Promise<string>
  storageOf(cookie: string): Promise<unknown>
  /** Calls the handler. The response has begun when this returns. */
  open(cookie?: string): Promise<IncomingMessage>
}

async function serve(store: SessionStore, handler: (ctx: Context) => unknown): Promise<Server> {
  const errors: unknown[] = []
  const app = new Koa()
  app.on('error', (error) => errors.push(error))
  app.use(session(new Sessions({ store })))
  app.use(async (ctx) => {
    if (ctx.path === '/stream') {
      await handler(ctx)
      return
    }
    if (ctx.path === '/sign-up') ctx.session.storage['made'] = true
    ctx.body = { ...ctx.session.storage }
  })
  const server = app.listen(0, '127.0.0.1')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined

  const visit = async (path: string, cookie?: string): Promise<IncomingMessage> => {
    const headers = cookie === undefined ? {} : { cookie }
    const sent = request({ host: '127.0.0.1', port, path, headers, agent: false })
    const begun = once(sent, 'response')
    sent.end()
    const [response] = await begun
    return response
  }
  return {
    errors,
    async signUp() {
      const response = await visit('/sign-up')
      await textOf(response)
      return response.headers['set-cookie']?.[0]?.split(';', 1)[0] ?? ''
    },
    async storageOf(cookie) {
      return JSON.parse(await textOf(await visit('/storage', cookie)))
    },
    open: (cookie) => visit('/stream', cookie),
  }
}

function startStream(ctx: Context): void {
  ctx.respond = false
  ctx.res.writeHead(200, { 'Content-Type': 'text/event-stream' })
  ctx.res.write('data: 0\n\n')
}

/** Fulfilled when the response has ended. */
async function textOf(response: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of response) text += String(chunk)
  return text
}

/** A store that fails on demand and records its calls, except those that change no session. */
function observed(store: SessionStore): {
  readonly store: SessionStore
  readonly writes: string[]
  /** Methods that reject, without effect. */
  readonly faults: Set<string>
} {
  const writes: string[] = []
  const faults = new Set<string>()
  const proxy = new Proxy(store, {
    get(target, name) {
      const method: unknown = Reflect.get(target, name)
      if (typeof method !== 'function') return method
      return (...args: unknown[]): unknown => {
        if (!harmless.has(String(name)) && !isUnlock(args[1])) writes.push(String(name))
        if (faults.has(String(name))) return Promise.reject(new Error('the store is broken'))
        return Reflect.apply(method, target, args)
      }
    },
  })
  return { store: proxy, writes, faults }
}

/** Whether a commit only releases a lock. */
function isUnlock(commit: unknown): boolean {
  const changed = Object.entries(Object(commit)).filter(([, value]) => value !== undefined)
  return changed.length === 1 && changed[0]?.[0] === 'lock'
}
