import type { Context } from 'koa'
import { MemoryStore, RedisStore } from 'koa-user-sessions'
import type { SessionEvents, SessionsOptions, SessionStore } from 'koa-user-sessions'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { newSecret, newSessionId } from '../../src/cookie/cookie.ts'
import { ObservedStore } from '../support/apps.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'
import { changeStored } from '../support/stored-text.ts'
import { serve } from '../support/visits.ts'
import type { Answer, Server } from '../support/visits.ts'

/** Where the sessions of a test are. */
interface Backend {
  /** A store with a client of its own, as another process has. */
  store(): SessionStore
  /** Lets time pass for all one-time tokens. */
  passTime(ms: number): Promise<void>
}

const backends: readonly (readonly [string, () => Backend])[] = [
  ['MemoryStore', memoryBackend],
  ['RedisStore', redisBackend],
]

const options: SessionsOptions = {
  tokens: {
    keys: [{ kid: 'one', alg: 'HS256', secret: 'x'.repeat(32) }],
    issuer: 'https://shop.example',
    audience: 'https://api.shop.example',
  },
}
const notUsed = { isRestored: false }

describe.each(backends)('one-time tokens with a %s', (_name, makeBackend) => {
  describe('session.restore()', () => {
    it('X5: lets another browser join the session, with a cookie of its own', async () => {
      const server = await start(makeBackend())
      const { cookie, otp, view } = await signUp(server)

      const joined = await restore(server, otp)

      expect(joined.result).toEqual({ isRestored: true, view })
      expect(joined.headers.get('cache-control')).toBe('no-store')
      expect(joined.cookie).toMatch(/^session=[\w-]{64}$/)
      expect(joined.cookie).not.toBe(cookie)
      expect(await viewOf(server, joined.cookie)).toEqual(view)
      expect(await viewOf(server, cookie)).toEqual(view)
      expect(server.events).toContainEqual(['session:rotated', { id: view.id }])
      expect(server.events.filter(([name]) => name === 'session:ended')).toEqual([])
    })

    it('X5: makes it one session, whose storage both browsers have', async () => {
      const server = await start(makeBackend())
      const { cookie, otp } = await signUp(server)

      const joined = await server.visit(async ({ session }) => {
        await session.restore(otp)
        session.storage['here'] = 1
      })
      await server.visit(({ session }) => {
        session.storage['there'] = 2
      }, cookie)

      const storage = { cart: ['tea'], here: 1, there: 2 }
      expect((await viewOf(server, cookie)).storage).toEqual(storage)
      expect((await viewOf(server, joined.cookie)).storage).toEqual(storage)
    })

    it.each([
      ['the browser that has joined', 1],
      ['the browser that was there first', 0],
    ])('C5: keeps both signed in until %s rotates its cookie', async (_who, index) => {
      const server = await start(makeBackend())
      const { cookie, otp, view } = await signUp(server)
      const { cookie: joined } = await restore(server, otp)

      const rotated = await server.visit(
        ({ session }) => session.setPrivileges('more'),
        [cookie, joined][index],
      )

      expect(await viewOf(server, rotated.cookie)).toMatchObject({ id: view.id, userName: 'ann' })
      expect(await viewOf(server, cookie)).toMatchObject({ isNew: true, userName: '' })
      expect(await viewOf(server, joined)).toMatchObject({ isNew: true, userName: '' })
    })

    it('X5: lets several browsers join, by a token each', async () => {
      const server = await start(makeBackend())
      const { cookie, view } = await signUp(server)
      const otps = [await createOTP(server, cookie), await createOTP(server, cookie)]

      const answers = [await restore(server, otps[1]), await restore(server, otps[0])]

      for (const answer of answers) expect(await viewOf(server, answer.cookie)).toEqual(view)
      expect(await viewOf(server, cookie)).toEqual(view)
    })

    it('X5: has one winner of 100 that come at once to two servers', async () => {
      const backend = makeBackend()
      const servers = [await start(backend), await start(backend)]
      const { cookie, otp, view } = await signUp(servers[0]!)

      const answers = await Promise.all(
        Array.from({ length: 100 }, (_, index) => restore(servers[index % 2]!, otp)),
      )

      const won = answers.filter(({ result }) => Reflect.get(Object(result), 'isRestored') === true)
      expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
      expect(won).toHaveLength(1)
      expect(answers.filter((answer) => answer.cookie !== undefined)).toEqual(won)
      expect(await viewOf(servers[1]!, won[0]?.cookie)).toEqual(view)
      expect(await viewOf(servers[1]!, cookie)).toEqual(view)
    })

    it('X5: is false for one that is used, and leaves the session of the request alone', async () => {
      const server = await start(makeBackend())
      const { otp } = await signUp(server)
      await restore(server, otp)

      await expectUntouched(server, otp)
    })

    it('X5: is false for one whose time is over', async () => {
      const backend = makeBackend()
      const server = await start(backend)
      const { cookie } = await signUp(server)
      const otp = await createOTP(server, cookie, 10)

      await backend.passTime(10_000)

      await expectUntouched(server, otp)
    })

    it('X5: is true until its time is over', async () => {
      const backend = makeBackend()
      const server = await start(backend)
      const { cookie } = await signUp(server)
      const otp = await createOTP(server, cookie, 60)

      await backend.passTime(50_000)

      expect((await restore(server, otp)).result).toMatchObject({ isRestored: true })
    })

    it('X5: is false for one of a session that has ended', async () => {
      const server = await start(makeBackend())
      const { otp, view } = await signUp(server)
      await server.sessions.terminate(view.id)
      server.events.length = 0

      await expectUntouched(server, otp)
    })

    it('X5: is false for one that is made up, whether its session is there or not', async () => {
      const server = await start(makeBackend())
      const { view } = await signUp(server)

      await expectUntouched(server, newSecret(view.id).value)
      await expectUntouched(server, newSecret(newSessionId()).value)
    })

    it('X5: is false for a cookie value, and no token is a cookie value', async () => {
      const server = await start(makeBackend())
      const { cookie, otp } = await signUp(server)

      await expectUntouched(server, cookie.replace('session=', ''))
      expect(await viewOf(server, `session=${otp}`)).toMatchObject({ isNew: true, userName: '' })
      expect((await restore(server, otp)).result).toMatchObject({ isRestored: true })
    })

    it.each([
      '',
      'x',
      'A'.repeat(63),
      'A'.repeat(65),
      `${'A'.repeat(63)}=`,
      `${'A'.repeat(63)}+`,
      `${'A'.repeat(64)}\n`,
      '__proto__',
      '\0',
      '漢'.repeat(64),
    ])('X5, H1: is false for the malformed token %j, without a store call', async (otp) => {
      const server = await start(makeBackend())

      await expectUntouched(server, otp)

      expect(server.redeemed).toEqual([])
    })

    it.each([undefined, null, 5, true, {}, [], ['A'.repeat(64)], { length: 64 }])(
      'X5, H1: is false for %j, which is no text',
      async (otp) => {
        const server = await start(makeBackend())

        await expectUntouched(server, otp)
      },
    )

    it('X5: ends the session that it leaves, as replaced', async () => {
      const server = await start(makeBackend())
      const { otp, view } = await signUp(server)
      const guest = await server.visit(fillCart)
      const { id } = await viewOf(server, guest.cookie)
      server.events.length = 0

      const joined = await restore(server, otp, guest.cookie)

      expect(joined.result).toEqual({ isRestored: true, view })
      expect(server.events).toEqual([
        ['session:rotated', { id: view.id }],
        ['session:ended', { id, reason: 'replaced' }],
      ])
      expect(await server.sessions.info(id)).toBeNull()
      expect(await viewOf(server, guest.cookie)).toMatchObject({ isNew: true, storage: {} })
    })

    it('X5: goes over even if the session that it leaves cannot be ended', async () => {
      const server = await start(makeBackend())
      const { otp, view } = await signUp(server)
      const guest = await server.visit(fillCart)
      server.store.faults.set('destroy', 'rejects')

      const joined = await restore(server, otp, guest.cookie)

      expect(joined.result).toEqual({ isRestored: true, view })
      expect(await viewOf(server, joined.cookie)).toEqual(view)
    })

    it('X5: drops what the request has changed before, and takes nothing of it along', async () => {
      const server = await start(makeBackend())
      const { otp, view } = await signUp(server)

      const joined = await server.visit(async ({ session }) => {
        session.storage['mine'] = true
        session.setPrivileges('WebAdmin')
        session.idleTimeout = 500
        session.promote('lent')
        await session.restore(otp)
        return [session.idleTimeout, session.hasPrivilege('lent'), session.isNew]
      })

      expect(joined.result).toEqual([60, false, false])
      expect(await viewOf(server, joined.cookie)).toEqual(view)
      const created = server.events.filter(([name]) => name === 'session:created')
      expect(created).toHaveLength(1)
    })

    it('X5: leaves nothing behind in the browser that has made the token', async () => {
      const server = await start(makeBackend())
      const { cookie, otp, view } = await signUp(server)
      server.events.length = 0

      const joined = await restore(server, otp, cookie)

      expect(joined.result).toEqual({ isRestored: true, view })
      expect(server.events).toEqual([['session:rotated', { id: view.id }]])
      expect(await viewOf(server, joined.cookie)).toEqual(view)
      expect(await viewOf(server, cookie)).toEqual(view)
    })

    it('X5: does not end the session that it joins, though the request had signed out of it', async () => {
      const server = await start(makeBackend())
      const { cookie, otp, view } = await signUp(server)

      const joined = await server.visit(async (ctx) => {
        ctx.session = null
        return ctx.session.restore(otp)
      }, cookie)

      expect(joined.result).toBe(true)
      expect(await viewOf(server, joined.cookie)).toEqual(view)
    })

    it('X5: works inside of use(), whose lock it gives back', async () => {
      const server = await start(makeBackend())
      const { cookie, otp, view } = await signUp(server)
      const guest = await server.visit(fillCart)

      const joined = await server.visit(
        ({ session }) =>
          session.use(async (storage) => {
            const isRestored = await session.restore(otp)
            storage['here'] = 1
            return isRestored
          }),
        guest.cookie,
      )
      const used = await server.visit(
        ({ session }) => session.use((storage) => ({ ...storage })),
        cookie,
      )

      expect([joined.status, joined.result]).toEqual([200, true])
      expect(await viewOf(server, joined.cookie)).toMatchObject({ id: view.id })
      expect(used.result).toEqual({ ...view.storage, here: 1 })
    })

    it('X5: gives the browser its cookie when the handler then throws below 500', async () => {
      const server = await start(makeBackend())
      const { otp, view } = await signUp(server)

      const joined = await server.visit(async (ctx) => {
        await ctx.session.restore(otp)
        ctx.throw(403)
      })

      expect(joined.status).toBe(403)
      expect(await viewOf(server, joined.cookie)).toEqual(view)
    })

    it('L9: throws once the headers are sent, and does not use the token up', async () => {
      const server = await start(makeBackend())
      const { otp } = await signUp(server)

      const late = await server.visit(async (ctx) => {
        ctx.respond = false
        ctx.res.writeHead(200)
        ctx.res.flushHeaders()
        const code = await ctx.session.restore(otp).catch(codeOf)
        ctx.res.end(JSON.stringify({ result: code }))
      })

      expect(late.result).toBe('ERR_SESSION_HEADERS_SENT')
      expect((await restore(server, otp)).result).toMatchObject({ isRestored: true })
    })

    it('L10: is refused to a request whose cookie was rotated a moment ago', async () => {
      const server = await start(makeBackend())
      const { otp } = await signUp(server)
      const { cookie } = await server.visit(fillCart)
      await server.visit(({ session }) => session.regenerate(), cookie)

      const refused = await restore(server, otp, cookie)

      expect(refused).toMatchObject({ status: 401, error: { code: 'ERR_SESSION_ENDED' } })
      expect(refused.cookie).toBeUndefined()
      expect((await restore(server, otp)).result).toMatchObject({ isRestored: true })
    })

    it('S9: throws in a session that the request has ended', async () => {
      const server = await start(makeBackend())
      const { cookie, otp } = await signUp(server)

      const { result } = await server.visit(async ({ session }) => {
        await session.destroy()
        return [await session.restore(otp).catch(codeOf), await session.createOTP().catch(codeOf)]
      }, cookie)

      expect(result).toEqual(['ERR_SESSION_ENDED', 'ERR_SESSION_ENDED'])
    })

    it('F1: answers 503 when the store fails', async () => {
      const server = await start(makeBackend())
      const { cookie, otp } = await signUp(server)
      server.store.faults.set('commit', 'rejects')

      const failed = await restore(server, otp, cookie)

      expect(failed).toMatchObject({ status: 503, error: { code: 'ERR_SESSION_STORE' } })
      expect(failed.cookie).toBeUndefined()
      expect(await viewOf(server, cookie)).toMatchObject({ userName: 'ann' })
    })
  })

  describe('session.createOTP()', () => {
    it('X5: answers text that fits into a link, another one each time', async () => {
      const server = await start(makeBackend())
      const { cookie } = await signUp(server)

      const otps = [await createOTP(server, cookie), await createOTP(server, cookie)]

      expect(otps[0]).toMatch(/^[\w-]{64}$/)
      expect(otps[1]).toMatch(/^[\w-]{64}$/)
      expect(otps[0]).not.toBe(otps[1])
    })

    it('X5: leaves the cookie as it is', async () => {
      const server = await start(makeBackend())
      const { cookie } = await signUp(server)

      const answer = await server.visit(({ session }) => session.createOTP(), cookie)

      expect(answer.cookie).toBeUndefined()
    })

    it.each([
      [undefined, 3_600_000],
      [11, 11_000],
      [10.0004, 10_001],
      [10, 10_000],
      [9.999, 10_000],
      [0, 10_000],
      [-1, 10_000],
      [-Infinity, 10_000],
      [31_536_000, 31_536_000_000],
    ])('X5: with a lifespan of %j seconds it works for %i ms', async (seconds, ms) => {
      const server = await start(makeBackend())
      const { cookie } = await signUp(server)

      await createOTP(server, cookie, seconds)

      expect(server.lifespans.at(-1)).toBe(ms)
    })

    it('X5: works as long as the session without a request, its own idle timeout', async () => {
      const server = await start(makeBackend())

      await server.visit(async ({ session }) => {
        session.idleTimeout = 90
        await session.createOTP()
      })

      expect(server.lifespans).toEqual([5_400_000])
    })

    it('X5: works 10 s at least, however short the idle timeout is', async () => {
      const server = await start(makeBackend(), { minIdleTimeout: 0.01, idleTimeout: 0.1 })

      await server.visit(({ session }) => session.createOTP())

      expect(server.lifespans).toEqual([10_000])
    })

    it.each([Number.NaN, Infinity, 31_536_001, '60', '', null, {}, [60], true, 60n])(
      'X5: throws a TypeError for a lifespan of %s, and stores nothing',
      async (lifespan) => {
        const server = await start(makeBackend())

        const { result } = await server.visit(async ({ session }) =>
          nameOf(() => untyped(session).createOTP(lifespan)),
        )

        expect(result).toBe('TypeError')
        expect(server.store.calls).toEqual([])
      },
    )

    it('L2: stores a new guest first', async () => {
      const server = await start(makeBackend())

      const made = await server.visit(async ({ session }) => {
        const otp = await session.createOTP()
        return { otp, id: session.id, isNew: session.isNew }
      })
      const { otp, id, isNew } = Object(made.result)
      const joined = await restore(server, otp)

      expect(isNew).toBe(false)
      expect(await viewOf(server, made.cookie)).toMatchObject({ id, isNew: false })
      expect(await viewOf(server, joined.cookie)).toMatchObject({ id, isNew: false })
    })

    it('L9: throws for a new guest once the headers are sent, and works for others', async () => {
      const server = await start(makeBackend())
      const { cookie, view } = await signUp(server)
      const guests = await server.visit(createLate)
      const anns = await server.visit(createLate, cookie)

      expect(guests.result).toBe('ERR_SESSION_HEADERS_SENT')
      expect((await restore(server, anns.result)).result).toEqual({ isRestored: true, view })
    })

    it('X5: commits a sign-in of the request first, so that it outlives the new cookie', async () => {
      const server = await start(makeBackend())
      const guest = await server.visit(fillCart)

      const made = await server.visit(({ session }) => {
        session.setPrivileges({ userName: 'ann', privileges: 'browse' })
        return session.createOTP()
      }, guest.cookie)
      const joined = await restore(server, made.result)

      const view = await viewOf(server, made.cookie)
      expect(view).toMatchObject({ userName: 'ann', storage: { cart: ['tea'] } })
      expect(joined.result).toEqual({ isRestored: true, view })
    })

    it('C5: makes one that opens nothing after a sign-in that comes later', async () => {
      const server = await start(makeBackend())
      const guest = await server.visit(fillCart)
      const otp = await createOTP(server, guest.cookie)

      const signedIn = await server.visit(signIn, guest.cookie)

      await expectUntouched(server, otp)
      expect(await viewOf(server, signedIn.cookie)).toMatchObject({ userName: 'ann' })
    })

    it('C5: makes one that opens nothing after a sign-in later in the same request', async () => {
      const server = await start(makeBackend())

      const { result: otp } = await server.visit(async (ctx) => {
        const made = await ctx.session.createOTP()
        signIn(ctx)
        return made
      })

      await expectUntouched(server, otp)
    })

    it.each([
      ['more privileges', ({ session }: Context) => void session.setPrivileges('more')],
      ['regenerate()', ({ session }: Context) => session.regenerate()],
      ['clearPrivileges()', ({ session }: Context) => void session.clearPrivileges()],
      ['another user', ({ session }: Context) => void session.setPrivileges({ userName: 'bob' })],
    ])('C5: makes one that opens nothing after %s', async (_what, handler) => {
      const server = await start(makeBackend())
      const { cookie, otp } = await signUp(server)

      await server.visit(handler, cookie)

      await expectUntouched(server, otp)
    })

    it('C5: gives whoever has made the token nothing of whom it signs in', async () => {
      const server = await start(makeBackend())
      const attacker = await server.visit(({ session }) => session.createOTP())
      const victim = await restore(server, attacker.result)

      const signedIn = await server.visit(signIn, victim.cookie)

      expect(await viewOf(server, signedIn.cookie)).toMatchObject({ userName: 'ann' })
      expect(await viewOf(server, attacker.cookie)).toMatchObject({ isNew: true, userName: '' })
    })

    it('L8: throws when the session has ended meanwhile', async () => {
      const server = await start(makeBackend())
      const { cookie } = await signUp(server)

      const { result } = await server.visit(async ({ session }) => {
        await server.sessions.terminate(session.id)
        return session.createOTP().catch(codeOf)
      }, cookie)

      expect(result).toBe('ERR_SESSION_ENDED')
    })

    it('C8: throws when the cookie was rotated meanwhile', async () => {
      const server = await start(makeBackend())
      const { cookie } = await signUp(server)

      const { result } = await server.visit(async ({ session }) => {
        await server.visit((other) => other.session.regenerate(), cookie)
        return session.createOTP().catch(codeOf)
      }, cookie)

      expect(result).toBe('ERR_SESSION_ENDED')
      expect(server.events.filter(([name]) => name === 'session:ended')).toEqual([])
    })

    it('F1: answers 503 when the store fails', async () => {
      const server = await start(makeBackend())
      const { cookie } = await signUp(server)
      server.store.faults.set('commit', 'rejects')

      const failed = await server.visit(({ session }) => session.createOTP(), cookie)

      expect(failed).toMatchObject({ status: 503, error: { code: 'ERR_SESSION_STORE' } })
    })

    it('X3: throws in a nested context, which can join no session either', async () => {
      const server = await start(makeBackend())
      const { cookie, otp } = await signUp(server)
      const { result: token } = await server.visit(
        ({ session }) => session.createNestedToken({ userName: 'bob' }),
        cookie,
      )

      const outcomes = await server.sessions.run(String(token), async (session) => [
        await nameOf(() => session.createOTP()),
        await session.restore(otp).catch(codeOf),
      ])

      expect(outcomes).toEqual(['TypeError', 'ERR_SESSION_HEADERS_SENT'])
      expect((await restore(server, otp)).result).toMatchObject({ isRestored: true })
    })

    it("M8: throws in the session of the server's own code, which can join none either", async () => {
      const server = await start(makeBackend())
      const { otp } = await signUp(server)
      const session = await server.sessions.storedProcedure()

      expect(await nameOf(() => session.createOTP())).toBe('TypeError')
      expect(await session.restore(otp).catch(codeOf)).toBe('ERR_SESSION_HEADERS_SENT')
      expect((await restore(server, otp)).result).toMatchObject({ isRestored: true })
    })
  })

  describe('a remote session', () => {
    it('M7: is joined by a browser, beside the client that has its token', async () => {
      const server = await start(makeBackend())
      const { session, token } = await server.sessions.open({
        userName: 'ann',
        applicationId: 'cli',
      })
      const otp = await session.createOTP()

      const joined = await server.visit(async (ctx) => {
        const isRestored = await ctx.session.restore(otp)
        ctx.session.storage['here'] = 1
        return [isRestored, ctx.session.type, ctx.session.userName]
      })

      expect(joined.result).toEqual([true, 'remote', 'ann'])
      expect(await viewOf(server, joined.cookie)).toMatchObject({
        id: session.id,
        userName: 'ann',
        storage: { here: 1 },
      })
      const seen = await server.sessions.run(token, ({ id, storage }) => [id, { ...storage }])
      expect(seen).toEqual([session.id, { here: 1 }])
    })

    it('M3: is ended for both', async () => {
      const server = await start(makeBackend())
      const { session, token } = await server.sessions.open({
        userName: 'ann',
        applicationId: 'cli',
      })
      const joined = await restore(server, await session.createOTP())

      await server.visit((ctx) => {
        ctx.session = null
      }, joined.cookie)

      expect(await viewOf(server, joined.cookie)).toMatchObject({ isNew: true, userName: '' })
      const run = server.sessions.run(token, () => 'still here')
      await expect(run).rejects.toMatchObject({ code: 'ERR_SESSION_TOKEN' })
    })

    it("K6: keeps its installation's id in the browser that joins it", async () => {
      const server = await start(makeBackend())
      const client = { persistentID: 'installation 7', machineName: 'desk' }
      const { session } = await server.sessions.open({
        userName: 'ann',
        applicationId: 'cli',
        client,
      })
      const otp = await session.createOTP()

      const joined = await server.visit(async (ctx) => {
        await ctx.session.restore(otp)
        return ctx.session.info
      })

      expect(session.info).toMatchObject({ ...client, ID: session.id })
      expect(joined.result).toMatchObject({ ...client, ID: session.id })
      expect(await server.sessions.info(session.id)).toMatchObject({ ...client, ID: session.id })
    })
  })

  describe('session.info', () => {
    it('K6: has a persistentID that a web session is made with and keeps', async () => {
      const server = await start(makeBackend())
      const guest = await server.visit(fillCart)
      const { id } = await viewOf(server, guest.cookie)
      const signedIn = await server.visit((ctx) => {
        signIn(ctx)
        return ctx.session.info
      }, guest.cookie)
      const otp = await createOTP(server, signedIn.cookie)

      const joined = await server.visit(async ({ session }) => {
        const before = session.info.persistentID
        await session.restore(otp)
        return [before, session.info.persistentID]
      })

      const [before, after] = Object(joined.result)
      expect(signedIn.result).toMatchObject({ persistentID: id })
      expect(await server.sessions.info(id)).toMatchObject({ persistentID: id })
      expect(after).toBe(id)
      expect(before).not.toBe(id)
    })

    it('K6: is postponed until somebody joins the session', async () => {
      const server = await start(makeBackend())
      const { cookie, view } = await signUp(server)
      const { result: otp } = await server.visit(async ({ session }) => {
        const made = await session.createOTP()
        await session.postpone()
        return made
      }, cookie)

      const before = await server.sessions.info(view.id)
      await restore(server, otp)
      const after = await server.sessions.info(view.id)

      expect([before?.state, after?.state]).toEqual(['postponed', 'active'])
    })
  })
})

/** What a request sees of its session. */
interface View {
  readonly id: string
  readonly isNew: boolean
  readonly userName: string
  readonly privileges: readonly string[]
  readonly storage: Readonly<Record<string, unknown>>
}

/** A server, and what a test observes of it. */
interface ObservedServer extends Server {
  readonly store: ObservedStore
  /** In order. */
  readonly events: (readonly [string, unknown])[]
  /** Of all one-time tokens so far. Milliseconds. */
  readonly lifespans: readonly number[]
  /** The hashes of those that the store was asked to redeem. */
  readonly redeemed: readonly string[]
}

async function start(backend: Backend, more: SessionsOptions = {}): Promise<ObservedServer> {
  const store = new ObservedStore(backend.store())
  const lifespans: number[] = []
  const redeemed: string[] = []
  const commit = store.commit.bind(store)
  store.commit = (credential, changes, policy) => {
    if (changes.newOTP) lifespans.push(changes.newOTP.lifespanMs)
    if (changes.redeemsOTP !== undefined) redeemed.push(changes.redeemsOTP)
    return commit(credential, changes, policy)
  }
  const server = await serve(store, { ...options, ...more })
  const events: (readonly [string, unknown])[] = []
  const names = ['session:created', 'session:rotated', 'session:ended'] as const
  for (const name of names) {
    server.sessions.on(name, (event: SessionEvents[typeof name]) => events.push([name, event]))
  }
  return { ...server, store, events, lifespans, redeemed }
}

function fillCart({ session }: Context): void {
  session.storage['cart'] = ['tea']
}

function signIn({ session }: Context): void {
  session.setPrivileges({ userName: 'ann', privileges: 'browse' })
}

/** Makes a token when the headers are sent. */
async function createLate(ctx: Context): Promise<void> {
  ctx.respond = false
  ctx.res.writeHead(200)
  ctx.res.flushHeaders()
  const result = await ctx.session.createOTP().catch(codeOf)
  ctx.res.end(JSON.stringify({ result }))
}

/** Ann signs in in a browser, and makes a token for another one. */
async function signUp(
  server: Server,
): Promise<{ readonly cookie: string; readonly otp: string; readonly view: View }> {
  const { cookie } = await server.visit((ctx) => {
    fillCart(ctx)
    signIn(ctx)
  })
  if (cookie === undefined) throw new Error('no cookie')
  return { cookie, otp: await createOTP(server, cookie), view: await viewOf(server, cookie) }
}

async function createOTP(
  { visit }: Server,
  cookie: string | undefined,
  lifespan?: number,
): Promise<string> {
  const { result } = await visit(({ session }) => session.createOTP(lifespan), cookie)
  return String(result)
}

/** A browser brings a token; without a cookie it is another browser. */
function restore({ visit }: Server, otp: unknown, cookie?: string): Promise<Answer> {
  return visit(async ({ session }) => {
    const isRestored = await untyped(session).restore(otp)
    return isRestored ? { isRestored, view: seen(session) } : { isRestored }
  }, cookie)
}

/** As JavaScript may call it. */
function untyped(session: {
  createOTP(lifespan: unknown): Promise<string>
  restore(otp: unknown): Promise<boolean>
}): typeof session {
  return session
}

function seen(session: Context['session']): View {
  const { id, isNew, userName, storage } = session
  return { id, isNew, userName, privileges: session.getPrivileges(), storage: { ...storage } }
}

async function viewOf({ visit }: Server, cookie: string | undefined): Promise<View> {
  const { result } = await visit(({ session }) => seen(session), cookie)
  const view: View = Object(result)
  return view
}

/** Neither a new browser nor one with a session of its own notices a token that is not good. */
async function expectUntouched(server: ObservedServer, otp: unknown): Promise<void> {
  const { cookie } = await server.visit(fillCart)
  const before = await viewOf(server, cookie)
  const eventCount = server.events.length

  const [stranger, guest] = [await restore(server, otp), await restore(server, otp, cookie)]
  const changed = await server.visit(async ({ session }) => {
    session.storage['kept'] = 1
    await untyped(session).restore(otp)
    session.storage['kept too'] = 2
  }, cookie)

  expect([stranger.result, guest.result]).toEqual([notUsed, notUsed])
  expect([stranger.cookie, guest.cookie, changed.cookie]).toEqual(Array(3).fill(undefined))
  expect(server.events.slice(eventCount)).toEqual([])
  const storage = { ...before.storage, kept: 1, 'kept too': 2 }
  expect(await viewOf(server, cookie)).toEqual({ ...before, storage })
}

function codeOf(error: unknown): unknown {
  return Reflect.get(Object(error), 'code')
}

/** The name of the error that a call rejects with. */
async function nameOf(call: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await call()
    return undefined
  } catch (error) {
    return error instanceof Error ? error.name : String(error)
  }
}

function memoryBackend(): Backend {
  const store = new MemoryStore()
  return {
    store: () => store,
    async passTime(ms) {
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + ms })
      onTestFinished(() => {
        vi.useRealTimers()
      })
    },
  }
}

function redisBackend(): Backend {
  const prefix = uniquePrefix()
  return {
    store: () => new RedisStore(connectRedis(), { prefix }),
    async passTime(ms) {
      const redis = connectRedis()
      for (const key of await redis.keys(`${prefix}{*`)) {
        await changeStored(redis, key, (session) => ({
          ...session,
          otps: session.otps.map(({ hash, goodUntil }) => ({ hash, goodUntil: goodUntil - ms })),
        }))
      }
    },
  }
}
