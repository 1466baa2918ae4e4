// What requests get from an app on a Redis Cluster while slots move, and while a master is frozen
// or is killed. Prints a table and fails when a figure is missed.
//
//   npm run bench -- cluster

import { once } from 'node:events'
import { Agent, request } from 'node:http'
import type { IncomingHttpHeaders } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'

import { Cluster } from 'ioredis'
import Koa from 'koa'
import { recommendedClusterOptions, session } from 'koa-user-sessions'

import { sessionKey } from '../../src/store/redis/keys.ts'
import { nodeTimeoutMs, startRedisCluster } from '../support/redis-cluster.ts'
import type { TestNode } from '../support/redis-cluster.ts'

interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  readonly ms: number
  /** When it was answered, by `performance.now()`. */
  readonly at: number
}

interface User {
  readonly cookie: string
  readonly slot: number
  /** The master of the session when the load begins. */
  node: TestNode | undefined
  sent: number
  /** The last number whose write was acknowledged. */
  acknowledged: number
  answers: Answer[]
}

interface Row {
  readonly figure: string
  readonly reached: string
  readonly isMet: boolean
}

const deadlineMs = 1000
const maxGapMs = nodeTimeoutMs + 3500
const userCount = 60
const guestLanes = 4
const pauseMs = 25
const movedSlots = 1500
const waitMs = 30_000

const agent = new Agent({ keepAlive: true, maxSockets: 2 * userCount })
const cluster = await startRedisCluster()
const redis = new Cluster([...cluster.addresses], recommendedClusterOptions)
redis.on('error', () => {})
await once(redis, 'ready')
const app = new Koa()
app.silent = true
const reasons = new Map<string, number>()
app.on('error', ({ message }: Error) => {
  // Without the slot and the node of a redirection.
  const reason = message.replace(/ \d+ [\d.:]+$/, '')
  reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
})
app.use(session({ redis, storeTimeoutMs: deadlineMs }))
app.use((ctx) => {
  if (ctx.path === '/page') ctx.body = 'page'
  else if (ctx.path === '/sign-in') {
    ctx.session.setPrivileges({ userName: String(ctx.query['n']) })
    ctx.body = ctx.session.id
  } else if (ctx.path === '/write') {
    ctx.session.storage['n'] = Number(ctx.query['n'])
    ctx.body = 'written'
  } else ctx.body = String(ctx.session.storage['n'] ?? 0)
})
const listening = app.listen(0, '127.0.0.1')
await once(listening, 'listening')
const address = listening.address()
const port = typeof address === 'object' ? address?.port : undefined

function ask(path: string, cookie?: string): Promise<Answer> {
  const start = performance.now()
  return new Promise((resolve, reject) => {
    const sent = cookie === undefined ? {} : { cookie }
    request({ host: '127.0.0.1', port, path, agent, headers: sent }, (response) => {
      let text = ''
      response.on('data', (chunk) => (text += String(chunk)))
      response.on('end', () => {
        const { statusCode: status = 0, headers } = response
        const at = performance.now()
        resolve({ status, headers, text, ms: at - start, at })
      })
    })
      .on('error', reject)
      .end()
  })
}

async function signIn(index: number): Promise<User> {
  const { headers, text } = await ask(`/sign-in?n=${index}`)
  const cookie = headers['set-cookie']?.[0]?.split(';')[0] ?? ''
  const slot = await cluster.slotOf(sessionKey('sess:', text))
  return { cookie, slot, node: undefined, sent: 0, acknowledged: 0, answers: [] }
}

/** All users write and read by turns during some work, and a little longer. */
async function during(work: () => Promise<void>): Promise<readonly Answer[]> {
  const guests: Answer[] = []
  for (const user of users) {
    user.answers = []
    user.node = await cluster.masterOf(user.slot)
  }
  const over = new AbortController()
  const repeat = async (once: () => Promise<void>): Promise<void> => {
    while (!over.signal.aborted) {
      await once()
      await delay(pauseMs)
    }
  }
  const lanes = users.map((user) =>
    repeat(async () => {
      const number = ++user.sent
      const written = await ask(`/write?n=${number}`, user.cookie)
      if (written.status === 200) user.acknowledged = number
      user.answers.push(written, await ask('/me', user.cookie))
    }),
  )
  for (let lane = 0; lane < guestLanes; lane++) {
    lanes.push(repeat(async () => void guests.push(await ask('/page'))))
  }
  await delay(500)
  await work()
  await delay(1000)
  over.abort()
  await Promise.all(lanes)
  return guests
}

/** How many users miss an acknowledged write. */
async function lost(): Promise<number> {
  const answers = await Promise.all(users.map(({ cookie }) => ask('/me', cookie)))
  return answers.filter(
    ({ status, text }, index) =>
      status !== 200 || Number(text) < (users[index]?.acknowledged ?? Infinity),
  ).length
}

function failed(answers: readonly Answer[]): readonly Answer[] {
  return answers.filter(({ status }) => status !== 200)
}

async function until(isTrue: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + waitMs
  while (!(await isTrue()) && performance.now() < end) await delay(50)
}

const rows: Row[] = []
const row = (figure: string, reached: string, isMet: boolean): void => {
  rows.push({ figure, reached, isMet })
}

const users = await Promise.all(Array.from({ length: userCount }, (_, index) => signIn(index)))

/** Sends a signal to the master of the first user, under load. */
async function strike(name: string, signal: 'SIGKILL' | 'SIGSTOP'): Promise<void> {
  await cluster.settled()
  const slot = users[0]?.slot ?? 0
  const victim = await cluster.masterOf(slot)
  let since = 0
  const guests = await during(async () => {
    since = performance.now()
    victim?.kill(signal)
    await until(async () => {
      const master = await cluster.masterOf(slot)
      return master !== undefined && master !== victim
    })
    const sent = users.map((user) => user.sent)
    await until(() => users.every((user, index) => user.acknowledged > (sent[index] ?? 0)))
  })
  if (signal === 'SIGSTOP') {
    victim?.kill('SIGCONT')
    await cluster.settled()
  }
  const struck = users.filter(({ node }) => node === victim).flatMap(({ answers }) => answers)
  const spared = users.filter(({ node }) => node !== victim).flatMap(({ answers }) => answers)
  const refused = failed(struck)
  const gapMs = Math.max(0, ...refused.map(({ at }) => at - since))
  const slowestMs = Math.max(...[...struck, ...spared, ...guests].map(({ ms }) => ms))
  const silent = refused.filter((answer) => answer.status !== 503 || !answer.headers['retry-after'])
  const missing = await lost()
  row(
    `${name}: gap at most ${nodeTimeoutMs} (node timeout) + 3500 ms`,
    `${gapMs.toFixed(0)} ms, ${refused.length} of ${struck.length} requests refused`,
    gapMs > 0 && gapMs <= maxGapMs,
  )
  row(
    `${name}: no request over ${deadlineMs} + 50 ms`,
    `${slowestMs.toFixed(0)} ms`,
    slowestMs <= deadlineMs + 50,
  )
  row(`${name}: only 503 with Retry-After`, `${silent.length} other failures`, silent.length === 0)
  row(
    `${name}: sessions of other shards do not notice`,
    `${failed(spared).length} of ${spared.length} failed`,
    spared.length > 0 && failed(spared).length === 0,
  )
  row(
    `${name}: not one guest failed`,
    `${failed(guests).length} of ${guests.length} failed`,
    failed(guests).length === 0,
  )
  row(`${name}: nothing acknowledged is lost`, `${missing} sessions`, missing === 0)
}

const to = await cluster.masterOf(users[0]?.slot ?? 0)
let movingMs = 0
const guests = await during(async () => {
  const start = performance.now()
  if (to) {
    const half = users.filter(({ node }, index) => node !== to && index % 2 === 0)
    await cluster.moveSlots(
      half.map(({ slot }) => slot),
      to,
    )
    await cluster.moveSlots(movedSlots - half.length, to)
  }
  movingMs = performance.now() - start
})
const answers = users.flatMap((user) => user.answers)
const owners = await Promise.all(users.map(({ slot }) => cluster.masterOf(slot)))
const changed = users.filter(({ node }, index) => node !== owners[index]).length
const missing = await lost()
row(
  `resharding ${movedSlots} slots: no error`,
  `${failed(answers).length} of ${answers.length} failed in ${movingMs.toFixed(0)} ms`,
  failed(answers).length === 0,
)
row(
  'resharding: nothing acknowledged is lost',
  `${missing} of ${userCount} sessions, ${changed} of which have moved`,
  missing === 0 && changed > 0,
)
row(
  'resharding: not one guest failed',
  `${failed(guests).length} of ${guests.length} failed`,
  failed(guests).length === 0,
)

await strike('frozen', 'SIGSTOP')
await strike('killed', 'SIGKILL')

const width = Math.max(...rows.map(({ figure }) => figure.length))
for (const { figure, reached, isMet } of rows) {
  console.log(`${isMet ? 'ok     ' : 'MISSED '} ${figure.padEnd(width)}  ${reached}`)
}
for (const [reason, count] of reasons) console.log(`        ${count} times: ${reason}`)
agent.destroy()
listening.close()
redis.disconnect()
await cluster.stop()
process.exitCode = rows.every(({ isMet }) => isMet) ? 0 : 1
