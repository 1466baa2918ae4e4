import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { inspect } from 'node:util'

import { Cluster, Redis } from 'ioredis'
import { recommendedClusterOptions, recommendedRedisOptions } from 'koa-user-sessions'
import { beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'

import { sessionKey } from '../../src/store/redis/keys.ts'
import { cookieOf, makeApp } from '../support/apps.ts'
import { appAt, openStage } from '../support/fault-stage.ts'
import { loadThrough, needsStore, statuses, users } from '../support/load.ts'
import { connectRedis } from '../support/redis-client.ts'
import { startRedisCluster } from '../support/redis-cluster.ts'
import { startRedisServer } from '../support/redis-server.ts'
import type { TestRedis } from '../support/redis-server.ts'
import { storedSession } from '../support/stored-text.ts'
import { passRedisTime } from '../support/time.ts'
import { tour } from '../support/tour.ts'

const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
const [, , , ...rules] = /^ACL SETUSER app .*$/m.exec(readme)?.[0].split(' ') ?? []
const ofCluster = /a Cluster's client also ([^\n]*)\n/.exec(readme)?.[1]?.match(/\+[\w|]+/g) ?? []
const commands = rules.filter((rule) => rule.startsWith('+')).map((rule) => rule.slice(1))
const password = 'secret'

describe('the rights that an app needs in Redis', () => {
  let server: TestRedis
  let admin: Redis
  beforeAll(async () => {
    server = await startRedisServer()
    admin = connectRedis(server.url)
    return () => server.stop()
  })

  it('F6: are those listed in the README', async () => {
    await admin.acl('SETUSER', 'app', ...rules)

    await tour(await connect('app'))
  })

  it.each(commands)('F6: are not enough without %s', async (command) => {
    const name = `without-${command}`
    const warn = vi.spyOn(console, 'warn').mockReturnValue()
    onTestFinished(() => warn.mockRestore())
    await admin.acl('SETUSER', name, ...rules, `-${command}`)
    const redis = await connect(name)

    // Without it ioredis does not wait for a Redis that is loading its data, and warns.
    if (command === 'info') expect(warn).toHaveBeenCalled()
    // Without it the time to live is rewritten, but not the activity, so each load repeats that.
    else if (command === 'setrange') expect(await storesActivity(redis)).toBe(false)
    else await expect(tour(redis)).rejects.toThrow()
  })

  it('F6, L4: let a read store the activity', async () => {
    await admin.acl('SETUSER', 'reader', ...rules)

    expect(await storesActivity(await connect('reader'))).toBe(true)
  })

  it('F6: are also those of the README on a Cluster, and all of them are needed', async () => {
    const cluster = await startRedisCluster()
    onTestFinished(() => cluster.stop())
    const connectAs = (name: string): Cluster => {
      const { redisOptions } = recommendedClusterOptions
      const redis = new Cluster([...cluster.addresses], {
        ...recommendedClusterOptions,
        redisOptions: { ...redisOptions, username: name, password },
      })
      redis.on('error', () => {})
      onTestFinished(() => redis.disconnect())
      return redis
    }
    const allowed = async (name: string, ...more: string[]): Promise<Cluster> => {
      await Promise.all(
        cluster.nodes.map(({ client }) => client.acl('SETUSER', name, ...rules, ...more)),
      )
      return connectAs(name)
    }

    await tour(await allowed('app', ...ofCluster))
    expect(ofCluster.length).toBeGreaterThan(0)
    for (const command of ofCluster) {
      const others = ofCluster.filter((one) => one !== command)
      const redis = await allowed(`without-${command}`, ...others)
      await expect(tour(redis), command).rejects.toThrow()
    }
  })

  it('F6: cover every command of the store and its scripts', () => {
    const folder = new URL('../../src/store/redis/scripts/', import.meta.url)
    const used = new Set<string>(['info'])
    const connection = readFileSync(new URL('../connection.ts', folder), 'utf8')
    for (const [, name = ''] of connection.matchAll(/#redis\.(\w+)\(/g)) used.add(name)
    for (const file of readdirSync(folder)) {
      const text = readFileSync(new URL(file, folder), 'utf8')
      for (const [, name = ''] of text.matchAll(/redis\.p?call\('(\w+)'/g)) {
        used.add(name.toLowerCase())
      }
    }

    expect(commands.toSorted()).toEqual([...used].toSorted())
  })

  /** Whether a read after more than `refreshSeconds` stores its time. */
  async function storesActivity(redis: Redis): Promise<boolean> {
    const { visit } = makeApp({}, { redis })
    const cookie = cookieOf(await visit('/write?a=1'))
    const key = sessionKey('sess:', (await visit('/me', cookie)).body.id)
    await passRedisTime(admin, 'sess:', 90_000)
    const before = await storedSession(admin, key)
    await visit('/me', cookie)
    // Redis answers a connection in order: the refresh has come before this.
    await redis.get(key)
    return (await storedSession(admin, key)).activeAt > before.activeAt
  }

  async function connect(name: string): Promise<Redis> {
    const redis = new Redis(server.url, {
      ...recommendedRedisOptions,
      username: name,
      password,
    })
    redis.on('error', () => {})
    onTestFinished(() => redis.disconnect())
    await once(redis, 'ready')
    return redis
  }
})

it('F1, F4, H2: an app whose rights are taken away answers 503 until it gets them back', async () => {
  const { server, admin } = await openStage()
  await admin.acl('SETUSER', 'app', ...rules)
  const { redis, testApp } = appAt(
    server.port,
    {},
    { ...recommendedRedisOptions, username: 'app', password },
  )
  await once(redis, 'ready')

  const { during, all } = await loadThrough(testApp, {
    begin: () => admin.acl('SETUSER', 'app', '-@all'),
    end: () => admin.acl('SETUSER', 'app', ...rules),
  })

  expect(statuses(during, ...needsStore)).toEqual([503])
  expect(users(all, 'reader')).toEqual(['ann'])
  expect(inspect(testApp.errors, { depth: 9 })).toContain('NOPERM')
})

it('F1, F2, H2: an app with a wrong password answers 503 and does not reveal the password', async () => {
  const { server, testApp: good } = await openStage()
  const admin = connectRedis(server.url)
  await admin.acl('SETUSER', 'app', ...rules)
  const wrongPassword = 'not-the-password'
  const { redis, testApp } = appAt(
    server.port,
    {},
    {
      ...recommendedRedisOptions,
      username: 'app',
      password: wrongPassword,
    },
  )
  const [refusal]: unknown[] = await once(redis, 'error')

  const cookie = cookieOf(await good.visit('/login'))
  const answers = await Promise.all([
    testApp.visit('/who', cookie),
    testApp.visit('/admin', cookie),
    testApp.visit('/sign-in?user=ann'),
  ])

  expect(String(refusal)).toContain('WRONGPASS')
  expect(answers.map(({ status }) => status)).toEqual([503, 503, 503])
  expect((await testApp.visit('/page')).status).toBe(200)
  const told = inspect([testApp.errors, testApp.events], { depth: 9 })
  expect(told).not.toContain(wrongPassword)
  expect(told).not.toContain(cookie.slice('session='.length))
})
