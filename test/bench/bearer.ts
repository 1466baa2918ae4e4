// What a bearer token costs: CPU of the server's process per request (user and system), with a token
// against with a cookie on the same session, and on a remote session of the same content; medians of
// interleaved rounds, the load from another process. Then what refusing a megabyte costs, and how many
// forged tokens are accepted. The exit code is 1 when a target was missed.
//
//   npm run bench -- bearer

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { Agent, get } from 'node:http'
import { fileURLToPath } from 'node:url'

import { Redis } from 'ioredis'
import Koa from 'koa'
import { session, Sessions } from 'koa-user-sessions'

import { resolveTokens } from '../../src/tokens/keys.ts'
import { Tokens } from '../../src/tokens/tokens.ts'
import { startRedisServer } from '../support/redis-server.ts'
import { makeKey, tokensWith } from '../support/tokens.ts'
import { forgeries, mutated } from '../tokens/forgeries.ts'

const rounds = 15
const requestsPerRound = 1500
const inFlight = 20
const maxRatio = 1.2
const maxRefusalMs = 1

/** One round of the load. */
interface Load {
  readonly port: number
  readonly headers: Readonly<Record<string, string>>
}

interface Way {
  readonly name: string
  readonly headers: Readonly<Record<string, string>>
  readonly costs: number[]
}

/** All of them, each after each of the others equally often. */
function inTurn<T>(all: readonly T[], round: number): readonly T[] {
  const turn = Math.abs(round) % all.length
  return [...all.slice(turn), ...all.slice(0, turn)]
}

function medianOf(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? Number.NaN
}

/** The other process: sends as many requests as it is told to, and reports when it is done. */
function serveLoad(): void {
  const agent = new Agent({ keepAlive: true, maxSockets: inFlight })
  const ask = async ({ port, headers }: Load): Promise<void> => {
    const outgoing = get({ host: '127.0.0.1', port, agent, headers, path: '/' })
    const [response] = await once(outgoing, 'response')
    response.resume()
    await once(response, 'end')
    if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`)
  }
  process.on('message', async (load: Load) => {
    let left = requestsPerRound
    const lane = async (): Promise<void> => {
      while (left-- > 0) await ask(load)
    }
    await Promise.all(Array.from({ length: inFlight }, lane))
    process.send?.('done')
  })
}

async function measureRequests(): Promise<boolean> {
  const server = await startRedisServer()
  const redis = new Redis(server.url)
  const load = fork(fileURLToPath(import.meta.url), ['load'])
  let isGood = true
  try {
    console.log('algorithm   cookie us   nested token us   ratio   remote token us   ratio')
    for (const alg of ['HS256', 'EdDSA', 'ES256', 'RS256'] as const) {
      const sessions = new Sessions({
        redis,
        prefix: `${alg}:`,
        tokens: tokensWith(makeKey(alg)),
        privilegedTypes: ['web', 'rest', 'remote'],
      })
      const app = new Koa()
      app.use(session(sessions))
      app.use(async (ctx) => {
        if (ctx.path === '/in') {
          ctx.session.setPrivileges({ privileges: 'browse', userName: 'ann' })
          ctx.session.storage['cart'] = ['tea']
          const input = { userName: 'ann', privileges: 'browse' }
          ctx.body = await ctx.session.createNestedToken(input)
          return
        }
        if (!ctx.session.hasPrivilege('browse')) ctx.throw(403)
        ctx.body = ctx.session.storage['cart']
      })
      const listening = app.listen(0, '127.0.0.1')
      await once(listening, 'listening')
      const address = listening.address()
      const port = typeof address === 'object' ? (address?.port ?? 0) : 0

      const signedIn = await fetch(`http://127.0.0.1:${port}/in`)
      const cookie = signedIn.headers.getSetCookie()[0]?.split(';', 1)[0] ?? ''
      const nested = await signedIn.text()
      const input = { userName: 'ann', applicationId: 'cli', privileges: 'browse' }
      const remote = await sessions.open(input)
      remote.session.storage['cart'] = ['tea']
      await remote.session.save()
      const ways: Way[] = [
        { name: 'cookie', headers: { cookie }, costs: [] },
        { name: 'nested', headers: { authorization: `Bearer ${nested}` }, costs: [] },
        { name: 'remote', headers: { authorization: `Bearer ${remote.token}` }, costs: [] },
      ]
      for (let round = -2; round < rounds; round++) {
        for (const { headers, costs } of inTurn(ways, round)) {
          const before = process.cpuUsage()
          load.send({ port, headers } satisfies Load)
          await once(load, 'message')
          const { user, system } = process.cpuUsage(before)
          // The first rounds warm up.
          if (round >= 0) costs.push((user + system) / requestsPerRound)
        }
      }
      listening.closeAllConnections()
      listening.close()
      const [base = 0, one = 0, other = 0] = ways.map(({ costs }) => medianOf(costs))
      const [, nestedRatio = 0, remoteRatio = 0] = ways.map(({ costs }) =>
        // Round by round, because the load of the machine changes in between.
        medianOf(costs.map((cost, round) => cost / (ways[0]?.costs[round] ?? Number.NaN))),
      )
      isGood &&= nestedRatio <= maxRatio && remoteRatio <= maxRatio
      console.log(
        alg.padEnd(9) +
          base.toFixed(1).padStart(12) +
          one.toFixed(1).padStart(18) +
          nestedRatio.toFixed(2).padStart(8) +
          other.toFixed(1).padStart(18) +
          remoteRatio.toFixed(2).padStart(8),
      )
    }
  } finally {
    load.kill()
    redis.disconnect()
    await server.stop()
  }
  return isGood
}

async function measureForgeries(): Promise<boolean> {
  let isGood = true
  console.log('\nalgorithm   forged   accepted   mutated   accepted   1 MB refused in us (worst)')
  for (const alg of ['HS256', 'EdDSA', 'ES256', 'RS256'] as const) {
    const key = makeKey(alg)
    const other = makeKey(alg === 'HS256' ? 'EdDSA' : 'HS256')
    const tokens = new Tokens(resolveTokens(tokensWith(key, other)))
    const good = await tokens.issue(
      {
        sub: 'ann',
        sid: '3b241101-e2bb-4255-8caf-4136c566a962',
        exp: tokens.expiry(Infinity, 3600),
      },
      false,
    )
    if (!(await tokens.verify(good))) throw new Error('the good token is refused')
    const forged = [...forgeries(key, other).values()]
    const changed = Array.from({ length: 2000 }, (_, seed) => mutated(good, seed))
    const acceptedOf = async (texts: readonly string[]): Promise<number> => {
      const verified = await Promise.all(texts.map((text) => tokens.verify(text)))
      return verified.filter(Boolean).length
    }
    const [forgedIn, changedIn] = [await acceptedOf(forged), await acceptedOf(changed)]
    const [head = '', body = '', signature = ''] = good.split('.')
    const filler = 'A'.repeat(1_000_000)
    const times: number[] = []
    for (let round = 0; round < 200; round++) {
      for (const text of [
        `${head}.${filler}.${signature}`,
        `${filler}.${body}.${signature}`,
        `${head}.${body}.${filler}`,
      ]) {
        const before = process.cpuUsage()
        await tokens.verify(text)
        const { user, system } = process.cpuUsage(before)
        times.push(user + system)
      }
    }
    const worst = Math.max(...times)
    isGood &&= forgedIn === 0 && changedIn === 0 && medianOf(times) < maxRefusalMs * 1000
    console.log(
      alg.padEnd(9) +
        String(forged.length).padStart(9) +
        String(forgedIn).padStart(11) +
        String(changed.length).padStart(10) +
        String(changedIn).padStart(11) +
        `${medianOf(times)} (${worst})`.padStart(29),
    )
  }
  return isGood
}

if (process.argv[2] === 'load') {
  serveLoad()
} else {
  const isGood = [await measureRequests(), await measureForgeries()]
  process.exitCode = isGood.every(Boolean) ? 0 : 1
}
