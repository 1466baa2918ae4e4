import { RedisStore } from 'koa-user-sessions'
import { describe, expect, it, vi } from 'vitest'

import { parseCookieValue } from '../../src/cookie/cookie.ts'
import { lockKeys, sessionKey } from '../../src/store/redis/keys.ts'
import { read, unlock } from '../store/contract-parts.ts'
import { commandName, countCommands } from '../support/command-count.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'
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
import type { Answer } from '../support/visits.ts'

describe.each(backends)('session.use() with a %s', (_name, makeBackend) => {
  describe('what it does', () => {
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

    it('sees what another request has committed since this one loaded the session (T4)', async () => {
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

    it('releases the lock when the next block comes with a secret that was rotated out (T4)', async () => {
      const backend = makeBackend()
      const store = backend.store()
      const server = await serve(backend.store())
      const { cookie } = await signUp(server)
      const codes: unknown[] = []

      const { cookie: rotated = '' } = await server.visit(async (ctx) => {
        let late: Promise<unknown> | undefined
        await ctx.session.use(async () => {
          // Waits in the queue, for which this block keeps the lock, then comes with an old secret.
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

    it('has committed when it returns, and holds no lock (T4)', async () => {
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

    it('first commits what the request had changed before (T4)', async () => {
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

  describe('calls within a request', () => {
    it('runs a nested block at once, as part of the outer block (T4)', async () => {
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

    it('continues after a nested block throws and the outer block catches (T4)', async () => {
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

    it('discards the outer block when a nested throw is not caught (T4)', async () => {
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

    it('continues with the next of several side-by-side calls after a throw (T4)', async () => {
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

    it('makes code that outlives its block wait in the queue (T4)', async () => {
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

    it('commits the changes of code that outlives its block in a block of its own (T4)', async () => {
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

    it('keeps the earlier changes of the request when a block throws (T4)', async () => {
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
})

describe('session.use() in Redis', () => {
  it('leaves no lock behind, and no key without an end (T4)', async () => {
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

    // The first one loads the session.
    expect(commands.map(commandName)).toEqual(['GET', 'EVALSHA', 'EVALSHA'])
  })

  it('is polled by only one block of a process, which hands the lock on (T4)', async () => {
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
    // Each block loads and commits; the rest are polls of the one block that asks for the lock.
    expect(commands.map(commandName).toSorted()).toEqual([
      ...Array.from({ length: 20 + lockers.length }, () => 'EVALSHA'),
      ...Array.from({ length: 20 }, () => 'GET'),
    ])
    expect(await storageOf(server, cookie)).toEqual({ made: true, count: 21 })
  })
})
