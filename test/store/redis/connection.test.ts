import { setImmediate as nextTurn } from 'node:timers/promises'

import type { Redis } from 'ioredis'
import { RedisStore, SessionStoreError } from 'koa-user-sessions'
import type { RedisClient } from 'koa-user-sessions'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { RedisConnection } from '../../../src/store/redis/connection.ts'
import { defineScript } from '../../../src/store/redis/script.ts'
import { slotOf } from '../../../src/store/redis/slot.ts'
import { commandName, countCommands } from '../../support/command-count.ts'
import { connectRedis, uniquePrefix } from '../../support/redis-client.ts'
import { startRedisServer } from '../../support/redis-server.ts'

const redis = connectRedis()
const connection = new RedisConnection(redis)

const echo = defineScript({
  keys: ['session'],
  args: ['one', 'two'],
  lua: `return 'echo 1 2\\n' .. session .. '/' .. one .. '/' .. two .. '/' .. (ARGV[2] or '')`,
  parse: ({ word, numbers, text }) => [word, ...numbers, text],
})

describe('get and getHead', () => {
  it('F6: distinguish a missing key from a key of another type', async () => {
    const [none, list, text] = [newKey(), newKey(), newKey()]
    await redis.rpush(list, 'a')
    await redis.set(text, '2a\n\tlonger')

    const answers = [none, list, text].map((key) =>
      Promise.all([connection.get(key), connection.getHead(key)]),
    )

    expect(await Promise.all(answers)).toEqual([
      [undefined, undefined],
      ['?', '?'],
      ['2a\n\tlonger', '2a\n\tlonger'],
    ])
  })

  it('M2: getHead reads few bytes after the head, however large the storage is', async () => {
    const key = newKey()
    const head = '2a'.padEnd(400, 'x')
    await redis.set(key, `${head}\na\t"${'y'.repeat(200_000)}"`)

    const read = await connection.getHead(key)

    expect(read?.split('\n')[0]).toBe(head)
    expect(read).toHaveLength(512)
  })

  it('H1: getHead reads each head as a whole, even if a cut would break a character', async () => {
    const key = newKey()
    for (const end of ['ž', '漢', '👩', 'x']) {
      for (let length = 500; length < 520; length++) {
        const head = 'x'.repeat(length) + end.repeat(3)
        for (const entries of ['', '\na\t1']) {
          await redis.set(key, head + entries)
          expect((await connection.getHead(key))?.split('\n')[0]).toBe(head)
        }
      }
    }
  })

  it('F1: reject with an error of the store when Redis fails', async () => {
    const client = await ownRedis()
    const own = new RedisConnection(client)
    await client.call('ACL', 'SETUSER', 'default', '-get', '-getrange')

    for (const call of [own.get('a'), own.getHead('a')]) {
      await expect(call).rejects.toMatchObject({
        code: 'ERR_SESSION_STORE',
        message: 'Redis failed: NOPERM',
      })
    }
  })
})

describe('run', () => {
  const call = { keys: { session: 'key' }, args: { one: 'a\\n', two: 2 }, rest: ['more\n\0'] }

  it('passes keys and arguments by name, and parses the reply', async () => {
    expect(await connection.run(echo, call)).toEqual(['echo', 1, 2, 'key/a\\n/2/more\n\0'])
    expect(await connection.run(echo, { ...call, args: { two: '', one: '' }, rest: [] })).toEqual([
      'echo',
      1,
      2,
      'key///',
    ])
    expect(await connection.run(echo, { ...call, args: { two: 5, one: '' }, rest: [] })).toEqual([
      'echo',
      1,
      2,
      'key//5/',
    ])
  })

  it('F6: sends a script as text once, when Redis does not know it', async () => {
    const client = await ownRedis()
    const own = new RedisConnection(client)
    const commands = await countCommands({ client }, async () => {
      await own.run(echo, call)
      await own.run(echo, call)
    })

    await client.script('FLUSH')
    const again = await countCommands({ client }, async () => {
      await own.run(echo, call)
      await own.run(echo, call)
    })

    const names = ['EVALSHA', 'EVAL', 'EVALSHA']
    expect(commands.map(commandName)).toEqual(names)
    expect(again.map(commandName)).toEqual(names)
  })

  it('F1: does not send a script again after any other error', async () => {
    const { client, sent } = clientThat(() => Promise.reject(new Error('READONLY no')))

    await expect(new RedisConnection(client).run(echo, call)).rejects.toThrow('READONLY no')

    expect(sent).toEqual(['evalsha'])
  })

  it.each([undefined, null, 5, ['echo'], Buffer.from('echo')])(
    'F1: rejects when a script replies %s, which is not text',
    async (reply) => {
      const { client } = clientThat(() => Promise.resolve(reply))

      await expect(new RedisConnection(client).run(echo, call)).rejects.toMatchObject({
        code: 'ERR_SESSION_STORE',
        message: 'Redis sent an unexpected reply',
      })
    },
  )
})

describe('a client without a connection', () => {
  it.each(['close', 'reconnecting', 'end'])(
    'F1: gets no command in the state %s',
    async (status) => {
      const { client, sent } = clientThat(() => Promise.resolve('echo'))
      const own = new RedisConnection({ ...client, status })
      const calls = [own.get('a'), own.getHead('a'), own.run(echo, echoCall)]

      for (const call of calls) {
        await expect(call).rejects.toThrow(new SessionStoreError('Redis is away'))
      }
      expect(sent).toEqual([])
    },
  )

  it.each(['wait', 'connecting', 'connect', 'ready', undefined])(
    'F1: gets commands in the state %s',
    async (status) => {
      const { client, sent } = clientThat(() => Promise.resolve('echo'))

      await new RedisConnection({ ...client, ...(status !== undefined && { status }) }).get('a')

      expect(sent).toEqual(['get'])
    },
  )

  it('F1: gets no command from the moment it lost its connection', async () => {
    const { client, sent } = clientThat(() => Promise.resolve('echo'))
    const own = Object.assign(client, { status: 'ready' })
    const connection = new RedisConnection(own)
    await connection.get('a')

    own.status = 'reconnecting'

    await expect(connection.get('b')).rejects.toThrow('Redis is away')
    expect(sent).toEqual(['get'])
  })
})

describe('the commands of one turn of the event loop', () => {
  it('L3: are sent together and in order, reads and scripts alike', async () => {
    const key = newKey()
    const append = defineScript({
      keys: ['session'],
      args: ['text'],
      lua: `return 'length ' .. redis.call('APPEND', session, text)`,
      parse: ({ numbers: [length] }) => length,
    })
    const notes: string[] = []
    const { client } = clientThat((name, ...args) => {
      notes.push(name)
      return Reflect.apply(Reflect.get(redis, name), redis, args)
    })
    const stream = { cork: () => void notes.push('cork'), uncork: () => void notes.push('uncork') }
    const own = new RedisConnection({ ...client, stream })
    const run = (text: string): Promise<unknown> =>
      own.run(append, { keys: { session: key }, args: { text } })
    await run('0')
    notes.length = 0

    const replies = await Promise.all([run('a'), own.get(key), run('b'), own.getHead(key)])

    expect(replies).toEqual([2, '0a', 3, '0ab'])
    expect(notes).toEqual(['cork', 'evalsha', 'get', 'evalsha', 'getrange', 'uncork'])
  })
})

describe('askTime', () => {
  it('L3: waits for an unknown time, and later asks after the calls', async () => {
    const own = new RedisConnection(redis)
    const clock = own.clockOf('a')

    const asking = own.askTime('a', clock)
    await asking
    const known = own.askTime('a', clock)

    expect(asking).toBeInstanceOf(Promise)
    expect(known).toBeUndefined()
    const [seconds] = await redis.time()
    expect(Math.abs(clock.now - Number(seconds) * 1000)).toBeLessThan(5000)
  })

  it('F1: fails while no time is known, and asks again next time', async () => {
    let isBroken = true
    const { client, sent } = clientThat(() =>
      isBroken ? Promise.reject(new Error('broken')) : Promise.resolve('time 1763000000000'),
    )
    const own = new RedisConnection(client)
    const clock = own.clockOf('a')

    await expect(own.askTime('a', clock)).rejects.toThrow('broken')
    isBroken = false
    await own.askTime('a', clock)

    expect(clock.isKnown).toBe(true)
    expect(sent).toEqual(['evalsha', 'evalsha'])
  })
})

describe('nodeOf and clockOf', () => {
  it('F6: return one node for a single Redis, and one for each master of a Cluster', () => {
    const { client } = clientThat(() => Promise.resolve(''))
    const keys = ['{a}', '{b}', '{c}']
    const slots: string[][] = []
    for (const [index, key] of keys.entries()) slots[slotOf(key)] = [`node ${index % 2}`, 'replica']
    const cluster = new RedisConnection({ ...client, isCluster: true, slots })
    const single = new RedisConnection({ ...client, slots })

    expect(keys.map((key) => cluster.nodeOf(key))).toEqual(['node 0', 'node 1', 'node 0'])
    expect(new Set(keys.map((key) => single.clockOf(key))).size).toBe(1)
    expect(cluster.nodeOf('{unknown}')).toBe('')
    expect(cluster.clockOf('{a}')).toBe(cluster.clockOf('{c}'))
    expect(cluster.clockOf('{a}')).not.toBe(cluster.clockOf('{b}'))
    expect([cluster.isCluster, single.isCluster]).toEqual([true, false])
  })
})

const echoCall = { keys: { session: 'key' }, args: { one: '', two: '' } }

/** A client that does something other than asking Redis, and records the calls. */
function clientThat(answer: (name: string, ...args: unknown[]) => Promise<unknown>): {
  readonly client: RedisClient
  readonly sent: readonly string[]
} {
  const sent: string[] = []
  const method =
    (name: string) =>
    async (...args: unknown[]): Promise<string> => {
      sent.push(name)
      // Whatever the test wants, of any type.
      const answered: object = { reply: await answer(name, ...args) }
      return Reflect.get(answered, 'reply')
    }
  const client = {
    get: method('get'),
    getrange: method('getrange'),
    evalsha: method('evalsha'),
    eval: method('eval'),
  }
  return { client, sent }
}

function newKey(): string {
  return `${uniquePrefix()}{a}`
}

async function ownRedis(): Promise<Redis> {
  const server = await startRedisServer()
  onTestFinished(() => server.stop())
  return connectRedis(server.url)
}

describe('the socket', () => {
  it('is corked for one turn of the event loop, and no longer', async () => {
    const { notes, client } = notingClient()
    const connection = new RedisConnection(client)

    await Promise.all([connection.get('a'), connection.get('b')])
    await nextTurn()
    await connection.get('c')
    await nextTurn()

    expect(notes).toEqual(['cork', 'a', 'b', 'uncork', 'cork', 'c', 'uncork'])
  })

  it('is uncorked even if the client has a new socket by then', async () => {
    const { notes, client } = notingClient()
    const connection = new RedisConnection(client)

    await connection.get('a')
    Object.assign(client, { stream: undefined })
    await nextTurn()
    await connection.get('b')

    expect(notes).toEqual(['cork', 'a', 'uncork', 'b'])
  })

  it('is uncorked while an app fakes its timers', async () => {
    const { notes, client } = notingClient()
    vi.useFakeTimers()
    onTestFinished(() => {
      vi.useRealTimers()
    })

    await new RedisConnection(client).get('a')
    await nextTurn()

    expect(notes).toEqual(['cork', 'a', 'uncork'])
  })

  it('may be missing on a client, which still sends', async () => {
    const { client } = notingClient()
    const store = new RedisStore({ ...client, stream: undefined })

    expect(store.nodeOf).toBeUndefined()
    expect(await new RedisConnection({ ...client, stream: undefined }).get('a')).toBe('')
  })
})

function notingClient(): { readonly notes: string[]; readonly client: RedisClient } {
  const notes: string[] = []
  const stream = { cork: () => void notes.push('cork'), uncork: () => void notes.push('uncork') }
  const get = async (key: string): Promise<string> => {
    notes.push(key)
    return ''
  }
  return { notes, client: { get, getrange: get, evalsha: get, eval: get, stream } }
}
