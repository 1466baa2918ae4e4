import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'

import { Cluster } from 'ioredis'
import { recommendedClusterOptions } from 'koa-user-sessions'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'

import { sessionKey } from '../../src/store/redis/keys.ts'
import { cookieOf, makeApp } from '../support/apps.ts'
import type { Handler, TestApp } from '../support/apps.ts'
import { uniquePrefix } from '../support/redis-client.ts'
import { startRedisCluster } from '../support/redis-cluster.ts'
import type { TestCluster, TestNode } from '../support/redis-cluster.ts'

/** The response to a visitor. */
interface Answer {
  readonly status: number
  readonly retryAfter: string | undefined
  readonly ms: number
}

/** A user with a session, who writes one number after the other. */
interface User {
  readonly cookie: string
  readonly slot: number
  /** The master of the session at the beginning. */
  readonly node: TestNode
  readonly answers: Answer[]
  sent: number
  /** The last number whose write was acknowledged. */
  acknowledged: number
  /** Reads that showed less than had been acknowledged. */
  readonly staleReads: unknown[]
}

/** An app on a Cluster and its users. */
interface Stage extends TestApp {
  readonly cluster: TestCluster
  readonly users: readonly User[]
}

interface StageOptions {
  readonly storeTimeoutMs?: number
  /** By path. */
  readonly handlers?: Readonly<Record<string, Handler>>
}

/** All users at work, beside guests and visitors who sign in. */
interface Load {
  readonly guests: readonly Answer[]
  readonly signIns: readonly Answer[]
  /** Waits until each user has an acknowledged write that was sent after this call. */
  allWork(): Promise<void>
  stop(): Promise<void>
}

const userCount = 12
const eachMs = 30
const patience = { timeout: 20_000, interval: 50 }
const faultTimeout = 60_000

describe('a healthy Cluster', () => {
  let cluster: TestCluster

  beforeAll(async () => {
    cluster = await startRedisCluster()
  }, faultTimeout)

  afterAll(() => cluster.stop())

  it(
    'F6: fails no request and loses nothing while slots move',
    { timeout: faultTimeout },
    async () => {
      const stage = await open(cluster)
      const { users } = stage
      const [from, to] = [users[0]?.node, users.find(({ node }) => node !== users[0]?.node)?.node]
      const moved = users.filter(({ node }) => node === from)
      const load = start(stage)

      await load.allWork()
      if (to) {
        await cluster.moveSlots(
          moved.map(({ slot }) => slot),
          to,
        )
        await cluster.moveSlots(100, to)
      }
      await load.allWork()
      await load.stop()

      expect(statusesOf(users.flatMap(({ answers }) => answers))).toEqual([200])
      expect(statusesOf([...load.guests, ...load.signIns])).toEqual([200])
      const owners = await Promise.all(moved.map(({ slot }) => cluster.masterOf(slot)))
      expect(new Set(owners.map((node) => node?.port))).toEqual(new Set([to?.port]))
      await expectNothingLost(stage)
    },
  )

  it(
    'F6: fails no request when SCRIPT FLUSH comes in between',
    { timeout: faultTimeout },
    async () => {
      const stage = await open(cluster)
      const load = start(stage)

      for (let times = 0; times < 10; times++) {
        await Promise.all(cluster.nodes.map(({ client }) => client.script('FLUSH')))
        await load.allWork()
      }
      await load.stop()

      expect(statusesOf(stage.users.flatMap(({ answers }) => answers))).toEqual([200])
      expect(statusesOf([...load.guests, ...load.signIns])).toEqual([200])
      await expectNothingLost(stage)
    },
  )

  it(
    'F5: applies no write that was answered 503 when a frozen master resumes',
    { timeout: faultTimeout },
    async () => {
      const frozen = new AbortController()
      let arrived = 0
      const held: Handler = async ({ session: { storage } }) => {
        arrived++
        await once(frozen.signal, 'abort')
        storage['late'] = 1
      }
      const { users, visit } = await open(cluster, {
        storeTimeoutMs: 200,
        handlers: { '/held': held },
      })
      const victim = users[0]?.node
      const struck = users.filter(({ node }) => node === victim)
      await Promise.all(struck.map(({ cookie }) => visit('/write?n=0', cookie)))

      const late = Promise.all(struck.map(({ cookie }) => visit('/held', cookie)))
      await vi.waitFor(() => expect(arrived).toBe(struck.length), patience)
      victim?.kill('SIGSTOP')
      frozen.abort()
      const statuses = (await late).map(({ status }) => status)
      victim?.kill('SIGCONT')

      expect(new Set(statuses)).toEqual(new Set([503]))
      await vi.waitFor(async () => {
        const again = await Promise.all(struck.map(({ cookie }) => visit('/me', cookie)))
        expect(again.map(({ body }) => body.storage)).toEqual(struck.map(() => ({ n: '0' })))
      }, patience)
      await cluster.settled()
    },
  )

  it(
    'F5: sends no command twice after its connection broke',
    { timeout: faultTimeout },
    async () => {
      const redis = await connect(cluster, recommendedClusterOptions)
      const key = uniquePrefix()
      await redis.get(key)
      const master = await cluster.masterOf(await cluster.slotOf(key))
      const broken = once(redis, '-node')

      master?.kill('SIGSTOP')
      const adding = Promise.allSettled([redis.incr(key)])
      await broken
      // It now runs what it received before.
      master?.kill('SIGCONT')
      const [added] = await adding

      expect(added?.status).toBe('rejected')
      await vi.waitFor(async () => expect(await master?.client.get(key)).toBe('1'), patience)
      await cluster.settled()
    },
  )
})

describe('a Cluster that loses a master', () => {
  it.each(['SIGKILL', 'SIGSTOP'] as const)(
    'F1, F4, F5, F6: keeps serving other sessions, and its own after the failover (%s)',
    { timeout: faultTimeout },
    async (signal) => {
      const cluster = await startRedisCluster()
      onTestFinished(() => cluster.stop())
      const stage = await open(cluster)
      const { users, visit } = stage
      const victim = users[0]?.node
      const struck = users.filter(({ node }) => node === victim)
      const spared = users.filter(({ node }) => node !== victim)
      await Promise.all(struck.map(({ cookie }) => visit('/write?before=1', cookie)))
      const ended = await signedOut(stage)
      // Replicas follow later: what they do not have yet would be lost with the master.
      await cluster.settled()

      victim?.kill(signal)
      const load = start(stage)
      // So many at once that no other request is answered while they give up.
      const burst = Array.from({ length: 10 }, () => struck.map(({ cookie }) => cookie)).flat()
      const refused = await Promise.all(burst.map((cookie) => visit('/me', cookie)))
      await vi.waitFor(async () => {
        const master = await cluster.masterOf(struck[0]?.slot ?? 0)
        expect(master).not.toBeOneOf([undefined, victim])
      }, patience)
      await load.allWork()
      const newcomer = await visit('/login')
      await load.stop()

      expect(refused.filter(({ status }) => status !== 200 && status !== 503)).toEqual([])
      expect(statusesOf(spared.flatMap(({ answers }) => answers))).toEqual([200])
      expect(statusesOf(load.guests)).toEqual([200])
      const answers = [...struck.flatMap((user) => user.answers), ...load.signIns]
      expect(statusesOf(answers)).toEqual([200, 503])
      expect(answers.filter(({ status, retryAfter }) => status === 503 && !retryAfter)).toEqual([])
      expect(answers.filter(({ ms }) => ms > 5000)).toEqual([])
      expect(newcomer.status).toBe(200)
      const kept = await expectNothingLost(stage)
      expect(kept.filter(({ before }) => before === '1')).toHaveLength(struck.length)

      if (signal === 'SIGSTOP') {
        victim?.kill('SIGCONT')
        await cluster.settled()
        expect(await expectNothingLost(stage)).toEqual(kept)
      }
      for (const cookie of ended) {
        expect((await visit('/me', cookie)).body).toMatchObject({ isGuest: true, userName: '' })
      }
    },
  )
})

/** Opens an app, and sessions on all masters. */
async function open(
  cluster: TestCluster,
  { storeTimeoutMs = 1000, handlers = {} }: StageOptions = {},
): Promise<Stage> {
  const redis = await connect(cluster, {
    ...recommendedClusterOptions,
    // Longer than the deadline: a silent node must not affect others even if the client is patient.
    redisOptions: { ...recommendedClusterOptions.redisOptions, socketTimeout: 2000 },
  })
  const prefix = uniquePrefix()
  const testApp = makeApp(handlers, { redis, prefix, storeTimeoutMs })
  testApp.app.silent = true
  const users = await Promise.all(
    Array.from({ length: userCount }, async (_, index): Promise<User> => {
      const cookie = cookieOf(await testApp.visit(`/login?user=user${index}`))
      const { id } = (await testApp.visit('/me', cookie)).body
      const slot = await cluster.slotOf(sessionKey(prefix, id))
      const node = await cluster.masterOf(slot)
      if (!node) throw new Error(`slot ${slot} has no master`)
      return { cookie, slot, node, answers: [], sent: 0, acknowledged: 0, staleReads: [] }
    }),
  )
  expect(new Set(users.map(({ node }) => node)).size).toBeGreaterThan(1)
  return { ...testApp, cluster, users }
}

/** Connects until the end of the test. */
async function connect(
  { addresses }: TestCluster,
  options: typeof recommendedClusterOptions,
): Promise<Cluster> {
  const redis = new Cluster([...addresses], options)
  redis.on('error', () => {})
  onTestFinished(() => redis.disconnect())
  await once(redis, 'ready')
  return redis
}

/** Ended sessions, by their cookies. */
async function signedOut({ visit }: Stage): Promise<readonly string[]> {
  const cookies = await Promise.all(
    Array.from({ length: userCount }, async () => cookieOf(await visit('/login'))),
  )
  await Promise.all(cookies.map((cookie) => visit('/logout', cookie)))
  return cookies
}

/** Has users write and read by turns. */
function start({ visit, users }: Stage): Load {
  const guests: Answer[] = []
  const signIns: Answer[] = []
  const over = new AbortController()
  onTestFinished(() => {
    over.abort()
  })

  const ask = async (answers: Answer[], path: string, cookie?: string): Promise<Asked> => {
    const since = performance.now()
    const { status, headers, body } = await visit(path, cookie)
    const ms = performance.now() - since
    answers.push({ status, retryAfter: headers['retry-after'], ms })
    return { isDone: status === 200, body }
  }
  const repeat = async (once: () => Promise<unknown>): Promise<void> => {
    while (!over.signal.aborted) {
      await once()
      await delay(eachMs)
    }
  }
  const work = async (user: User): Promise<void> => {
    const number = ++user.sent
    const written = await ask(user.answers, `/write?n=${number}`, user.cookie)
    if (written.isDone) user.acknowledged = number
    const read = await ask(user.answers, '/me', user.cookie)
    const { n } = read.body.storage ?? {}
    if (read.isDone && Number(n ?? 0) < user.acknowledged) user.staleReads.push(n)
  }
  const lanes = [
    ...users.map((user) => repeat(() => work(user))),
    repeat(() => ask(guests, '/page')),
    repeat(() => ask(guests, '/me')),
    repeat(() => ask(signIns, '/login?user=new')),
  ]

  return {
    guests,
    signIns,
    async allWork() {
      const since = users.map(({ sent }) => sent)
      await vi.waitFor(() => {
        const waiting = users.filter((user, index) => user.acknowledged <= (since[index] ?? 0))
        expect(waiting).toEqual([])
      }, patience)
    },
    async stop() {
      over.abort()
      await Promise.all(lanes)
    },
  }
}

interface Asked {
  readonly isDone: boolean
  readonly body: { readonly storage?: Readonly<Record<string, unknown>> }
}

/** Checks that the session of each user has what was acknowledged. Returns what it has. */
async function expectNothingLost({
  users,
  visit,
}: Stage): Promise<readonly Readonly<Record<string, unknown>>[]> {
  expect(users.flatMap(({ staleReads }) => staleReads)).toEqual([])
  const storages: Readonly<Record<string, unknown>>[] = []
  for (const { cookie, acknowledged, sent } of users) {
    const { status, body } = await visit('/me', cookie)
    expect(status).toBe(200)
    expect(Number(body.storage.n)).toBeGreaterThanOrEqual(acknowledged)
    expect(Number(body.storage.n)).toBeLessThanOrEqual(sent)
    storages.push(body.storage)
  }
  return storages
}

function statusesOf(answers: readonly Answer[]): readonly number[] {
  return [...new Set(answers.map(({ status }) => status))].toSorted((one, other) => one - other)
}
