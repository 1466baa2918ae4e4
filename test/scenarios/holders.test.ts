import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'

import { RedisStore } from 'koa-user-sessions'
import { expect, inject, it, onTestFinished } from 'vitest'

import { parseCookieValue } from '../../src/cookie/cookie.ts'
import { lockKeys, sessionKey } from '../../src/store/redis/keys.ts'
import { read } from '../store/contract-parts.ts'
import { cookieOf, makeApp } from '../support/apps.ts'
import type { TestApp } from '../support/apps.ts'
import { compiled } from '../support/compiled.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'

// Twice the lease, which is 3 s.
const lockTimeoutMs = 6000
// How far two readings of one lease may be apart.
const slackMs = 100
const program = new URL('holder.ts', import.meta.url)

/** A process whose block holds the lock of a session. */
interface Holder {
  readonly process: ChildProcess
  /** The response to its request. */
  readonly answer: Promise<Answer>
}

interface Answer {
  readonly status: number
  readonly text: string
}

it(
  'frees the lock of a process that is killed in its block (T4)',
  { timeout: 30_000 },
  async () => {
    const { testApp, prefix, cookie } = await here()
    const holder = await holdLock(prefix, cookie)
    const lost = expect(holder.answer).rejects.toThrow()

    holder.process.kill('SIGKILL')
    await lost
    const { status, text } = await testApp.visit('/use', cookie)

    expect(text).toBe('value was none')
    expect(status).toBe(200)
  },
)

it(
  'refuses the commit of a process that was frozen beyond its lease (T4)',
  { timeout: 30_000 },
  async () => {
    const { testApp, prefix, cookie } = await here()
    const holder = await holdLock(prefix, cookie)

    holder.process.kill('SIGSTOP')
    const meanwhile = await testApp.visit('/use', cookie)
    holder.process.kill('SIGCONT')
    holder.process.send('end')

    expect(meanwhile.text).toBe('value was none')
    expect(await holder.answer).toEqual({ status: 503, text: 'ERR_SESSION_LOCK_TIMEOUT' })
    const after = await testApp.visit('/use', cookie)
    expect(after.text).toBe('value was of another')
  },
)

it(
  'refuses the commit while another process is in its block, and leaves it the lock (T4)',
  {
    timeout: 30_000,
  },
  async () => {
    const { testApp, prefix, cookie } = await here()
    const frozen = await holdLock(prefix, cookie)
    frozen.process.kill('SIGSTOP')
    const another = await holdLock(prefix, cookie)

    frozen.process.kill('SIGCONT')
    frozen.process.send('end')

    expect(await frozen.answer).toEqual({ status: 503, text: 'ERR_SESSION_LOCK_TIMEOUT' })
    another.process.send('end')
    expect(await another.answer).toEqual({ status: 200, text: 'stored' })
    const after = await testApp.visit('/use', cookie)
    expect(after.text).toBe('value was of the holder')
  },
)

it(
  'reports an ended session to a process that was frozen (T4, L8)',
  {
    timeout: 30_000,
  },
  async () => {
    const { store, prefix, cookie, id } = await here()
    const holder = await holdLock(prefix, cookie)

    holder.process.kill('SIGSTOP')
    await store.destroy(id)
    holder.process.kill('SIGCONT')
    holder.process.send('end')

    expect(await holder.answer).toEqual({ status: 401, text: 'ERR_SESSION_ENDED' })
    expect(await read(store, id)).toBeUndefined()
  },
)

it(
  'keeps the lock of a process that takes longer than a lease (T4)',
  { timeout: 30_000 },
  async () => {
    const { testApp, prefix, cookie, lockOf } = await here()
    const holder = await holdLock(prefix, cookie)
    const first = await lockOf()

    await expect
      .poll(lockOf, { timeout: 10_000 })
      .toSatisfy((lock) => lock.until > first.until + slackMs)
    const waiting = testApp.visit('/use', cookie)
    await expect
      .poll(lockOf, { timeout: 10_000 })
      .toSatisfy((lock) => lock.until > first.until + first.leaseMs + slackMs)
    holder.process.send('end')

    expect(await holder.answer).toEqual({ status: 200, text: 'stored' })
    expect((await waiting).text).toBe('value was of the holder')
  },
)

/** An app in this process, and a session in it. */
async function here(): Promise<{
  readonly testApp: TestApp
  readonly store: RedisStore
  readonly prefix: string
  readonly cookie: string
  readonly id: string
  /** The end of the lock's lease, and the time left. Milliseconds. */
  readonly lockOf: () => Promise<{ readonly until: number; readonly leaseMs: number }>
}> {
  const prefix = uniquePrefix()
  const redis = connectRedis()
  const testApp = makeApp(
    {
      '/use': async (ctx) => {
        await ctx.session.use((storage) => {
          ctx.body = `value was ${storage['value'] ?? 'none'}`
          storage['value'] = 'of another'
        })
      },
    },
    { redis, prefix, lockTimeoutMs },
  )
  const cookie = cookieOf(await testApp.visit('/write?made=yes'))
  const id = parseCookieValue(cookie.slice('session='.length))?.id ?? ''
  return {
    testApp,
    store: new RedisStore(redis, { prefix }),
    prefix,
    cookie,
    id,
    async lockOf() {
      const leaseMs = await redis.pttl(lockKeys(sessionKey(prefix, id)).lock)
      return { until: Date.now() + leaseMs, leaseMs }
    },
  }
}

/** Starts a process and a request to it, which is in its block when this returns. */
async function holdLock(prefix: string, cookie: string): Promise<Holder> {
  const child = fork(await compiled(program), [inject('redisUrl'), prefix], {
    execArgv: [],
  })
  const exited = once(child, 'exit')
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await exited
  })
  const failed = exited.then(([code, signal]) => {
    throw new Error(`the holder ended early: exit code ${code}, signal ${signal}`)
  })
  const [{ port }] = await Promise.race([once(child, 'message'), failed])
  const inside = once(child, 'message')
  const answer = visit(`http://127.0.0.1:${port}/`, cookie)
  await Promise.race([inside, failed, answer.then(({ text }) => expect(text).toBe('inside'))])
  failed.catch(() => {})
  return { process: child, answer }
}

async function visit(url: string, cookie: string): Promise<Answer> {
  const response = await fetch(url, { headers: { cookie } })
  return { status: response.status, text: await response.text() }
}
