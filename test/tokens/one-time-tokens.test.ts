import type { Context } from 'koa'
import { describe, expect, it } from 'vitest'

import {
  backends,
  codeOf,
  createOTP,
  expectUntouched,
  fillCart,
  restore,
  signIn,
  signUp,
  start,
  untyped,
  viewOf,
} from '../support/one-time-tokens.ts'

describe.each(backends)('one-time tokens with a %s', (_name, makeBackend) => {
  describe('session.createOTP()', () => {
    it('X5: returns text that fits into a link, different each time', async () => {
      const server = await start(makeBackend())
      const { cookie } = await signUp(server)

      const otps = [await createOTP(server, cookie), await createOTP(server, cookie)]

      expect(otps[0]).toMatch(/^[\w-]{64}$/)
      expect(otps[1]).toMatch(/^[\w-]{64}$/)
      expect(otps[0]).not.toBe(otps[1])
    })

    it('X5: does not change the cookie', async () => {
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
    ])('X5: with a lifespan of %j seconds works for %i ms', async (seconds, ms) => {
      const server = await start(makeBackend())
      const { cookie } = await signUp(server)

      await createOTP(server, cookie, seconds)

      expect(server.lifespans.at(-1)).toBe(ms)
    })

    it('X5: lives as long as the idle timeout of its session by default', async () => {
      const server = await start(makeBackend())

      await server.visit(async ({ session }) => {
        session.idleTimeout = 90
        await session.createOTP()
      })

      expect(server.lifespans).toEqual([5_400_000])
    })

    it('X5: works for at least 10 s, however short the idle timeout is', async () => {
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

    it('L9: throws for a new guest once the headers are sent, and works for a stored session', async () => {
      const server = await start(makeBackend())
      const { cookie, view } = await signUp(server)
      const guests = await server.visit(createLate)
      const anns = await server.visit(createLate, cookie)

      expect(guests.result).toBe('ERR_SESSION_HEADERS_SENT')
      expect((await restore(server, anns.result)).result).toEqual({ isRestored: true, view })
    })

    it('X5: commits a sign-in of the request first, so that it survives the new cookie', async () => {
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

    it('C5: creates a token that opens nothing after a later sign-in', async () => {
      const server = await start(makeBackend())
      const guest = await server.visit(fillCart)
      const otp = await createOTP(server, guest.cookie)

      const signedIn = await server.visit(signIn, guest.cookie)

      await expectUntouched(server, otp)
      expect(await viewOf(server, signedIn.cookie)).toMatchObject({ userName: 'ann' })
    })

    it('C5: creates a token that opens nothing after a later sign-in in the same request', async () => {
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
    ])('C5: creates a token that opens nothing after %s', async (_what, handler) => {
      const server = await start(makeBackend())
      const { cookie, otp } = await signUp(server)

      await server.visit(handler, cookie)

      await expectUntouched(server, otp)
    })

    it('C5: gives its creator no access to the user who signs in with it', async () => {
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

    it('X3: throws in a nested context, which cannot join a session either', async () => {
      const server = await start(makeBackend())
      const { cookie, otp } = await signUp(server)
      const { result: token } = await server.visit(
        ({ session }) => session.createNestedToken({ userName: 'bob' }),
        cookie,
      )

      const outcomes = await server.sessions.run(String(token), async (session) => [
        await nameOf(() => session.createOTP()),
        await nameOf(() => session.restore(otp)),
      ])

      expect(outcomes).toEqual(['TypeError', 'TypeError'])
      expect((await restore(server, otp)).result).toMatchObject({ isRestored: true })
    })

    it("M8: throws in the server's own session, which cannot join one either", async () => {
      const server = await start(makeBackend())
      const { otp } = await signUp(server)
      const session = await server.sessions.storedProcedure()

      expect(await nameOf(() => session.createOTP())).toBe('TypeError')
      expect(await session.restore(otp).catch(codeOf)).toBe('ERR_SESSION_HEADERS_SENT')
      expect((await restore(server, otp)).result).toMatchObject({ isRestored: true })
    })
  })

  describe('a remote session', () => {
    it('M7: can be joined by a browser, beside the client that has its token', async () => {
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

    it('M3: ends for both', async () => {
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

    it('K6: keeps the id of its installation in the browser that joins it', async () => {
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
    it('K6: has a persistentID that a web session is created with and keeps', async () => {
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

    it('K6: is postponed until a browser joins the session', async () => {
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

/** Creates a token after the headers are sent. */
async function createLate(ctx: Context): Promise<void> {
  ctx.respond = false
  ctx.res.writeHead(200)
  ctx.res.flushHeaders()
  const result = await ctx.session.createOTP().catch(codeOf)
  ctx.res.end(JSON.stringify({ result }))
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
