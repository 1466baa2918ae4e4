import type { SessionStore } from 'koa-user-sessions'
import { describe, expect, it, vi } from 'vitest'

import type { SessionCredential } from '../../src/cookie/cookie.ts'
import { extendLock, read, unlock } from '../store/contract-parts.ts'
import {
  backends,
  codeOf,
  failureOf,
  gate,
  observed,
  signUp,
  storageOf,
  viewOf,
} from '../support/use-blocks.ts'
import { serve } from '../support/visits.ts'

describe.each(backends)('session.use() with a %s', (_name, makeBackend) => {
  describe('a throw', () => {
    it('discards the whole block and keeps what was before it (T4)', async () => {
      const server = await serve(makeBackend().store())
      const { cookie } = await signUp(server)

      const { result, cookie: rotated } = await server.visit(async (ctx) => {
        const { session } = ctx
        session.storage['early'] = 1
        const failure = await failureOf(
          session.use((storage) => {
            storage['late'] = 2
            delete storage['made']
            session.setPrivileges({ privileges: 'admin', userName: 'ann' })
            session.idleTimeout = 120
            throw new Error('from the block')
          }),
        )
        return [String(failure), viewOf(ctx)]
      }, cookie)

      const view = {
        userName: '',
        privileges: [],
        idleTimeout: 60,
        storage: { made: true, early: 1 },
      }
      expect(result).toEqual(['Error: from the block', view])
      expect(rotated).toBeUndefined()
      expect((await server.visit(viewOf, cookie)).result).toEqual(view)
    })

    it('discards the block for an error below 500, too, and commits the rest (T4, L6)', async () => {
      const server = await serve(makeBackend().store())
      const { cookie } = await signUp(server)

      const answer = await server.visit(async (ctx) => {
        ctx.session.storage['early'] = 1
        await ctx.session.use((storage) => {
          storage['late'] = 2
          ctx.throw(409)
        })
      }, cookie)

      expect(answer.status).toBe(409)
      expect(await storageOf(server, cookie)).toEqual({ made: true, early: 1 })
    })

    it('keeps no in-place mutation (T4)', async () => {
      const server = await serve(makeBackend().store())
      const { cookie } = await signUp(server)

      const { result } = await server.visit(async (ctx) => {
        ctx.session.storage['cart'] = { items: ['tea'] }
        await failureOf(
          ctx.session.use((storage) => {
            storage['cart'].items.push('milk')
            throw new Error('from the block')
          }),
        )
        return ctx.session.storage['cart']
      }, cookie)

      expect(result).toEqual({ items: ['tea'] })
      expect(await storageOf(server, cookie)).toEqual({ made: true, cart: { items: ['tea'] } })
    })

    it('frees the lock (T4)', async () => {
      const backend = makeBackend()
      const server = await serve(backend.store())
      const { cookie, credential } = await signUp(server)

      await server.visit(async (ctx) => {
        await ctx.session.use(() => ctx.throw(409))
      }, cookie)

      const outcome = await backend.store().lock(credential, { token: 'other', leaseMs: 1000 })
      expect(outcome?.status).toBe('locked')
    })

    it('returns to the user from before a switch in the block (T4, C5)', async () => {
      const server = await serve(makeBackend().store())
      const { cookie } = await signUp(server, 'ann')

      const { result } = await server.visit(async (ctx) => {
        const { session } = ctx
        await failureOf(
          session.use(() => {
            session.setPrivileges({ userName: 'bob' })
            throw new Error('from the block')
          }),
        )
        return session.userName
      }, cookie)

      expect(result).toBe('ann')
      const { result: view } = await server.visit(viewOf, cookie)
      expect(view).toMatchObject({ userName: 'ann', storage: { made: true } })
    })

    it('keeps the session that the block saved for another user (T4, C5)', async () => {
      const server = await serve(makeBackend().store())
      const { cookie } = await signUp(server, 'ann')

      const answer = await server.visit(async (ctx) => {
        const { session } = ctx
        await failureOf(
          session.use(async (storage) => {
            session.setPrivileges({ userName: 'bob' })
            await session.save()
            storage['late'] = 1
            throw new Error('from the block')
          }),
        )
        return viewOf(ctx)
      }, cookie)

      expect(answer.result).toMatchObject({ userName: 'bob', storage: {} })
      const { result: view } = await server.visit(viewOf, answer.cookie)
      expect(view).toMatchObject({ userName: 'bob', storage: {} })
    })
  })

  describe('waiting', () => {
    it('times out while another process holds the lock (T4)', async () => {
      const backend = makeBackend()
      const server = await serve(backend.store(), { lockTimeoutMs: 50 })
      const { cookie, credential } = await signUp(server)
      await backend.store().lock(credential, { token: 'other', leaseMs: 60_000 })
      const block = vi.fn<() => void>()

      const answer = await server.visit((ctx) => ctx.session.use(block), cookie)

      expect(answer.status).toBe(503)
      expect(answer.headers.get('Retry-After')).toBe('1')
      expect(answer.error).toMatchObject({ code: 'ERR_SESSION_LOCK_TIMEOUT' })
      expect(block).not.toHaveBeenCalled()
    })

    it('times out while another request of the process is in its block (T4)', async () => {
      const server = await serve(makeBackend().store(), { lockTimeoutMs: 50 })
      const { cookie } = await signUp(server)
      const [inside, over] = [gate(), gate()]
      const holder = server.visit(async (ctx) => {
        await ctx.session.use(async (storage) => {
          inside.open()
          await over.opened
          storage['holder'] = 1
        })
      }, cookie)
      await inside.opened

      const late = await server.visit((ctx) => ctx.session.use(() => {}), cookie)
      over.open()

      expect(late.status).toBe(503)
      expect(late.error).toMatchObject({ code: 'ERR_SESSION_LOCK_TIMEOUT' })
      expect((await holder).status).toBe(200)
      const next = await server.visit((ctx) => ctx.session.use((s) => s['holder']), cookie)
      expect(next.result).toBe(1)
    })

    it('ends when the lock is released (T4)', async () => {
      const backend = makeBackend()
      const other = backend.store()
      const { store, calls } = observed(backend.store())
      const server = await serve(store)
      const { cookie, credential } = await signUp(server)
      await other.lock(credential, { token: 'other', leaseMs: 60_000 })

      const waiting = server.visit((ctx) => ctx.session.use(() => 'my turn'), cookie)
      await vi.waitFor(() =>
        expect(calls.filter((call) => call === 'lock').length).toBeGreaterThan(2),
      )
      await unlock(other, credential.id, 'other')

      expect((await waiting).result).toBe('my turn')
    })

    it('ends with ERR_SESSION_ENDED when the session ends (T4, L8)', async () => {
      const backend = makeBackend()
      const other = backend.store()
      const { store, calls } = observed(backend.store())
      const server = await serve(store)
      const { cookie, credential } = await signUp(server)
      await other.lock(credential, { token: 'other', leaseMs: 60_000 })

      const waiting = server.visit((ctx) => ctx.session.use(() => 'my turn'), cookie)
      await vi.waitFor(() => expect(calls).toContain('lock'))
      await other.destroy(credential.id)

      const answer = await waiting
      expect(answer.status).toBe(401)
      expect(answer.error).toMatchObject({ code: 'ERR_SESSION_ENDED' })
      expect(answer.cookie).toBeUndefined()
    })

    it('keeps the order of the blocks of one process, of which only one polls (T4)', async () => {
      const backend = makeBackend()
      const other = backend.store()
      const { store, lockers } = observed(backend.store())
      const server = await serve(store)
      const { cookie, credential } = await signUp(server)
      await other.lock(credential, { token: 'other', leaseMs: 60_000 })
      const [called, ran]: [number[], number[]] = [[], []]

      const answers = Array.from({ length: 20 }, (_, index) =>
        server.visit((ctx) => {
          called.push(index)
          return ctx.session.use(() => ran.push(index))
        }, cookie),
      )
      await vi.waitFor(() => {
        expect(called).toHaveLength(20)
        expect(lockers.length).toBeGreaterThan(5)
      }, 4000)
      const askedMeanwhile = new Set(lockers)
      await unlock(other, credential.id, 'other')
      await Promise.all(answers)

      expect(askedMeanwhile.size).toBe(1)
      expect(ran).toEqual(called)
    })
  })

  describe('a block that has lost the session', () => {
    it('cannot commit when it outlives its lock (T4)', async () => {
      const backend = makeBackend()
      const other = backend.store()
      const server = await serve(backend.store())
      const { cookie, credential } = await signUp(server)

      const answer = await server.visit(async (ctx) => {
        await ctx.session.use(async (storage) => {
          storage['count'] = 1
          await backend.expireLock(credential.id)
          await steal(other, credential, '2')
        })
      }, cookie)

      expect(answer.status).toBe(503)
      expect(answer.headers.get('Retry-After')).toBe('1')
      expect(answer.error).toMatchObject({ code: 'ERR_SESSION_LOCK_TIMEOUT' })
      expect((await read(other, credential.id))?.storage.get('count')).toBe('2')
    })

    it('never commits, even when the handler goes on (T4)', async () => {
      const backend = makeBackend()
      const other = backend.store()
      const server = await serve(backend.store())
      const { cookie, credential } = await signUp(server)

      const answer = await server.visit(async (ctx) => {
        const failure = await failureOf(
          ctx.session.use(async (storage) => {
            storage['count'] = 1
            ctx.session.setPrivileges('admin')
            await backend.expireLock(credential.id)
            await steal(other, credential, '2')
          }),
        )
        return codeOf(failure)
      }, cookie)

      expect(answer.result).toBe('ERR_SESSION_LOCK_TIMEOUT')
      const record = await read(other, credential.id)
      expect(record?.storage.get('count')).toBe('2')
      expect(record?.privileges).toEqual([])
    })

    it('cannot save() either (T4, S9)', async () => {
      const backend = makeBackend()
      const other = backend.store()
      const server = await serve(backend.store())
      const { cookie, credential } = await signUp(server)

      const answer = await server.visit(async (ctx) => {
        const { session } = ctx
        await session.use(async (storage) => {
          storage['count'] = 1
          await backend.expireLock(credential.id)
          await steal(other, credential, '2')
          await session.save()
        })
      }, cookie)

      expect(answer.error).toMatchObject({ code: 'ERR_SESSION_LOCK_TIMEOUT' })
      expect((await read(other, credential.id))?.storage.get('count')).toBe('2')
    })

    it('leaves the lock of its new holder alone (T4)', async () => {
      const backend = makeBackend()
      const other = backend.store()
      const server = await serve(backend.store())
      const { cookie, credential } = await signUp(server)

      await server.visit(async (ctx) => {
        await ctx.session.use(async (storage) => {
          storage['count'] = 1
          await backend.expireLock(credential.id)
          await other.lock(credential, { token: 'other', leaseMs: 60_000 })
        })
      }, cookie)

      expect(await extendLock(other, credential.id, { token: 'other', leaseMs: 1000 })).toBe(true)
    })

    it('throws ERR_SESSION_ENDED when the session has ended before it (T4, L8)', async () => {
      const backend = makeBackend()
      const server = await serve(backend.store())
      const { cookie, credential } = await signUp(server)
      const block = vi.fn<() => void>()

      const answer = await server.visit(async (ctx) => {
        void ctx.session.id
        await backend.store().destroy(credential.id)
        await ctx.session.use(block)
      }, cookie)

      expect(answer.status).toBe(401)
      expect(answer.error).toMatchObject({ code: 'ERR_SESSION_ENDED' })
      expect(block).not.toHaveBeenCalled()
      expect(answer.cookie).toBeUndefined()
    })

    it('throws ERR_SESSION_ENDED when the session ends during it, with one event (T4, L8, M10)', async () => {
      const backend = makeBackend()
      const server = await serve(backend.store())
      const { cookie, credential } = await signUp(server)
      const ended: unknown[] = []
      server.sessions.on('session:ended', (event) => ended.push(event))

      const answer = await server.visit(async (ctx) => {
        const failure = await failureOf(
          ctx.session.use(async (storage) => {
            storage['late'] = 1
            await backend.store().destroy(credential.id)
          }),
        )
        return codeOf(failure)
      }, cookie)

      expect(answer.result).toBe('ERR_SESSION_ENDED')
      expect(answer.cookie).toBeUndefined()
      expect(await read(backend.store(), credential.id)).toBeUndefined()
      expect(ended).toEqual([{ id: credential.id, reason: 'gone' }])
    })
  })

  describe('a failing store', () => {
    // The lock ends with its lease.
    it(
      'answers 503 to a commit, keeps nothing, and lets the next block work (T4, F1)',
      { timeout: 20_000 },
      async () => {
        const { store, faults } = observed(makeBackend().store())
        const server = await serve(store)
        const { cookie } = await signUp(server)

        faults.add('commit')
        const answer = await server.visit(async (ctx) => {
          await ctx.session.use((storage) => {
            storage['lost'] = 1
          })
        }, cookie)
        faults.clear()

        expect(answer.status).toBe(503)
        expect(answer.error).toMatchObject({ code: 'ERR_SESSION_STORE' })
        const next = await server.visit((ctx) => ctx.session.use((s) => Object.keys(s)), cookie)
        expect(next.result).toEqual(['made'])
      },
    )

    it('stores nothing of the block later, even when the handler goes on (T4, F1)', async () => {
      const { store, faults } = observed(makeBackend().store())
      const server = await serve(store)
      const { cookie } = await signUp(server)

      const answer = await server.visit(async (ctx) => {
        faults.add('commit')
        const failure = await failureOf(
          ctx.session.use((storage) => {
            storage['lost'] = 1
          }),
        )
        faults.clear()
        return codeOf(failure)
      }, cookie)

      expect(answer.result).toBe('ERR_SESSION_STORE')
      expect(await storageOf(server, cookie)).toEqual({ made: true })
    })

    it('answers 503 to a lock, and lets the next block work (T4, F1)', async () => {
      const { store, faults } = observed(makeBackend().store())
      const server = await serve(store)
      const { cookie } = await signUp(server)
      const block = vi.fn<() => void>()

      faults.add('lock')
      const answer = await server.visit((ctx) => ctx.session.use(block), cookie)
      faults.clear()

      expect(answer.status).toBe(503)
      expect(answer.error).toMatchObject({ code: 'ERR_SESSION_STORE' })
      expect(block).not.toHaveBeenCalled()
      const next = await server.visit((ctx) => ctx.session.use(() => 'works'), cookie)
      expect(next.result).toBe('works')
    })

    it('frees the lock at once when the block stores too much (T4, T7)', async () => {
      const backend = makeBackend()
      const server = await serve(backend.store(), { limits: { storageKeys: 2 } })
      const { cookie, credential } = await signUp(server)

      const answer = await server.visit(async (ctx) => {
        const failure = await failureOf(
          ctx.session.use((storage) => Object.assign(storage, { a: 1, b: 2 })),
        )
        const outcome = await backend.store().lock(credential, { token: 'other', leaseMs: 1 })
        return [codeOf(failure), outcome?.status]
      }, cookie)

      expect(answer.result).toEqual(['ERR_SESSION_STORAGE_SIZE', 'locked'])
      expect(await storageOf(server, cookie)).toEqual({ made: true })
    })
  })
})

/** Acts like another process: takes the lock of the session, changes `count`, and releases the lock. */
async function steal(
  store: SessionStore,
  credential: SessionCredential,
  count: string,
): Promise<void> {
  const lock = { token: 'other', leaseMs: 60_000 }
  const taken = await store.lock(credential, lock)
  expect(taken?.status).toBe('locked')
  const outcome = await store.commit(
    credential,
    {
      storage: { set: new Map([['count', count]]), removed: [] },
      idleTimeoutMs: undefined,
      grants: undefined,
      userName: '',
      newSecretHash: undefined,
      asksFor: undefined,
      lock: { ...lock, leaseMs: 0 },
    },
    {
      expiry: { refreshMs: 60_000, absoluteTimeoutMs: Infinity },
      limits: { storageBytes: 262_144, storageKeys: 256 },
      maxSessions: undefined,
      timeoutMs: 1000,
    },
  )
  expect(outcome.status).toBe('committed')
}
