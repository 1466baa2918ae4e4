import { hostname } from 'node:os'

import type { Context } from 'koa'
import { MemoryStore, RedisStore } from 'koa-user-sessions'
import type { Session, SessionsOptions, SessionStore } from 'koa-user-sessions'
import { describe, expect, it } from 'vitest'

import { newSecret } from '../../src/cookie/cookie.ts'
import { storedProcedureIdOf } from '../../src/session/session-types.ts'
import { sessionKey } from '../../src/store/redis/keys.ts'
import { read } from '../store/contract-parts.ts'
import { ObservedStore } from '../support/apps.ts'
import { commandName, countCommands } from '../support/command-count.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'
import { storedSession } from '../support/stored-text.ts'
import { serve } from '../support/visits.ts'
import type { Server } from '../support/visits.ts'

const storedProcedureId = storedProcedureIdOf('sess:')

/** Makes stores of the same sessions, each with its own client, as in another process. */
type Backend = () => SessionStore

const backends: readonly (readonly [string, () => Backend])[] = [
  [
    'MemoryStore',
    () => {
      const store = new MemoryStore()
      return () => store
    },
  ],
  [
    'RedisStore',
    () => {
      const prefix = uniquePrefix()
      return () => new RedisStore(connectRedis(), { prefix })
    },
  ],
]

describe.each(backends)('sessions.storedProcedure() with a %s', (_name, makeBackend) => {
  it('M8: is one session for all processes and all calls', async () => {
    const { here, there } = await twoServers(makeBackend())
    const mine = await here.sessions.storedProcedure()
    mine.storage['jobs'] = ['mail']
    await mine.save()

    const again = await here.sessions.storedProcedure()
    const theirs = await there.sessions.storedProcedure()

    expect([mine.id, again.id, theirs.id]).toEqual(Array(3).fill(storedProcedureId))
    expect({ ...again.storage }).toEqual({ jobs: ['mail'] })
    expect({ ...theirs.storage }).toEqual({ jobs: ['mail'] })
  })

  it('M8: is created once by 50 parallel first calls', async () => {
    const { here, there } = await twoServers(makeBackend())

    const sessions = await Promise.all(
      Array.from({ length: 50 }, (_, index) =>
        [here, there][index % 2]!.sessions.storedProcedure(),
      ),
    )
    const creations = new Set(sessions.map(({ info }) => info.creationDateTime))

    expect(new Set(sessions.map(({ id }) => id)).size).toBe(1)
    expect(creations.size).toBe(1)
    expect(sessions.map(({ isNew }) => isNew)).toEqual(Array(50).fill(false))
    expect([...here.events, ...there.events]).toEqual([])
  })

  it('M8: costs one store call once it exists', async () => {
    const { here } = await twoServers(makeBackend())
    await here.sessions.storedProcedure()
    here.store.calls.length = 0

    await here.sessions.storedProcedure()

    expect(here.store.calls).toEqual(['load'])
  })

  it('M8, T4: runs use() blocks one at a time, across all processes', async () => {
    const { here, there } = await twoServers(makeBackend())

    await Promise.all(
      Array.from({ length: 60 }, async (_, index) => {
        const session = await [here, there][index % 2]!.sessions.storedProcedure()
        await session.use(async (storage) => {
          const before = Number(storage['count'] ?? 0)
          await new Promise(setImmediate)
          storage['count'] = before + 1
        })
      }),
    )

    expect(await here.sessions.storage(storedProcedureId)).toEqual({ count: 60 })
  })

  it('T3: merges what two processes save at the same time, key by key', async () => {
    const { here, there } = await twoServers(makeBackend())
    const [one, other] = [
      await here.sessions.storedProcedure(),
      await there.sessions.storedProcedure(),
    ]

    one.storage['one'] = 1
    other.storage['other'] = 2
    await Promise.all([one.save(), other.save()])
    await one.reload()

    expect({ ...one.storage }).toEqual({ one: 1, other: 2 })
  })

  it('X4: is the current session inside run()', async () => {
    const { here } = await twoServers(makeBackend())
    const session = await here.sessions.storedProcedure()

    const current = await here.sessions.run(session, () => here.sessions.current)

    expect(current).toBe(session)
    expect(here.sessions.current).toBeUndefined()
  })

  it('M8: describes itself as the system, on this machine, without an end', async () => {
    const { here } = await twoServers(makeBackend())
    const session = await here.sessions.storedProcedure()

    expect(session).toMatchObject({
      id: storedProcedureId,
      type: 'storedProcedure',
      userName: 'system',
      user: { name: 'system' },
      expirationDate: '',
      idleTimeout: Infinity,
      isNew: false,
      token: null,
      actor: null,
      applicationId: null,
      clientCulture: null,
      clientUtcOffset: null,
    })
    expect(session.isNotWebOrDesktopClient()).toBe(true)
  })

  it('S7: has an info with all ten members, the same as by its id', async () => {
    const { here } = await twoServers(makeBackend())
    const session = await here.sessions.storedProcedure()

    const { info } = session

    expect(info).toEqual({
      type: 'storedProcedure',
      userName: 'system',
      machineName: Buffer.from(hostname()).subarray(0, 64).toString(),
      systemUserName: '',
      IPAddress: '',
      hostType: expect.stringMatching(/^(?:linux|mac|windows|other)$/),
      creationDateTime: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      state: 'active',
      ID: storedProcedureId,
      persistentID: storedProcedureId,
    })
    expect(await here.sessions.info(storedProcedureId)).toEqual(info)
  })

  it('S11: shows no end in JSON, which has no infinity', async () => {
    const { here } = await twoServers(makeBackend())
    const session = await here.sessions.storedProcedure()
    session.storage['job'] = 'TOP-SECRET'

    expect(JSON.parse(JSON.stringify(session))).toEqual({
      id: storedProcedureId,
      type: 'storedProcedure',
      userName: 'system',
      privileges: [],
      creationDateTime: session.info.creationDateTime,
      expirationDate: '',
      idleTimeout: null,
    })
  })

  it('M8: refuses an idle timeout', async () => {
    const { here } = await twoServers(makeBackend())
    const session = await here.sessions.storedProcedure()

    for (const minutes of [60, Infinity, 525_600, Number.NaN]) {
      expect(() => {
        session.idleTimeout = minutes
      }).toThrow(TypeError)
    }
    expect(session.idleTimeout).toBe(Infinity)
  })

  it('M8: has no absolute end, whatever the other sessions have', async () => {
    const { here } = await twoServers(makeBackend(), { absoluteTimeout: 60 })

    const session = await here.sessions.storedProcedure()

    expect(session.expirationDate).toBe('')
    expect(await read(here.store, storedProcedureId)).toMatchObject({
      endsAt: Infinity,
      idleTimeoutMs: Infinity,
    })
  })

  it('M8: cannot be ended', async () => {
    const { here, there } = await twoServers(makeBackend())
    const session = await here.sessions.storedProcedure()
    session.storage['kept'] = true

    await expect(session.destroy()).rejects.toThrow(TypeError)
    await session.save()

    expect(await here.sessions.terminate(session.id)).toBe(false)
    expect(await here.sessions.terminate(session.id, { userName: 'system' })).toBe(false)
    expect(await here.sessions.terminateAll('system')).toBe(0)
    expect(await here.sessions.terminateOthers({ id: 'other', userName: 'system' })).toBe(0)
    expect(await there.sessions.storage(session.id)).toEqual({ kept: true })
    expect(here.store.calls).not.toContain('destroy')
    expect(here.events).toEqual([])
  })

  it('M2: appears in no list', async () => {
    const { here } = await twoServers(makeBackend())
    const session = await here.sessions.storedProcedure()
    await session.save()

    expect(await here.sessions.list('system', { current: session })).toEqual([])
    expect(await here.sessions.list('')).toEqual([])
  })

  it('P7: has no privileges', async () => {
    const { here } = await twoServers(makeBackend())
    const session = await here.sessions.storedProcedure()

    expect(session.setPrivileges('WebAdmin')).toBe(false)
    expect(session.setPrivileges({ userName: 'ann', privileges: 'WebAdmin' })).toBe(false)
    expect(session.clearPrivileges()).toBe(false)
    expect(session.promote('WebAdmin')).toBe(0)
    expect(session.hasPrivilege('WebAdmin')).toBe(false)
    expect(session.getPrivileges()).toEqual([])
    expect(session.isGuest()).toBe(true)
    expect(session.userName).toBe('system')
    expect(await here.sessions.setPrivileges('system', 'WebAdmin')).toBe(0)
    expect(await here.sessions.clearPrivileges('system')).toBe(0)
  })

  it('P7: can have privileges when the options say so, but never a user', async () => {
    const { here, there } = await twoServers(makeBackend(), {
      privilegedTypes: ['web', 'storedProcedure'],
    })
    const session = await here.sessions.storedProcedure()

    expect(session.setPrivileges('WebAdmin')).toBe(true)
    for (const userName of ['ann', 'system', '']) {
      expect(() => session.setPrivileges({ userName })).toThrow(TypeError)
    }
    await session.save()

    const theirs = await there.sessions.storedProcedure()
    expect(theirs.getPrivileges()).toEqual(['WebAdmin'])
    expect(theirs.userName).toBe('system')
    expect(await there.sessions.list('system')).toEqual([])
    expect(theirs.clearPrivileges()).toBe(true)
    await theirs.save()
    expect((await here.sessions.storedProcedure()).isGuest()).toBe(true)
  })

  it('M8: is opened by no cookie', async () => {
    const { here } = await twoServers(makeBackend())
    const session = await here.sessions.storedProcedure()
    session.storage['secret'] = true
    await session.save()
    // Would set a cookie for other sessions.
    await session.regenerate()

    const bare = Buffer.from(storedProcedureId.replaceAll('-', ''), 'hex').toString('base64url')
    for (const value of [newSecret(storedProcedureId).value, bare, bare.padEnd(64, 'A'), '']) {
      const { result } = await here.visit(seen, `session=${value}`)
      expect(result).toMatchObject({ type: 'web', userName: '', storage: {} })
    }
  })

  it('M8: is independent of a user named system', async () => {
    const { here } = await twoServers(makeBackend())
    const session = await here.sessions.storedProcedure()
    session.storage['secret'] = true
    await session.save()
    const { cookie } = await here.visit((ctx) => {
      ctx.session.setPrivileges({ userName: 'system', privileges: 'browse' })
    })

    const { result } = await here.visit(seen, cookie)
    const listed = await here.sessions.list('system')
    const others = await here.sessions.terminateOthers(session)
    const ended = await here.sessions.terminateAll('system')

    expect(result).toMatchObject({ type: 'web', userName: 'system', storage: {} })
    expect(Reflect.get(Object(result), 'id')).not.toBe(session.id)
    expect(listed.map(({ id }) => id)).toEqual([Reflect.get(Object(result), 'id')])
    expect([others, ended]).toEqual([0, 1])
    expect(await here.sessions.storage(session.id)).toEqual({ secret: true })
  })

  it('K6: can be postponed, until its next use', async () => {
    const { here } = await twoServers(makeBackend())
    const session = await here.sessions.storedProcedure()

    await session.postpone()
    const before = await here.sessions.info(session.id)
    await session.touch()

    expect(before?.state).toBe('postponed')
    // No request waits for the refresh.
    await expect.poll(async () => (await here.sessions.info(session.id))?.state).toBe('active')
    expect((await here.sessions.storedProcedure()).idleTimeout).toBe(Infinity)
  })

  it('F1: rejects with ERR_SESSION_STORE when the store fails', async () => {
    const { here } = await twoServers(makeBackend())
    here.store.faults.set('create', 'rejects')
    await expect(here.sessions.storedProcedure()).rejects.toMatchObject(storeError)
    here.store.faults.clear()
    await here.sessions.storedProcedure()

    here.store.faults.set('load', 'rejects')

    await expect(here.sessions.storedProcedure()).rejects.toMatchObject(storeError)
  })
})

describe('sessions.storedProcedure() in Redis', () => {
  it('M8: has no time to live, whatever happens to it', async () => {
    const redis = connectRedis()
    const prefix = uniquePrefix()
    const key = sessionKey(prefix, storedProcedureIdOf(prefix))
    const { sessions } = await serve(new RedisStore(redis, { prefix }), { absoluteTimeout: 60 })
    const session = await sessions.storedProcedure()

    const times = [await redis.pttl(key)]
    session.storage['a'] = 1
    await session.save()
    await session.touch()
    await session.postpone()
    await session.touch()
    await session.use((storage) => {
      storage['b'] = 2
    })
    await sessions.storedProcedure()
    times.push(await redis.pttl(key))

    expect(times).toEqual([-1, -1])
    const stored = await storedSession(redis, key)
    expect(stored).toMatchObject({
      record: { endsAt: Infinity, idleTimeoutMs: Infinity, userName: '' },
      secrets: [],
      otps: [],
    })
    expect(await redis.keys(`${prefix}*`)).toEqual([key])
  })

  it('M8: differs under another prefix', async () => {
    const redis = connectRedis()
    const [one, other] = [
      await serve(new RedisStore(redis, { prefix: uniquePrefix() })),
      await serve(new RedisStore(redis, { prefix: uniquePrefix() })),
    ]
    const session = await one.sessions.storedProcedure()
    session.storage['mine'] = true
    await session.save()

    expect({ ...(await other.sessions.storedProcedure()).storage }).toEqual({})
    expect({ ...(await one.sessions.storedProcedure()).storage }).toEqual({ mine: true })
  })

  it('L3: costs one command, and three at its very first call', async () => {
    const redis = connectRedis()
    const { sessions } = await serve(new RedisStore(redis, { prefix: uniquePrefix() }))
    // So that Redis knows the scripts.
    const known = await serve(new RedisStore(redis, { prefix: uniquePrefix() }))
    await known.sessions.storedProcedure()

    const count = (): Promise<string[]> =>
      countCommands({ client: redis }, async () => {
        await sessions.storedProcedure()
      })
    const commands = [await count(), await count()]

    expect(commands.map((list) => list.map(commandName))).toEqual([
      // The first call of a process also asks for the time of Redis.
      ['GET', 'EVALSHA', 'EVALSHA', 'GET'],
      ['GET'],
    ])
  })

  it('F6: rejects with ERR_SESSION_STORE when its key holds something else', async () => {
    const redis = connectRedis()
    const prefix = uniquePrefix()
    const key = sessionKey(prefix, storedProcedureIdOf(prefix))
    const { sessions } = await serve(new RedisStore(redis, { prefix }))
    await redis.set(key, 'something else')

    await expect(sessions.storedProcedure()).rejects.toMatchObject(storeError)

    expect(await redis.get(key)).toBe('something else')
  })
})

const storeError = { code: 'ERR_SESSION_STORE', status: 503 }

/** A server, and what a test observes of it. */
interface ObservedServer extends Server {
  readonly store: ObservedStore
  readonly events: readonly string[]
}

/** Two servers that share their sessions. */
async function twoServers(
  backend: Backend,
  options: SessionsOptions = {},
): Promise<{ readonly here: ObservedServer; readonly there: ObservedServer }> {
  const start = async (): Promise<ObservedServer> => {
    const store = new ObservedStore(backend())
    const server = await serve(store, { lockTimeoutMs: 20_000, ...options })
    const events: string[] = []
    for (const name of ['session:created', 'session:signedIn', 'session:ended'] as const) {
      server.sessions.on(name, () => events.push(name))
    }
    return { ...server, store, events }
  }
  return { here: await start(), there: await start() }
}

function seen({ session }: Context): object {
  const { id, type, userName, storage }: Session = session
  return { id, type, userName, storage: { ...storage } }
}
