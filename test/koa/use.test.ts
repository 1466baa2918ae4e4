import type { Context } from 'koa'
import { MemoryStore, RedisStore } from 'koa-user-sessions'
import type { SessionStore } from 'koa-user-sessions'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { parseCookieValue } from '../../src/cookie/cookie.ts'
import type { SessionCredential } from '../../src/cookie/cookie.ts'
import { lockKeys, sessionKey } from '../../src/store/redis/keys.ts'
import { extendLock, read, unlock } from '../store/contract-parts.ts'
import { commandName, countCommands } from '../support/command-count.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'
import { serve } from '../support/visits.ts'
import type { Answer, Server } from '../support/visits.ts'

/** Where the sessions of a test are. */
interface Backend {
  /** A store with a client of its own, as another process has. */
  store(): SessionStore
  /** Lets the lease of a session's lock run out. */
  expireLock(id: string): Promise<void>
}

const backends: readonly (readonly [string, () => Backend])[] = [
  ['MemoryStore', memoryBackend],
  ['RedisStore', redisBackend],
]

describe.each(backends)('session.use() with a %s', (_name, makeBackend) => {
  describe('what it is for', () => {
    it.each([1, 2])('counts parallel increments, with %i apps (T4)', async (count) => {
      const backend = makeBackend()
      const servers = await Promise.all(
        Array.from({ length: count }, () => serve(backend.store(), { lockTimeoutMs: 20_000 })),
      )
      const { cookie } = await signUp(servers[0]!)

      const answers = await Promise.all(
        Array.from({ length: 60 }, (_, index) =>
          servers[index % count]!.visit(async (ctx) => {
            await ctx.session.use(async (storage) => {
              const before = Number(storage['count'] ?? 0)
              await new Promise(setImmediate)
              storage['count'] = before + 1
            })
          }, cookie),
        ),
      )

      expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
      expect(await storageOf(servers[0]!, cookie)).toEqual({ made: true, count: 60 })
    })

    it('sees what another request has committed since this one was loaded (T4)', async () => {
      const backend = makeBackend()
      const [here, there] = [await serve(backend.store()), await serve(backend.store())]
      const { cookie } = await signUp(here)

      const { result } = await here.visit(async (ctx) => {
        const before = ctx.session.storage['color'] ?? 'none'
        await there.visit((other) => {
          other.session.storage['color'] = 'red'
        }, cookie)
        const inside = await ctx.session.use((storage) => storage['color'])
        return [before, inside, ctx.session.storage['color']]
      }, cookie)

      expect(result).toEqual(['none', 'red', 'red'])
    })

    it('gives the block session.storage itself (T4)', async () => {
      const server = await serve(makeBackend().store())
      const { cookie } = await signUp(server)

      const { result } = await server.visit(async (ctx) => {
        const outside = ctx.session.storage
        return ctx.session.use((storage) => [
          storage === outside,
          storage === ctx.session.storage,
          ctx.session.storage['made'],
        ])
      }, cookie)

      expect(result).toEqual([true, true, true])
    })

    it('gives the lock back when the next block comes with a rotated secret (T4)', async () => {
      const backend = makeBackend()
      const store = backend.store()
      const server = await serve(backend.store())
      const { cookie } = await signUp(server)
      const codes: unknown[] = []

      const { cookie: rotated = '' } = await server.visit(async (ctx) => {
        let late: Promise<unknown> | undefined
        await ctx.session.use(async () => {
          // Waits for its turn, for which this block keeps the lock, then comes with an old secret.
          const waits = new Promise<void>((resolve) => {
            late = server.visit(async (other) => {
              const turn = other.session.use(() => 'too late')
              await new Promise(setImmediate)
              resolve()
              codes.push(await turn.catch((error: { code?: unknown }) => error.code))
            }, cookie)
          })
          await waits
          ctx.session.setPrivileges({ userName: 'ann' })
        })
        await late
      }, cookie)

      expect(codes).toEqual(['ERR_SESSION_ENDED'])
      const credential = parseCookieValue(rotated.replace(/^.*?=/, ''))
      expect(await store.lock(credential!, { token: 'other', leaseMs: 1000 })).toMatchObject({
        status: 'locked',
      })
    })

    it('returns what the block returns, async or not (T4)', async () => {
      const server = await serve(makeBackend().store())
      const { cookie } = await signUp(server)

      const { result } = await server.visit(
        async (ctx) => [await ctx.session.use(async () => 'async'), await ctx.session.use(() => 7)],
        cookie,
      )

      expect(result).toEqual(['async', 7])
    })

    it('has committed when it returns, and keeps no lock (T4)', async () => {
      const backend = makeBackend()
      const store = backend.store()
      const server = await serve(backend.store())
      const { cookie, credential } = await signUp(server)

      const { result } = await server.visit(async (ctx) => {
        await ctx.session.use((storage) => {
          storage['color'] = 'red'
        })
        const record = await read(store, ctx.session.id)
        const outcome = await store.lock(credential, { token: 'other', leaseMs: 1000 })
        return [record?.storage.get('color'), outcome?.status]
      }, cookie)

      expect(result).toEqual(['"red"', 'locked'])
    })

    it('commits first what the request had changed before it (T4)', async () => {
      const backend = makeBackend()
      const store = backend.store()
      const server = await serve(backend.store())
      const { cookie } = await signUp(server)

      const { result } = await server.visit(async (ctx) => {
        ctx.session.storage['early'] = 1
        return ctx.session.use(async () =>
          (await read(store, ctx.session.id))?.storage.get('early'),
        )
      }, cookie)

      expect(result).toBe('1')
    })
  })

  describe('a throw', () => {
    it('discards all of the block and keeps what was before it (T4)', async () => {
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

    it('discards for an error below 500, too, which commits the rest (T4, L6)', async () => {
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

    it('keeps nothing that was mutated in place (T4)', async () => {
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

    it('goes back to the user from before a switch in the block (T4, C5)', async () => {
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

    it('keeps the session that was saved for another user in the block (T4, C5)', async () => {
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

  describe('calls within a request', () => {
    it('runs a block within a block at once, as part of it (T4)', async () => {
      const server = await serve(makeBackend().store())
      const { cookie } = await signUp(server)

      const { result } = await server.visit(
        (ctx) =>
          ctx.session.use(async (storage) => {
            storage['outer'] = 1
            return ctx.session.use(async (nested) => {
              nested['inner'] = Number(storage['outer']) + 1
              return ctx.session.use(() => nested['inner'])
            })
          }),
        cookie,
      )

      expect(result).toBe(2)
      expect(await storageOf(server, cookie)).toEqual({ made: true, outer: 1, inner: 2 })
    })

    it('goes on after a throw in a nested block that it catches (T4)', async () => {
      const server = await serve(makeBackend().store())
      const { cookie } = await signUp(server)

      const { status } = await server.visit(async (ctx) => {
        await ctx.session.use(async (storage) => {
          storage['before'] = 1
          await failureOf(
            ctx.session.use(() => {
              throw new Error('from the nested block')
            }),
          )
          storage['after'] = 2
        })
      }, cookie)

      expect(status).toBe(200)
      expect(await storageOf(server, cookie)).toEqual({ made: true, before: 1, after: 2 })
    })

    it('discards the outer block for a throw in a nested one that nobody catches (T4)', async () => {
      const server = await serve(makeBackend().store())
      const { cookie } = await signUp(server)

      await server.visit(async (ctx) => {
        await ctx.session.use(async (storage) => {
          storage['before'] = 1
          await ctx.session.use(() => ctx.throw(409))
        })
      }, cookie)

      expect(await storageOf(server, cookie)).toEqual({ made: true })
    })

    it('queues side-by-side calls in order (T4)', async () => {
      const server = await serve(makeBackend().store())
      const { cookie } = await signUp(server)

      const { result } = await server.visit(async (ctx) => {
        const steps: string[] = []
        const block = (name: string) => async (): Promise<void> => {
          steps.push(`${name} starts`)
          await new Promise(setImmediate)
          steps.push(`${name} ends`)
        }
        await Promise.all(['a', 'b', 'c'].map((name) => ctx.session.use(block(name))))
        return steps
      }, cookie)

      expect(result).toEqual(['a starts', 'a ends', 'b starts', 'b ends', 'c starts', 'c ends'])
    })

    it('goes on with the next of side-by-side calls after a throw (T4)', async () => {
      const server = await serve(makeBackend().store())
      const { cookie } = await signUp(server)

      await server.visit(async (ctx) => {
        await Promise.allSettled([
          ctx.session.use((storage) => {
            storage['first'] = 1
            throw new Error('from the block')
          }),
          ctx.session.use((storage) => {
            storage['second'] = 2
          }),
        ])
      }, cookie)

      expect(await storageOf(server, cookie)).toEqual({ made: true, second: 2 })
    })

    it('runs side-by-side calls inside a block without deadlock (T4)', async () => {
      const server = await serve(makeBackend().store())
      const { cookie } = await signUp(server)

      const { status } = await server.visit(async (ctx) => {
        const { session } = ctx
        await session.use(async () => {
          await Promise.all([
            session.use((storage) => Object.assign(storage, { a: 1 })),
            session.use((storage) => Object.assign(storage, { b: 2 })),
          ])
        })
      }, cookie)

      expect(status).toBe(200)
      expect(await storageOf(server, cookie)).toEqual({ made: true, a: 1, b: 2 })
    })

    it('lets code that outlives its block wait like all others (T4)', async () => {
      const backend = makeBackend()
      const store = backend.store()
      const server = await serve(backend.store(), { lockTimeoutMs: 50 })
      const { cookie, credential } = await signUp(server)

      const { result } = await server.visit(async (ctx) => {
        const over = gate()
        let late: Promise<unknown> | undefined
        await ctx.session.use(() => {
          late = over.opened.then(() => ctx.session.use(() => 'as part of the block'))
        })
        await store.lock(credential, { token: 'other', leaseMs: 60_000 })
        over.open()
        return codeOf(await failureOf(late))
      }, cookie)

      expect(result).toBe('ERR_SESSION_LOCK_TIMEOUT')
    })

    it('commits what code that outlives its block changes in its own (T4)', async () => {
      const server = await serve(makeBackend().store())
      const { cookie } = await signUp(server)

      await server.visit(async (ctx) => {
        const over = gate()
        let late: Promise<unknown> | undefined
        await ctx.session.use(() => {
          late = over.opened.then(() =>
            ctx.session.use((storage) => {
              storage['late'] = 1
            }),
          )
        })
        over.open()
        await late
      }, cookie)

      expect(await storageOf(server, cookie)).toEqual({ made: true, late: 1 })
    })
  })

  describe('other calls inside a block', () => {
    it('save() commits and keeps the lock (T4, S9)', async () => {
      const backend = makeBackend()
      const store = backend.store()
      const server = await serve(backend.store())
      const { cookie, credential } = await signUp(server)

      const { result } = await server.visit(async (ctx) => {
        const { session } = ctx
        let seen: unknown[] = []
        await failureOf(
          session.use(async (storage) => {
            storage['saved'] = 1
            await session.save()
            storage['late'] = 2
            const record = await read(store, session.id)
            const outcome = await store.lock(credential, { token: 'other', leaseMs: 1000 })
            seen = [record?.storage.get('saved'), outcome?.status]
            throw new Error('from the block')
          }),
        )
        return seen
      }, cookie)

      expect(result).toEqual(['1', 'busy'])
      expect(await storageOf(server, cookie)).toEqual({ made: true, saved: 1 })
    })

    it('reload() drops what the block has changed so far (T4, S9)', async () => {
      const server = await serve(makeBackend().store())
      const { cookie } = await signUp(server)

      await server.visit(async (ctx) => {
        const { session } = ctx
        await session.use(async (storage) => {
          storage['dropped'] = 1
          await session.reload()
          storage['kept'] = Object.keys(storage)
        })
      }, cookie)

      expect(await storageOf(server, cookie)).toEqual({ made: true, kept: ['made'] })
    })

    it('goes on with a secret rotated after reload(), whatever the block throws (T4, S9)', async () => {
      const server = await serve(makeBackend().store())
      const { cookie } = await signUp(server)

      const answer = await server.visit(async (ctx) => {
        const { session } = ctx
        await failureOf(
          session.use(async () => {
            await session.reload()
            await session.regenerate()
            throw new Error('from the block')
          }),
        )
        await session.use((storage) => {
          storage['after'] = 1
        })
      }, cookie)

      expect(answer.status).toBe(200)
      expect(await storageOf(server, answer.cookie)).toEqual({ made: true, after: 1 })
    })

    it('destroy() ends the session at once (T4, S9)', async () => {
      const backend = makeBackend()
      const store = backend.store()
      const server = await serve(backend.store())
      const { cookie, credential } = await signUp(server)

      const answer = await server.visit(async (ctx) => {
        const { session } = ctx
        return session.use(async (storage) => {
          storage['late'] = 1
          await session.destroy()
          return [await read(store, credential.id), ctx.session === session, ctx.session.isNew]
        })
      }, cookie)

      expect(answer.result).toEqual([null, false, true])
      expect(answer.cookie).toBe('session=')
      expect(await read(store, credential.id)).toBeUndefined()
    })

    it('ctx.session = null ends the session with the request (T4, S10)', async () => {
      const backend = makeBackend()
      const server = await serve(backend.store())
      const { cookie, credential } = await signUp(server, 'ann')

      const answer = await server.visit(
        (ctx) =>
          ctx.session.use((storage) => {
            storage['late'] = 1
            ctx.session = null
            return [ctx.session.userName, { ...ctx.session.storage }]
          }),
        cookie,
      )

      expect(answer.result).toEqual(['', {}])
      expect(answer.cookie).toBe('session=')
      expect(await read(backend.store(), credential.id)).toBeUndefined()
    })

    it('grants privileges with the commit of the block (T4, C5)', async () => {
      const server = await serve(makeBackend().store())
      const { cookie } = await signUp(server)

      const answer = await server.visit(async (ctx) => {
        await ctx.session.use((storage) => {
          storage['late'] = 1
          ctx.session.setPrivileges({ privileges: 'admin', userName: 'ann' })
        })
      }, cookie)

      const { result: view } = await server.visit(viewOf, answer.cookie)
      expect(view).toMatchObject({
        userName: 'ann',
        privileges: ['admin'],
        storage: { made: true, late: 1 },
      })
      const { result: before } = await server.visit(viewOf, cookie)
      expect(before).toMatchObject({ userName: '', privileges: [], storage: {} })
    })

    it('starts a session for another user, and goes on in it (T4, C5)', async () => {
      const backend = makeBackend()
      const server = await serve(backend.store())
      const { cookie, credential } = await signUp(server, 'ann')

      const answer = await server.visit(async (ctx) => {
        const { session } = ctx
        await session.use(async (storage) => {
          session.setPrivileges({ userName: 'bob' })
          await session.save()
          storage['mine'] = 1
        })
      }, cookie)

      expect(answer.status).toBe(200)
      const { result: view } = await server.visit(viewOf, answer.cookie)
      expect(view).toMatchObject({ userName: 'bob', storage: { mine: 1 } })
      expect(await read(backend.store(), credential.id)).toBeUndefined()
    })
  })

  describe('a new guest', () => {
    it('is not stored for a block that changes nothing (T4, L2)', async () => {
      const { store, calls } = observed(makeBackend().store())
      const server = await serve(store)

      const answer = await server.visit((ctx) => ctx.session.use(() => ctx.session.isNew))

      expect(answer.result).toBe(true)
      expect(answer.cookie).toBeUndefined()
      expect(calls).toEqual([])
    })

    it('is stored once by blocks that change something (T4, L2)', async () => {
      const { store, calls } = observed(makeBackend().store())
      const server = await serve(store)

      const answer = await server.visit(async (ctx) => {
        await Promise.all(
          [1, 2, 3].map((step) =>
            ctx.session.use((storage) => {
              storage['sum'] = Number(storage['sum'] ?? 0) + step
            }),
          ),
        )
      })

      expect(calls.filter((call) => call === 'create')).toHaveLength(1)
      expect(await storageOf(server, answer.cookie)).toEqual({ sum: 6 })
    })

    it('is not stored for a block that throws (T4, L2)', async () => {
      const { store, calls } = observed(makeBackend().store())
      const server = await serve(store)

      const answer = await server.visit(async (ctx) => {
        const { session } = ctx
        await failureOf(
          session.use((storage) => {
            storage['late'] = 1
            session.setPrivileges({ userName: 'ann', privileges: 'admin' })
            throw new Error('from the block')
          }),
        )
        return viewOf(ctx)
      })

      expect(answer.result).toMatchObject({ userName: '', privileges: [], storage: {} })
      expect(answer.cookie).toBeUndefined()
      expect(calls).toEqual([])
    })

    it('keeps what it had changed before a block that throws (T4)', async () => {
      const server = await serve(makeBackend().store())

      const answer = await server.visit(async (ctx) => {
        ctx.session.storage['early'] = 1
        await ctx.session.use((storage) => {
          storage['late'] = 2
          ctx.throw(409)
        })
      })

      expect(answer.status).toBe(409)
      expect(await storageOf(server, answer.cookie)).toEqual({ early: 1 })
    })
  })

  describe('waiting', () => {
    it('is bounded while another process holds the lock (T4)', async () => {
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

    it('is bounded while another request of the process has its block (T4)', async () => {
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

    it('ends when the lock is given back (T4)', async () => {
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

    it('ends when the session is ended, with ERR_SESSION_ENDED (T4, L8)', async () => {
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

    it('is done in order by the blocks of one process, of which one asks (T4)', async () => {
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
    it('has its commit refused when it outlives its lock (T4)', async () => {
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

    it('has it refused for good, also when the handler goes on (T4)', async () => {
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

    it('has its save() refused, too (T4, S9)', async () => {
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

    it('leaves the lock of the one who has it now alone (T4)', async () => {
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

    it('throws ERR_SESSION_ENDED when the session ends during it, once told (T4, L8, M10)', async () => {
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
    // The lock goes with its lease.
    it(
      'answers 503 for a commit, keeps nothing, and the next block works (T4, F1)',
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

    it('stores nothing of the block later, when the handler goes on (T4, F1)', async () => {
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

    it('answers 503 for a lock, and the next block works (T4, F1)', async () => {
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

describe('session.use() in Redis', () => {
  it('leaves nothing of a lock behind, and nothing without an end (T4)', async () => {
    const prefix = uniquePrefix()
    const redis = connectRedis()
    const servers = await Promise.all(
      [1, 2].map(() => serve(new RedisStore(connectRedis(), { prefix }))),
    )
    const { cookie, credential } = await signUp(servers[0]!)

    const key = sessionKey(prefix, credential.id)
    const { lock, turn } = lockKeys(key)

    let duringBlock: readonly unknown[] = []
    await servers[0]!.visit(async (ctx) => {
      await ctx.session.use(async () => {
        duringBlock = [await redis.get(lock), await redis.pttl(lock), await redis.exists(turn)]
      })
    }, cookie)
    await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        servers[index % 2]!.visit((ctx) => ctx.session.use(() => {}), cookie),
      ),
    )

    expect(duringBlock).toEqual([
      expect.stringMatching(/^\S+$/),
      expect.toSatisfy((ms: number) => ms > 0, 'has an end'),
      0,
    ])
    expect(await redis.keys(`${prefix}*`)).toEqual([key])
  })

  it('costs one call to lock and one to commit (T4)', async () => {
    const prefix = uniquePrefix()
    const client = connectRedis()
    const server = await serve(new RedisStore(client, { prefix }))
    const { cookie } = await signUp(server)
    const increment = (): Promise<Answer> =>
      server.visit(async (ctx) => {
        await ctx.session.use((storage) => {
          storage['count'] = Number(storage['count'] ?? 0) + 1
        })
      }, cookie)
    await increment()

    const commands = await countCommands({ client }, async () => {
      await increment()
    })

    // The first one loads.
    expect(commands.map(commandName)).toEqual(['GET', 'EVALSHA', 'EVALSHA'])
  })

  it('is asked by one block of a process however many wait, and hands the lock on (T4)', async () => {
    const prefix = uniquePrefix()
    const client = connectRedis()
    const other = new RedisStore(connectRedis(), { prefix })
    const { store, lockers } = observed(new RedisStore(client, { prefix }))
    const server = await serve(store)
    const { cookie, credential } = await signUp(server)
    const increment = (): Promise<Answer> =>
      server.visit(async (ctx) => {
        called++
        await ctx.session.use((storage) => {
          storage['count'] = Number(storage['count'] ?? 0) + 1
        })
      }, cookie)
    let called = 0
    await increment()
    await other.lock(credential, { token: 'other', leaseMs: 60_000 })
    lockers.length = 0

    const commands = await countCommands({ client }, async () => {
      const answers = Array.from({ length: 20 }, increment)
      await vi.waitFor(() => {
        expect(called).toBe(21)
        expect(lockers.length).toBeGreaterThan(5)
      }, 4000)
      await unlock(other, credential.id, 'other')
      await Promise.all(answers)
    })

    expect(new Set(lockers).size).toBe(1)
    // Each block loads and commits; the rest is the one that asks for the lock.
    expect(commands.map(commandName).toSorted()).toEqual([
      ...Array.from({ length: 20 + lockers.length }, () => 'EVALSHA'),
      ...Array.from({ length: 20 }, () => 'GET'),
    ])
    expect(await storageOf(server, cookie)).toEqual({ made: true, count: 21 })
  })
})

/** Makes a stored session with `{ made: true }` in its storage. */
async function signUp(
  server: Server,
  userName?: string,
): Promise<{ readonly cookie: string; readonly credential: SessionCredential }> {
  const { cookie = '' } = await server.visit((ctx) => {
    ctx.session.storage['made'] = true
    if (userName !== undefined) ctx.session.setPrivileges({ userName })
  })
  const credential = parseCookieValue(cookie.slice('session='.length))
  if (!credential) throw new Error('the response gives no session')
  return { cookie, credential }
}

function viewOf({ session }: Context): Record<string, unknown> {
  return {
    userName: session.userName,
    privileges: session.getPrivileges(),
    idleTimeout: session.idleTimeout,
    storage: { ...session.storage },
  }
}

/** What the next request finds. */
async function storageOf(server: Server, cookie: string | undefined): Promise<unknown> {
  return (await server.visit((ctx) => ({ ...ctx.session.storage }), cookie)).result
}

/** Does with the session what another process would: takes its lock, changes `count`, gives it back. */
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

/** A store whose calls can be counted and made to fail. */
function observed(store: SessionStore): {
  readonly store: SessionStore
  readonly calls: string[]
  /** The credential of each call of `lock`: each request has one of its own. */
  readonly lockers: unknown[]
  /** Methods that reject, without effect. */
  readonly faults: Set<string>
} {
  const calls: string[] = []
  const lockers: unknown[] = []
  const faults = new Set<string>()
  const proxy = new Proxy(store, {
    get(target, name) {
      const method: unknown = Reflect.get(target, name)
      if (typeof method !== 'function') return method
      return (...args: unknown[]): unknown => {
        calls.push(String(name))
        if (name === 'lock') lockers.push(args[0])
        if (faults.has(String(name))) return Promise.reject(new Error('the store is broken'))
        return Reflect.apply(method, target, args)
      }
    },
  })
  return { store: proxy, calls, lockers, faults }
}

function memoryBackend(): Backend {
  const store = new MemoryStore()
  return {
    store: () => store,
    async expireLock() {
      vi.useFakeTimers({ toFake: ['Date'] })
      onTestFinished(() => {
        vi.useRealTimers()
      })
      vi.setSystemTime(Date.now() + 60_000)
    },
  }
}

function redisBackend(): Backend {
  const prefix = uniquePrefix()
  return {
    store: () => new RedisStore(connectRedis(), { prefix }),
    async expireLock(id) {
      const redis = connectRedis()
      await redis.pexpire(lockKeys(sessionKey(prefix, id)).lock, 0)
    },
  }
}

function gate(): { readonly opened: Promise<void>; open(): void } {
  let open: (() => void) | undefined
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { opened, open: () => open?.() }
}

async function failureOf(work: Promise<unknown> | undefined): Promise<unknown> {
  try {
    await work
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : String(error)
}
