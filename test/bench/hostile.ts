// How long hostile cookies, headers, values and tokens block the event loop of a server: the worst
// delay that `monitorEventLoopDelay` sees. The minimum of several rounds counts for each input, as a
// busy machine and the garbage collector cause delays at random. The requests come from another
// process. Then the same for the largest storage, lists and roles files that an app may have
// itself, which have a limit of their own. The exit code is 1 when an input takes longer than the
// limit in every round.
//
//   npm run bench -- hostile

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

import Koa from 'koa'
import { requireSameOrigin, session, Sessions } from 'koa-user-sessions'

import { newSecret, newSessionId } from '../../src/cookie/cookie.ts'
import {
  hostileCookies,
  hostileValues,
  mutate,
  readHeaders,
  seededRandom,
} from '../hostile/inputs.ts'
import { makeKey, tokensWith } from '../support/tokens.ts'
import { makeLargeInputs } from './large-inputs.ts'
import type { LargeInput } from './large-inputs.ts'

const rounds = 5
const requestsPerRound = 3
const maxDelayMs = 5
// What an app stores, lists and is configured with, at the most that the default limits allow.
const maxOwnDelayMs = 100
const mutations = 200

/** One round of the load: a request, in latin1, again and again. */
interface Load {
  readonly port: number
  readonly request: string
}

interface Input {
  readonly what: string
  readonly lines: string
}

function inputs(): Input[] {
  const good = newSecret(newSessionId()).value
  const random = seededRandom(20_261_122)
  const cookies = hostileCookies
    .filter(([, , , { status }]) => status === 200)
    .map(([, what, headers]) => ({ what: `cookie: ${what}`, lines: headers(good) }))
  const mutated = Array.from({ length: mutations }, (_, index) => ({
    what: `cookie: mutation ${index}`,
    lines: `Cookie: session=${encodeURIComponent(mutate(good, random).toWellFormed())}`,
  }))
  const headers = readHeaders.flatMap((name) =>
    hostileValues.map(([what, value]) => ({
      what: `${name}: ${what}`,
      lines: `${name}: ${value}`,
    })),
  )
  return [{ what: 'nothing', lines: 'X: y' }, ...cookies, ...mutated, ...headers]
}

function serveLoad(): void {
  process.on('message', ({ port, request }: Load) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(request, 'latin1'))
    socket.resume()
    socket.on('error', () => {})
    socket.once('close', () => process.send?.('done'))
  })
}

async function measure(): Promise<boolean> {
  const load = fork(fileURLToPath(import.meta.url), ['load'])
  const sessions = new Sessions({
    tokens: tokensWith(makeKey('HS256')),
    privilegedTypes: ['web', 'rest', 'remote'],
  })
  const app = new Koa({ proxy: true })
  app.silent = true
  app.use(session(sessions))
  app.use(requireSameOrigin())
  app.use((ctx) => {
    const { clientCulture, clientUICulture, clientUtcOffset, storage } = ctx.session
    storage['culture'] = { clientCulture, clientUICulture, clientUtcOffset }
    ctx.status = 204
  })
  const listening = app.listen(0, '127.0.0.1')
  await once(listening, 'listening')
  const address = listening.address()
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0
  const histogram = monitorEventLoopDelay({ resolution: 1 })
  histogram.enable()

  const all = inputs()
  const least = new Map<string, number>()
  let worstSeen = 0
  try {
    for (let round = -1; round < rounds; round++) {
      for (const { what, lines } of all) {
        const host = lines.startsWith('Host:') ? '' : 'Host: localhost\r\n'
        const requests = Array.from({ length: requestsPerRound }, (_, index) => {
          const end = index === requestsPerRound - 1 ? 'Connection: close\r\n' : ''
          return `POST / HTTP/1.1\r\n${host}Content-Length: 0\r\n${lines}\r\n${end}\r\n`
        })
        histogram.reset()
        load.send({ port, request: requests.join('') } satisfies Load)
        await once(load, 'message')
        // One more turn of the event loop, so that the last delay is seen.
        await delay(2)
        // The first round warms up. The histogram has the timer's own millisecond in it.
        if (round < 0) continue
        const worst = Math.max(0, histogram.max / 1e6 - 1)
        worstSeen = Math.max(worstSeen, worst)
        least.set(what, Math.min(worst, least.get(what) ?? Infinity))
      }
    }
  } finally {
    load.kill()
    listening.closeAllConnections()
    listening.close()
  }
  const slowest = [...least].toSorted(([, a], [, b]) => b - a)
  console.log(`event-loop delay in ms over ${all.length} inputs, ${rounds} rounds`)
  console.log(`  with nothing hostile   ${least.get('nothing')?.toFixed(2)}`)
  console.log(`  worst input            ${slowest[0]?.[1].toFixed(2)} (limit ${maxDelayMs})`)
  console.log(`  worst of all turns     ${worstSeen.toFixed(2)} (noise of the machine included)`)
  for (const [what, worst] of slowest.slice(0, 5)) console.log(`    ${worst.toFixed(2)}  ${what}`)
  return (slowest[0]?.[1] ?? Infinity) < maxDelayMs
}

/** The inputs that do not come in a header. */
async function measureLarge(): Promise<boolean> {
  const { inputs: all, stop } = await makeLargeInputs()
  const histogram = monitorEventLoopDelay({ resolution: 1 })
  histogram.enable()
  const least = new Map<LargeInput, number>()
  try {
    for (let round = -1; round < rounds; round++) {
      for (const input of all) {
        histogram.reset()
        // It counts from its first turn of the event loop.
        await delay(5)
        await input.run()
        await delay(2)
        if (round < 0) continue
        const worst = Math.max(0, histogram.max / 1e6 - 1)
        least.set(input, Math.min(worst, least.get(input) ?? Infinity))
      }
    }
  } finally {
    histogram.disable()
    await stop()
  }
  console.log(`of the largest inputs in no header (limits ${maxDelayMs} and ${maxOwnDelayMs})`)
  const missed = [...least].filter(
    ([{ isClients }, worst]) => worst >= (isClients ? maxDelayMs : maxOwnDelayMs),
  )
  for (const [{ what, isClients }, worst] of least) {
    console.log(
      `    ${worst.toFixed(2).padStart(6)}  ${isClients ? "client's" : "app's   "}  ${what}`,
    )
  }
  return missed.length === 0
}

if (process.argv[2] === 'load') {
  serveLoad()
} else {
  const isGood = [await measure(), await measureLarge()]
  process.exitCode = isGood.every(Boolean) ? 0 : 1
}
