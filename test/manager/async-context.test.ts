import { EventEmitter, once } from 'node:events'
import { PassThrough } from 'node:stream'

import { MemoryStore, requireUser } from 'koa-user-sessions'
import type { SessionsOptions } from 'koa-user-sessions'
import supertest from 'supertest'
import { describe, expect, it } from 'vitest'

import { cookieOf, makeApp, storeKinds } from '../support/apps.ts'
import type { Handler, TestApp } from '../support/apps.ts'
import { makeKey, tokensWith } from '../support/tokens.ts'

const tokens = tokensWith(makeKey('HS256'))

function makeContextApp(
  options: SessionsOptions = {},
  handlers: Readonly<Record<string, Handler>> = {},
): TestApp {
  return makeApp(handlers, { tokens, asyncContext: true, ...options })
}

/** Remote sessions of users with these names. */
async function openAll({ sessions }: TestApp, names: readonly string[]) {
  return Promise.all(names.map((userName) => sessions.open({ userName, applicationId: 'cli' })))
}

function makeDeferred(): { readonly promise: Promise<unknown>; readonly resolve: () => void } {
  const emitter = new EventEmitter()
  const promise = once(emitter, 'go')
  return { promise, resolve: () => void emitter.emit('go') }
}

/** Opens once the required number have come. */
function makeGate(count: number): () => Promise<unknown> {
  const { promise, resolve } = makeDeferred()
  let missing = count
  return () => {
    missing--
    if (missing === 0) resolve()
    return promise
  }
}

describe.each(storeKinds)('run(), with a %s', (_, makeStore) => {
  it('X4: loads the session of a token, and commits it at the end', async () => {
    const testApp = makeContextApp({ store: makeStore() })
    const [one] = await openAll(testApp, ['ann'])
    const { token, session } = one!

    const result = await testApp.sessions.run(token, (current) => {
      current.storage['a'] = 1
      return [current.id, testApp.sessions.current === current]
    })

    expect(result).toEqual([session.id, true])
    expect(await testApp.sessions.storage(session.id)).toEqual({ a: 1 })
  })

  it('X4: commits nothing when the code throws, and rejects with the same error', async () => {
    const testApp = makeContextApp({ store: makeStore() })
    const [one] = await openAll(testApp, ['ann'])
    const { token, session } = one!

    for (const fails of ['at once', 'later']) {
      const running = testApp.sessions.run(token, (current) => {
        current.storage['a'] = 1
        if (fails === 'at once') throw new Error(fails)
        return Promise.reject(new Error(fails))
      })
      await expect(running).rejects.toThrow(fails)
      expect(testApp.sessions.current).toBeUndefined()
    }

    expect(await testApp.sessions.storage(session.id)).toEqual({})
  })

  it('X4: does not commit a session that the caller owns', async () => {
    const testApp = makeContextApp({ store: makeStore() })
    const [one] = await openAll(testApp, ['ann'])
    const { session } = one!

    await testApp.sessions.run(session, (current) => {
      current.storage['a'] = 1
    })
    expect(await testApp.sessions.storage(session.id)).toEqual({})
    await session.save()
    expect(await testApp.sessions.storage(session.id)).toEqual({ a: 1 })
  })

  it('X4: lets work outlive a request until the session ends', async () => {
    const go = makeDeferred()
    const work: Promise<unknown>[] = []
    const testApp = makeContextApp(
      { store: makeStore() },
      {
        '/start': (ctx, { sessions }) => {
          const { session } = ctx
          work.push(
            (async () => {
              await go.promise
              await sessions.current?.use((storage) => {
                storage['used'] = session.id === sessions.current?.id
              })
              session.storage['saved'] = true
              await session.save()
              await sessions.terminate(session.id)
              await expect(session.save()).rejects.toMatchObject({ code: 'ERR_SESSION_ENDED' })
              await expect(session.use(() => {})).rejects.toMatchObject({
                code: 'ERR_SESSION_ENDED',
              })
              return sessions.current?.id
            })(),
          )
        },
      },
    )
    const cookie = cookieOf(await testApp.visit('/login'))
    const { id } = (await testApp.visit('/me', cookie)).body

    expect((await testApp.visit('/start', cookie)).status).toBe(200)
    await testApp.visit('/write?meanwhile=1', cookie)
    expect(await testApp.sessions.storage(id)).toEqual({ meanwhile: '1' })
    go.resolve()

    expect(await Promise.all(work)).toEqual([id])
    expect(await testApp.sessions.info(id)).toBeNull()
  })

  it('X4: keeps what such work has stored', async () => {
    const go = makeDeferred()
    const work: Promise<unknown>[] = []
    const testApp = makeContextApp(
      { store: makeStore(), asyncContext: false },
      {
        '/start': ({ session }) => {
          const later = async (): Promise<void> => {
            await go.promise
            await session.use((storage) => void (storage['used'] = storage['meanwhile']))
            session.storage['saved'] = true
            await session.save()
          }
          work.push(later())
        },
      },
    )
    const { token, session } = (await openAll(testApp, ['ann']))[0]!
    const asked = supertest(testApp.app.callback())

    await asked.get('/start').set('Authorization', `Bearer ${token}`)
    await asked.get('/write?meanwhile=1').set('Authorization', `Bearer ${token}`)
    go.resolve()
    await Promise.all(work)

    expect(await testApp.sessions.storage(session.id)).toEqual({
      meanwhile: '1',
      used: '1',
      saved: true,
    })
  })
})

describe('run()', () => {
  it('X4: restores the previous session after inner runs, even when they throw', async () => {
    const testApp = makeContextApp()
    const { sessions } = testApp
    const [ann, bob] = await openAll(testApp, ['ann', 'bob'])
    const seen: unknown[] = []
    const see = (): void => void seen.push(sessions.current?.userName)

    see()
    await sessions.run(ann!.token, async () => {
      see()
      await sessions.run(bob!.session, see)
      see()
      await sessions.run(bob!.token, () => Promise.reject(new Error('x'))).catch(see)
      see()
      await expect(sessions.run('bad', see)).rejects.toThrow()
      see()
    })
    see()

    expect(seen).toEqual([undefined, 'ann', 'bob', 'ann', 'ann', 'ann', 'ann', undefined])
  })

  it('X4: keeps 50 parallel runs apart', async () => {
    const testApp = makeContextApp()
    const { sessions } = testApp
    const names = Array.from({ length: 50 }, (_, index) => `user${index}`)
    const opened = await openAll(testApp, names)
    const [first, second, third] = [makeGate(50), makeGate(50), makeGate(50)]

    const seen = await Promise.all(
      opened.map(({ token }, index) =>
        sessions.run(token, async (session) => {
          const users: unknown[] = [sessions.current?.userName]
          await first()
          users.push(sessions.current?.userName)
          await session.use(async (storage) => {
            await second()
            storage['name'] = sessions.current?.userName
          })
          const next = opened[(index + 1) % 50]!
          await sessions.run(next.session, async () => {
            await third()
            users.push(sessions.current?.userName)
          })
          return [...users, sessions.current?.userName]
        }),
      ),
    )

    expect(seen).toEqual(names.map((name, index) => [name, name, names[(index + 1) % 50], name]))
    for (const { session } of opened) {
      expect(await sessions.storage(session.id)).toEqual({ name: session.userName })
    }
  })

  it('X4: follows timers, ticks, streams and emitters', async () => {
    const testApp = makeContextApp()
    const { sessions } = testApp
    const [ann, bob] = await openAll(testApp, ['ann', 'bob'])
    const start = async (): Promise<unknown[]> => {
      const emitter = new EventEmitter()
      const stream = new PassThrough()
      const seen = [
        new Promise((resolve) => setTimeout(() => resolve(sessions.current?.userName))),
        new Promise((resolve) => setImmediate(() => resolve(sessions.current?.userName))),
        new Promise((resolve) => process.nextTick(() => resolve(sessions.current?.userName))),
        new Promise((resolve) => queueMicrotask(() => resolve(sessions.current?.userName))),
        new Promise((resolve) => stream.once('data', () => resolve(sessions.current?.userName))),
        new Promise((resolve) => emitter.once('event', () => resolve(sessions.current?.userName))),
      ]
      stream.end('x')
      emitter.emit('event')
      return Promise.all(seen)
    }

    const [anns, bobs] = await Promise.all([
      sessions.run(ann!.token, start),
      sessions.run(bob!.token, start),
    ])

    expect(anns).toEqual(Array.from({ length: 6 }, () => 'ann'))
    expect(bobs).toEqual(Array.from({ length: 6 }, () => 'bob'))
    expect(sessions.current).toBeUndefined()
  })

  it.each(['', 'x', 'a.b.c'])('X4: refuses %j as a token', async (token) => {
    const testApp = makeContextApp()
    let runs = 0

    await expect(testApp.sessions.run(token, () => runs++)).rejects.toMatchObject({
      code: 'ERR_SESSION_TOKEN',
      status: 401,
    })
    expect(runs).toBe(0)
  })

  it('X4: rejects for the token of an ended session, and for a failing store', async () => {
    const testApp = makeContextApp()
    const [ann, bob] = await openAll(testApp, ['ann', 'bob'])
    await testApp.sessions.terminate(ann!.session.id)
    await expect(testApp.sessions.run(ann!.token, () => 1)).rejects.toMatchObject({ status: 401 })

    testApp.store.faults.set('load', 'rejects')
    await expect(testApp.sessions.run(bob!.token, () => 1)).rejects.toMatchObject({ status: 503 })
  })

  it('X4: returns what the code returns, and lets it end the session', async () => {
    const testApp = makeContextApp()
    const [ann] = await openAll(testApp, ['ann'])

    expect(await testApp.sessions.run(ann!.token, () => 7)).toBe(7)
    expect(await testApp.sessions.run(ann!.token, (session) => session.destroy())).toBeUndefined()
    expect(await testApp.sessions.info(ann!.session.id)).toBeNull()
  })

  it('X4: sets the current session of its own Sessions only', async () => {
    const [one, other] = [makeContextApp(), makeContextApp()]
    const [ann] = await openAll(one, ['ann'])

    await one.sessions.run(ann!.token, () => {
      expect(one.sessions.current?.userName).toBe('ann')
      expect(other.sessions.current).toBeUndefined()
    })
  })
})

const ask: Handler = (ctx, { sessions }) => {
  ctx.body = {
    isSame: sessions.current === ctx.session,
    user: sessions.current?.userName ?? null,
  }
}

describe('sessions.current', () => {
  it('X4: is the session of the request in all of its code, with asyncContext', async () => {
    const seen: unknown[] = []
    const testApp = makeContextApp({}, { '/current': ask })
    const { app, sessions } = testApp
    app.use(requireUser())
    app.use(async (_ctx, next) => {
      seen.push(sessions.current?.userName)
      await new Promise((resolve) => setImmediate(resolve))
      await next()
      seen.push(sessions.current?.userName)
    })
    app.use((ctx) => {
      ctx.body = sessions.current?.userName
    })
    const cookie = cookieOf(await testApp.visit('/login'))

    expect((await testApp.visit('/current', cookie)).body).toEqual({ isSame: true, user: 'ann' })
    expect((await testApp.visit('/current')).body).toEqual({ isSame: true, user: '' })
    expect((await testApp.visit('/other', cookie)).text).toBe('ann')
    expect(seen).toEqual(['ann', 'ann'])
    expect(sessions.current).toBeUndefined()
  })

  it('X4: follows a session that is ended or replaced in the request', async () => {
    const testApp = makeContextApp(
      {},
      {
        '/leave': (ctx, { sessions }) => {
          const { id } = ctx.session
          ctx.session = null
          ctx.body = [sessions.current === ctx.session, sessions.current?.id === id]
        },
      },
    )
    const cookie = cookieOf(await testApp.visit('/login'))

    expect((await testApp.visit('/leave', cookie)).body).toEqual([true, false])
  })

  it('X4: is undefined in requests without asyncContext', async () => {
    const testApp = makeContextApp({ asyncContext: false }, { '/current': ask })
    const cookie = cookieOf(await testApp.visit('/login'))

    expect((await testApp.visit('/current', cookie)).body).toEqual({ isSame: false, user: null })
  })

  it('X4: is never that of a parallel request', async () => {
    const gates = [makeGate(30), makeGate(30)]
    const testApp = makeContextApp(
      {},
      {
        '/together': async (ctx, { sessions }) => {
          const seen: unknown[] = []
          for (const gate of gates) {
            await gate()
            seen.push(sessions.current?.userName)
          }
          ctx.body = seen
        },
      },
    )
    const names = Array.from({ length: 30 }, (_, index) => `user${index}`)
    const cookies = await Promise.all(
      names.map(async (name) => cookieOf(await testApp.visit(`/login?user=${name}`))),
    )

    const answers = await Promise.all(cookies.map((cookie) => testApp.visit('/together', cookie)))

    expect(answers.map(({ body }) => body)).toEqual(names.map((name) => [name, name]))
  })

  it('X4: throws when the session could not be loaded', async () => {
    const testApp = makeContextApp(
      { store: new MemoryStore() },
      { '/current': (_ctx, { sessions }) => void sessions.current },
    )
    const cookie = cookieOf(await testApp.visit('/login'))
    testApp.store.faults.set('load', 'rejects')

    expect((await testApp.visit('/current', cookie)).status).toBe(503)
    expect((await testApp.visit('/page', cookie)).status).toBe(200)
  })

  it('X4: is the session of run() inside it, and that of the request again afterwards', async () => {
    const testApp = makeContextApp(
      {},
      {
        '/run': async (ctx, { sessions }) => {
          const { token } = await sessions.open({ userName: 'bob', applicationId: 'cli' })
          const seen = [sessions.current?.userName]
          await sessions.run(token, () => {
            seen.push(sessions.current?.userName, ctx.session.userName)
          })
          ctx.body = [...seen, sessions.current?.userName]
        },
      },
    )
    const cookie = cookieOf(await testApp.visit('/login'))

    expect((await testApp.visit('/run', cookie)).body).toEqual(['ann', 'bob', 'ann', 'ann'])
  })
})
