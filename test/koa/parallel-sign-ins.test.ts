import type { Context } from 'koa'
import { MemoryStore, RedisStore } from 'koa-user-sessions'
import type { SessionStore } from 'koa-user-sessions'
import { describe, expect, it } from 'vitest'

import { read } from '../store/contract-parts.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'
import { serve as serveVisits } from '../support/visits.ts'
import type { Answer } from '../support/visits.ts'

const storeKinds: readonly (readonly [string, () => SessionStore])[] = [
  ['MemoryStore', () => new MemoryStore()],
  ['RedisStore', () => new RedisStore(connectRedis(), { prefix: uniquePrefix() })],
]
const count = 50

describe.each(storeKinds)('parallel requests with a %s', (_name, makeStore) => {
  it('all sign in as one user, in one session (C5, C8)', async () => {
    const server = await serve(makeStore())
    const guest = await server.signUp()
    const all = barrier(count)

    const answers = await Promise.all(
      Array.from({ length: count }, (_, index) =>
        server.visit(async ({ session }) => {
          void session.id
          await all()
          session.setPrivileges({ privileges: 'buy', userName: 'ann' })
          session.storage[`key${index}`] = index
        }, guest.cookie),
      ),
    )

    const keys = Object.fromEntries(answers.map((_, index) => [`key${index}`, index]))
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
    expect(new Set(answers.map(({ cookie }) => cookie)).size).toBe(count)
    for (const { cookie } of answers) {
      expect((await server.visit(viewOf, cookie)).result).toEqual({
        id: guest.id,
        userName: 'ann',
        privileges: ['buy'],
        storage: { made: true, ...keys },
      })
    }
    expect((await server.visit(viewOf, guest.cookie)).result).toMatchObject({
      userName: '',
      privileges: [],
      storage: {},
    })
  })

  it('sign in as several users, each in a session of their own (C5, C8)', async () => {
    const server = await serve(makeStore())
    const guest = await server.signUp()
    const all = barrier(count)
    const signedIn = barrier(count)

    const answers = await Promise.all(
      Array.from({ length: count }, (_, index) =>
        server.visit(async ({ session }) => {
          void session.id
          await all()
          session.setPrivileges({ privileges: `right${index}`, userName: `user${index}` })
          await session.save()
          await signedIn()
          session.storage['mine'] = index
        }, guest.cookie),
      ),
    )

    const views = await Promise.all(
      answers.map(async ({ cookie }) => (await server.visit(viewOf, cookie)).result),
    )
    expect(views).toEqual(
      views.map((_, index) => ({
        id: expect.any(String),
        userName: `user${index}`,
        privileges: [`right${index}`],
        storage: { made: true, mine: index },
      })),
    )
    const ids = views.map((view) => Reflect.get(Object(view), 'id'))
    expect(new Set(ids).size).toBe(count)
    expect(ids.filter((id) => id === guest.id)).toHaveLength(1)
    expect((await server.visit(viewOf, guest.cookie)).result).toMatchObject({
      userName: '',
      storage: {},
    })
  })

  it('both keep their changes to different keys (T3)', async () => {
    const server = await serve(makeStore())
    const { cookie } = await server.signUp()
    const both = barrier(2)
    const write = (name: string): Promise<Answer> =>
      server.visit(async ({ session }) => {
        void session.storage[name]
        await both()
        session.storage[name] = name
      }, cookie)

    await Promise.all([write('a'), write('b')])

    expect((await server.visit(viewOf, cookie)).result).toMatchObject({
      storage: { made: true, a: 'a', b: 'b' },
    })
  })

  it('count every use() of one key while one of them signs in (T3, T4, C8)', async () => {
    const server = await serve(makeStore())
    const { cookie } = await server.signUp()

    const [signIn, ...others] = await Promise.all([
      server.visit(async (ctx) => {
        ctx.session.setPrivileges({ userName: 'ann' })
        await increment(ctx)
      }, cookie),
      ...Array.from({ length: 10 }, () => server.visit(increment, cookie)),
    ])

    const done = others.filter(({ status }) => status === 200)
    const refused = others.filter(({ status }) => status !== 200)
    expect(refused.map(({ error }) => codeOf(error))).toEqual(
      refused.map(() => 'ERR_SESSION_ENDED'),
    )
    expect((await server.visit(viewOf, signIn?.cookie)).result).toMatchObject({
      userName: 'ann',
      storage: { count: done.length + 1 },
    })
  })
})

describe.each(storeKinds)(
  'a request whose cookie was rotated out, with a %s',
  (_name, makeStore) => {
    it('still merges its changes to storage (C8)', async () => {
      const { server, rotatedDuring } = await signedIn(makeStore())

      const { answer, cookie } = await rotatedDuring(({ session }) => {
        session.storage['late'] = 1
      })

      expect(answer.status).toBe(200)
      expect(answer.cookie).toBeUndefined()
      expect((await server.visit(viewOf, cookie)).result).toMatchObject({
        userName: 'ann',
        privileges: ['browse', 'more'],
        storage: { made: true, late: 1 },
      })
    })

    it.each<readonly [string, (ctx: Context) => Promise<void>]>([
      [
        'use()',
        ({ session }) =>
          session.use((storage) => {
            storage['late'] = 1
          }),
      ],
      ['reload()', ({ session }) => session.reload()],
      ['regenerate()', ({ session }) => session.regenerate()],
    ])('is refused %s with ERR_SESSION_ENDED (C8)', async (_call, work) => {
      const { server, rotatedDuring } = await signedIn(makeStore())

      const { answer, cookie } = await rotatedDuring(work)

      expect(answer.status).toBe(401)
      expect(codeOf(answer.error)).toBe('ERR_SESSION_ENDED')
      expect(answer.cookie).toBeUndefined()
      expect((await server.visit(viewOf, cookie)).result).toMatchObject({
        userName: 'ann',
        storage: { made: true },
      })
      expect(server.ended).toEqual([])
    })

    it('can still take rights away with clearPrivileges() (C8)', async () => {
      const { server, rotatedDuring } = await signedIn(makeStore())

      const { answer, cookie } = await rotatedDuring(({ session }) => {
        session.clearPrivileges()
      })

      expect(answer.status).toBe(200)
      expect((await server.visit(viewOf, cookie)).result).toMatchObject({
        userName: '',
        privileges: [],
        storage: { made: true },
      })
    })

    it.each<readonly [string, (ctx: Context) => unknown]>([
      ['destroy()', (ctx) => ctx.session.destroy()],
      [
        'ctx.session = null',
        (ctx) => {
          ctx.session = null
        },
      ],
    ])('can still end the session with %s (C8)', async (_call, end) => {
      const { server, store, id, rotatedDuring } = await signedIn(makeStore())

      const { cookie } = await rotatedDuring(end)

      expect(await read(store, id)).toBeUndefined()
      expect((await server.visit(viewOf, cookie)).result).toMatchObject({
        userName: '',
        storage: {},
      })
    })

    it('joins the session when it signs in as its user (C8)', async () => {
      const { server, id, rotatedDuring } = await signedIn(makeStore())

      const { answer, cookie } = await rotatedDuring(({ session }) => {
        session.setPrivileges({ privileges: 'another', userName: 'ann' })
      })

      const view = {
        id,
        userName: 'ann',
        privileges: ['browse', 'more', 'another'],
        storage: { made: true },
      }
      expect(answer.cookie).not.toBe(cookie)
      for (const working of [answer.cookie, cookie]) {
        expect((await server.visit(viewOf, working)).result).toEqual({
          ...view,
          privileges: expect.arrayContaining(view.privileges),
        })
      }
    })

    it('gets a new session for other grants, with its storage and changes (C8)', async () => {
      const store = makeStore()
      const server = await serve(store)
      const { cookie: before, id } = await server.signUp()
      let rotated: string | undefined

      const answer = await server.visit(async ({ session }) => {
        void session.id
        const other = await server.visit((ctx) => {
          ctx.session.setPrivileges({ privileges: 'admin', userName: 'ann' })
          ctx.session.storage['secret'] = 'of ann'
        }, before)
        rotated = other.cookie
        session.storage['own'] = 1
        session.setPrivileges({ privileges: 'browse', userName: 'bob' })
      }, before)

      const { result } = await server.visit(viewOf, answer.cookie)
      expect(result).toMatchObject({
        userName: 'bob',
        privileges: ['browse'],
        storage: { made: true, own: 1 },
      })
      expect(result).not.toMatchObject({ id })
      expect((await server.visit(viewOf, rotated)).result).toEqual({
        id,
        userName: 'ann',
        privileges: ['admin'],
        storage: { made: true, secret: 'of ann' },
      })
    })

    it('gets the new session from within a block, too (C8, T4)', async () => {
      const store = makeStore()
      const server = await serve(store)
      const { cookie: before, id } = await server.signUp()
      let rotated: string | undefined

      const answer = await server.visit(async ({ session }) => {
        await session.use(async (storage) => {
          const other = await server.visit((ctx) => {
            ctx.session.setPrivileges({ privileges: 'admin', userName: 'ann' })
          }, before)
          rotated = other.cookie
          storage['own'] = 1
          session.setPrivileges({ privileges: 'browse', userName: 'bob' })
        })
      }, before)

      const { result } = await server.visit(viewOf, answer.cookie)
      expect(result).toMatchObject({
        userName: 'bob',
        privileges: ['browse'],
        storage: { made: true, own: 1 },
      })
      expect((await server.visit(viewOf, rotated)).result).toEqual({
        id,
        userName: 'ann',
        privileges: ['admin'],
        storage: { made: true },
      })
    })
  },
)

/** A running app. Each visit brings the handler that serves it. */
interface Server {
  /** Events of sessions that have ended. */
  readonly ended: readonly unknown[]
  visit(handler: (ctx: Context) => unknown, cookie?: string): Promise<Answer>
  /** Makes a guest session with `{ made: true }` in its storage. */
  signUp(): Promise<{ readonly id: string; readonly cookie: string }>
}

/** Ann's session, and a function that has another request rotate its cookie while one runs. */
async function signedIn(store: SessionStore): Promise<{
  readonly server: Server
  readonly store: SessionStore
  readonly id: string
  /** Also returns the cookie that the other request got, with the privilege `more`. */
  readonly rotatedDuring: (
    work: (ctx: Context) => unknown,
  ) => Promise<{ readonly answer: Answer; readonly cookie: string | undefined }>
}> {
  const server = await serve(store)
  const guest = await server.signUp()
  const { cookie: before } = await server.visit(({ session }) => {
    session.setPrivileges({ privileges: 'browse', userName: 'ann' })
  }, guest.cookie)
  return {
    server,
    store,
    id: guest.id,
    async rotatedDuring(work) {
      let cookie: string | undefined
      const answer = await server.visit(async (ctx) => {
        void ctx.session.id
        const other = await server.visit(({ session }) => session.setPrivileges('more'), before)
        cookie = other.cookie
        await work(ctx)
      }, before)
      expect(cookie).toMatch(/^session=./)
      return { answer, cookie }
    },
  }
}

async function serve(store: SessionStore): Promise<Server> {
  const { sessions, visit } = await serveVisits(store)
  const ended: unknown[] = []
  sessions.on('session:ended', (event) => ended.push(event))
  return {
    ended,
    visit,
    async signUp() {
      const { cookie = '', result } = await visit((ctx) => {
        ctx.session.storage['made'] = true
        return ctx.session.id
      })
      return { id: String(result), cookie }
    },
  }
}

function viewOf({ session }: Context): Record<string, unknown> {
  return {
    id: session.id,
    userName: session.userName,
    privileges: session.getPrivileges(),
    storage: { ...session.storage },
  }
}

function increment({ session }: Context): Promise<void> {
  return session.use((storage) => {
    storage['count'] = Number(storage['count'] ?? 0) + 1
  })
}

/** Holds everyone until this many have come. */
function barrier(size: number): () => Promise<void> {
  let open: (() => void) | undefined
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  let arrived = 0
  return () => {
    arrived++
    if (arrived === size) open?.()
    return opened
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : String(error)
}
