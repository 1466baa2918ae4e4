import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync } from 'node:fs'
import { createServer } from 'node:https'
import { connect, createServer as createTcpServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'

import { Redis } from 'ioredis'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { commandName, countCommands } from './command-count.ts'
import { connectRedis, uniquePrefix } from './redis-client.ts'
import { startRedisSentinel } from './redis-sentinel.ts'
import { startRedisServer, type TestRedis, type TestRedisOptions } from './redis-server.ts'
import { selfSignedCertificate } from './tls.ts'

describe('startRedisSentinel', () => {
  it('starts a set that is in sync and leaves no process behind', { timeout: 60_000 }, async () => {
    const set = await startRedisSentinel(['--maxmemory', '16mb'])
    onTestFinished(() => set.stop())
    const [first, ...replicas] = set.servers
    const master = await set.master()

    await connectRedis(master.url).set('a', '1')
    await set.inSync()

    expect(master).toBe(first)
    for (const { url } of replicas) expect(await connectRedis(url).get('a')).toBe('1')
    expect(await connectRedis(replicas[1]!.url).config('GET', 'maxmemory')).toContain('16777216')
    expect(set.connection.sentinels).toHaveLength(3)

    master.kill('SIGSTOP')
    const processes = [...set.servers, ...set.sentinels]
    await set.stop()
    await set.stop()

    expect(processes.filter(({ pid }) => isAlive(pid))).toEqual([])
  })
})

describe('startRedisServer', () => {
  it('starts two servers at once and leaves no process behind', async () => {
    const [one, two] = await Promise.all([start(), start()])

    expect(one.port).not.toBe(two.port)
    expect(await connectRedis(one.url).ping()).toBe('PONG')
    expect(await connectRedis(two.url).ping()).toBe('PONG')
    expect(isAlive(one.pid)).toBe(true)

    await Promise.all([one.stop(), two.stop()])

    expect(isAlive(one.pid)).toBe(false)
    expect(isAlive(two.pid)).toBe(false)
  })

  it('persists nothing and accepts further arguments', async () => {
    const server = await start({ args: ['--maxmemory', '8mb'] })
    const redis = connectRedis(server.url)

    expect(await redis.config('GET', 'maxmemory')).toEqual(['maxmemory', '8388608'])
    expect(await redis.config('GET', 'save')).toEqual(['save', ''])
    expect(await redis.config('GET', 'appendonly')).toEqual(['appendonly', 'no'])
    expect(await redis.config('GET', 'protected-mode')).toEqual(['protected-mode', 'yes'])
    expect(await redis.config('GET', 'bind')).toEqual(['bind', '127.0.0.1'])
  })

  it('stops a server twice, and one that was killed', async () => {
    const server = await start()
    const socket = await connected(server.port)

    const closed = closeOf(socket)
    server.kill('SIGKILL')
    await closed
    await server.stop()
    await server.stop()

    expect(isAlive(server.pid)).toBe(false)
  })

  it('stops a server that is frozen by SIGSTOP', async () => {
    const server = await start()

    server.kill('SIGSTOP')
    await server.stop()

    expect(isAlive(server.pid)).toBe(false)
  })

  it('stops a server that ignores SIGTERM', async () => {
    const server = await start()
    const redis = connectRedis(server.url)
    // Redis stays when it cannot write the required snapshot, here because of a directory.
    await redis.config('SET', 'save', '900 1')
    const [, directory] = await redis.config('GET', 'dir')
    mkdirSync(join(directory!, 'dump.rdb'))
    await redis.set('a', '1')

    await server.stop()

    expect(isAlive(server.pid)).toBe(false)
    expect(existsSync(directory!)).toBe(false)
  })

  it('comes back on the port of a server that was stopped', async () => {
    const server = await start()
    await server.stop()

    const again = await start({ port: server.port })

    expect(again.url).toBe(server.url)
    expect(again.pid).not.toBe(server.pid)
  })

  it('reports what redis-server wrote when it does not start', async () => {
    await expect(start({ args: ['--no-such-option', '1'] })).rejects.toThrow(/no-such-option/)
  })

  it('refuses a port that belongs to another server', async () => {
    const server = await start()

    await expect(start({ port: server.port })).rejects.toThrow(/in use|belongs to/)

    expect(await connectRedis(server.url).ping()).toBe('PONG')
  })

  it('refuses a port of something other than Redis', async () => {
    const other = createTcpServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
    onTestFinished(() => void other.close())
    other.listen(0, '127.0.0.1')
    await once(other, 'listening')
    const address = other.address()
    const port = typeof address === 'object' ? (address?.port ?? 0) : 0

    await expect(start({ port })).rejects.toThrow(/address already in use/i)
  })

  it('names what to install when the program is missing', async () => {
    vi.stubEnv('PATH', '/nonexistent')
    onTestFinished(() => {
      vi.unstubAllEnvs()
    })

    await expect(start()).rejects.toThrow(/^redis-server is not on the PATH: install .*$/)
  })

  it.each(['SIGTERM', 'SIGKILL'] as const)(
    'ends the server with a process that dies by %s',
    async (signal) => {
      const module = new URL('./redis-server.ts', import.meta.url).href
      const script = `
        const { startRedisServer } = await import(${JSON.stringify(module)})
        console.log((await startRedisServer()).port)`
      const parent = spawn(
        process.execPath,
        ['--import', 'tsx', '--input-type=module', '--eval', script],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      )
      const [line] = await once(parent.stdout, 'data')
      const socket = await connected(Number(String(line)))
      const closed = closeOf(socket)

      parent.kill(signal)

      await closed
    },
  )
})

describe('connectRedis', () => {
  const early = connectRedis()

  it('connects to the server of the test run, at the top of a file and in a test', async () => {
    const prefix = uniquePrefix()

    await early.set(`${prefix}a`, '1')

    expect(await connectRedis().get(`${prefix}a`)).toBe('1')
  })

  it('gives each test a prefix of its own', () => {
    expect(uniquePrefix()).toMatch(/^t:[0-9a-f]{8}:$/)
    expect(uniquePrefix()).not.toBe(uniquePrefix())
  })
})

describe('countCommands', () => {
  it('lists the commands of the client in order', async () => {
    const client = connectRedis()
    const prefix = uniquePrefix()
    const lua = `return redis.call('GET', KEYS[1])`
    const sha = String(await client.script('LOAD', lua))

    const commands = await countCommands({ client }, async () => {
      await client.set(`${prefix}a`, 'a "quoted" value with\nlines, \\ and {}')
      await client.get(`${prefix}a`)
      await client.evalsha(sha, 1, `${prefix}a`, 'b')
      await client.eval('return 1', 0)
      await client.ping()
    })

    expect(commands).toEqual([
      `SET ${prefix}a`,
      `GET ${prefix}a`,
      `EVALSHA ${prefix}a`,
      'EVAL',
      'PING',
    ])
    expect(commands.map(commandName)).toEqual(['SET', 'GET', 'EVALSHA', 'EVAL', 'PING'])
  })

  it('omits other clients, and commands before and after', async () => {
    const client = connectRedis()
    const other = connectRedis()
    const key = `${uniquePrefix()}a`
    await client.set(key, '0')

    const commands = await countCommands({ client }, async () => {
      await Promise.all([other.set(key, '1'), client.get(key), other.incr(key)])
    })
    await client.del(key)

    expect(commands).toEqual([`GET ${key}`])
  })

  it('sees a command that was not awaited', async () => {
    const client = connectRedis()
    const key = `${uniquePrefix()}a`

    const commands = await countCommands({ client }, async () => {
      void client.incr(key)
    })

    expect(commands).toEqual([`INCR ${key}`])
  })

  it('lists an EVALSHA that misses its script and the EVAL that follows', async () => {
    const client = connectRedis()
    const key = `${uniquePrefix()}a`
    const unknownSha = 'f'.repeat(40)

    const commands = await countCommands({ client }, async () => {
      await expect(client.evalsha(unknownSha, 1, key)).rejects.toThrow('NOSCRIPT')
      await client.eval(`return redis.call('INCR', KEYS[1])`, 1, key)
    })

    expect(commands).toEqual([`EVALSHA ${key}`, `EVAL ${key}`])
  })

  it('lists the commands of a pipeline and of a transaction', async () => {
    const client = connectRedis()
    const key = `${uniquePrefix()}a`

    const commands = await countCommands({ client }, async () => {
      await client.pipeline().get(key).ttl(key).exec()
      await client.multi().set(key, '1').exec()
    })

    expect(commands.toSorted()).toEqual(
      [`GET ${key}`, `TTL ${key}`, 'MULTI', `SET ${key}`, 'EXEC'].toSorted(),
    )
  })

  it('lists the commands of all clients, given a url or a bare client', async () => {
    const server = await start()
    const one = connectRedis(server.url)
    const two = connectRedis(server.url)
    const work = async (): Promise<void> => {
      await one.get('a')
      await two.get('b')
    }
    await work()

    expect(await countCommands(server.url, work)).toEqual(['GET a', 'GET b'])
    expect(await countCommands(one, work)).toEqual(['GET a', 'GET b'])
  })

  it('returns an empty list for work without commands', async () => {
    expect(await countCommands({ client: connectRedis() }, async () => {})).toEqual([])
  })

  it('is exact while other clients are busy', async () => {
    const client = connectRedis()
    const others = Array.from({ length: 8 }, () => connectRedis())
    const key = `${uniquePrefix()}a`
    const busy = new AbortController()
    const load = others.map(async (other) => {
      for (let index = 0; !busy.signal.aborted && index < 100_000; index += 1) await other.get(key)
    })

    for (let round = 0; round < 20; round += 1) {
      const commands = await countCommands({ client }, async () => {
        await client.set(key, '1')
      })
      expect(commands).toEqual([`SET ${key}`])
    }

    busy.abort()
    await Promise.all(load)
  })

  it('counts the commands of a client that the work has closed', async () => {
    const client = connectRedis()
    const key = `${uniquePrefix()}a`

    const commands = await countCommands({ client }, async () => {
      await client.get(key)
      await client.quit()
    })

    expect(commands[0]).toBe(`GET ${key}`)
  })

  it('rejects when the client has reconnected', async () => {
    const client = connectRedis()

    const counting = countCommands({ client }, async () => {
      client.disconnect(true)
      await once(client, 'ready')
    })

    await expect(counting).rejects.toThrow('reconnected')
  })

  it('rejects with the error of the work and leaves no monitor behind', async () => {
    const server = await start()
    const client = connectRedis(server.url)

    const counting = countCommands({ client }, async () => {
      throw new Error('from the work')
    })

    await expect(counting).rejects.toThrow('from the work')
    await vi.waitFor(async () => {
      expect(
        String(await client.client('LIST'))
          .trim()
          .split('\n'),
      ).toHaveLength(1)
    })
  })

  it('rejects when the server is gone', async () => {
    const server = await start()
    const client = new Redis(server.url, { retryStrategy: () => null })

    const counting = countCommands({ client }, async () => {
      await server.stop()
    })

    await expect(counting).rejects.toThrow(/closed/)
  })
})

describe('selfSignedCertificate', () => {
  it.each([{ servername: 'localhost' }, { host: '127.0.0.1' }])('serves %o', async (name) => {
    const { key, cert } = selfSignedCertificate()
    const server = createServer({ key, cert })
    server.listen(0, '127.0.0.1')
    onTestFinished(() => {
      server.close()
    })
    await once(server, 'listening')

    const socket = connectTls({ host: '127.0.0.1', ...name, port: portOf(server), ca: cert })
    await once(socket, 'secureConnect')

    expect(socket.authorized).toBe(true)
    socket.destroy()
  })
})

async function start(options?: TestRedisOptions): Promise<TestRedis> {
  const server = await startRedisServer(options)
  onTestFinished(() => server.stop())
  return server
}

/** A killed server may reset the connection, which also counts as the end. */
function closeOf(socket: Socket): Promise<void> {
  socket.on('error', () => {})
  return new Promise((resolve) => socket.once('close', () => resolve()))
}

async function connected(port: number): Promise<ReturnType<typeof connect>> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  return socket
}

function portOf(server: Server): number {
  const address = server.address()
  return typeof address === 'string' || address === null ? 0 : address.port
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
