import { describe, expect, it } from 'vitest'

import { newSecret, newSessionId } from '../../src/cookie/cookie.ts'
import {
  backends,
  codeOf,
  createOTP,
  expectUntouched,
  fillCart,
  restore,
  signUp,
  start,
  viewOf,
} from '../support/one-time-tokens.ts'

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

    it('X5: makes it one session, whose storage both browsers share', async () => {
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

    it('X5: lets several browsers join, with a token each', async () => {
      const server = await start(makeBackend())
      const { cookie, view } = await signUp(server)
      const otps = [await createOTP(server, cookie), await createOTP(server, cookie)]

      const answers = [await restore(server, otps[1]), await restore(server, otps[0])]

      for (const answer of answers) expect(await viewOf(server, answer.cookie)).toEqual(view)
      expect(await viewOf(server, cookie)).toEqual(view)
    })

    it('X5: has one winner of 100 parallel requests to two servers', async () => {
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

    it('X5: returns false for a used token, and does not change the session of the request', async () => {
      const server = await start(makeBackend())
      const { otp } = await signUp(server)
      await restore(server, otp)

      await expectUntouched(server, otp)
    })

    it('X5: returns false for an expired token', async () => {
      const backend = makeBackend()
      const server = await start(backend)
      const { cookie } = await signUp(server)
      const otp = await createOTP(server, cookie, 10)

      await backend.passTime(10_000)

      await expectUntouched(server, otp)
    })

    it('X5: returns true until its time is over', async () => {
      const backend = makeBackend()
      const server = await start(backend)
      const { cookie } = await signUp(server)
      const otp = await createOTP(server, cookie, 60)

      await backend.passTime(50_000)

      expect((await restore(server, otp)).result).toMatchObject({ isRestored: true })
    })

    it('X5: returns false for a token of an ended session', async () => {
      const server = await start(makeBackend())
      const { otp, view } = await signUp(server)
      await server.sessions.terminate(view.id)
      server.events.length = 0

      await expectUntouched(server, otp)
    })

    it('X5: returns false for an invented token, whether its session exists or not', async () => {
      const server = await start(makeBackend())
      const { view } = await signUp(server)

      await expectUntouched(server, newSecret(view.id).value)
      await expectUntouched(server, newSecret(newSessionId()).value)
    })

    it('X5: returns false for a cookie value, and a token is not a cookie', async () => {
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
    ])('X5, H1: returns false for the malformed token %j, without a store call', async (otp) => {
      const server = await start(makeBackend())

      await expectUntouched(server, otp)

      expect(server.redeemed).toEqual([])
    })

    it.each([undefined, null, 5, true, {}, [], ['A'.repeat(64)], { length: 64 }])(
      'X5, H1: returns false for %j, which is not text',
      async (otp) => {
        const server = await start(makeBackend())

        await expectUntouched(server, otp)
      },
    )

    it('X5: ends the session that it leaves, with the reason replaced', async () => {
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

    it('X5: joins even if the session that it leaves cannot be ended', async () => {
      const server = await start(makeBackend())
      const { otp, view } = await signUp(server)
      const guest = await server.visit(fillCart)
      server.store.faults.set('destroy', 'rejects')

      const joined = await restore(server, otp, guest.cookie)

      expect(joined.result).toEqual({ isRestored: true, view })
      expect(await viewOf(server, joined.cookie)).toEqual(view)
    })

    it('X5: drops earlier changes of the request, and takes none of them along', async () => {
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

    it('X5: leaves nothing in the browser that created the token', async () => {
      const server = await start(makeBackend())
      const { cookie, otp, view } = await signUp(server)
      server.events.length = 0

      const joined = await restore(server, otp, cookie)

      expect(joined.result).toEqual({ isRestored: true, view })
      expect(server.events).toEqual([['session:rotated', { id: view.id }]])
      expect(await viewOf(server, joined.cookie)).toEqual(view)
      expect(await viewOf(server, cookie)).toEqual(view)
    })

    it('X5: does not end the session that it joins, even if the request had signed out of it', async () => {
      const server = await start(makeBackend())
      const { cookie, otp, view } = await signUp(server)

      const joined = await server.visit(async (ctx) => {
        ctx.session = null
        return ctx.session.restore(otp)
      }, cookie)

      expect(joined.result).toBe(true)
      expect(await viewOf(server, joined.cookie)).toEqual(view)
    })

    it('X5: works inside use(), whose lock it releases', async () => {
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

    it('X5: gives the browser its cookie even if the handler then throws below 500', async () => {
      const server = await start(makeBackend())
      const { otp, view } = await signUp(server)

      const joined = await server.visit(async (ctx) => {
        await ctx.session.restore(otp)
        ctx.throw(403)
      })

      expect(joined.status).toBe(403)
      expect(await viewOf(server, joined.cookie)).toEqual(view)
    })

    it('L9: throws once the headers are sent, and does not consume the token', async () => {
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

    it('L10: throws in a request whose cookie was rotated a moment ago', async () => {
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
})
