import { describe, expect, it } from 'vitest'

import { read } from '../store/contract-parts.ts'
import { backends, failureOf, signUp, storageOf, viewOf } from '../support/use-blocks.ts'
import { serve } from '../support/visits.ts'

describe.each(backends)('session.use() with a %s', (_name, makeBackend) => {
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

    it('keeps a secret that was rotated after reload(), whatever the block throws (T4, S9)', async () => {
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

    it('starts a session for another user, and continues in it (T4, C5)', async () => {
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
})
