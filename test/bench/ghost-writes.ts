// Whether writes that were answered 503 are applied after their deadline: by a Redis that resumes, a
// network that delivers them late, or a client that resends them. Prints a table and fails if so.
//
//   npm run bench -- ghosts

import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { Redis } from 'ioredis'
import type { RedisOptions } from 'ioredis'
import { recommendedRedisOptions } from 'koa-user-sessions'

import { countGhosts } from '../support/ghosts.ts'
import type { GhostCount } from '../support/ghosts.ts'
import { startRedisServer } from '../support/redis-server.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'

type ClientOptions = Omit<RedisOptions, 'replyMapping'>
type Fault = 'frozen' | 'held back' | 'replies lost' | 'killed'

const faults: readonly Fault[] = ['frozen', 'held back', 'replies lost', 'killed']
const clients: Readonly<Record<string, ClientOptions>> = {
  recommended: recommendedRedisOptions,
  default: {},
}
const roundsPerFault = 5
const writes = 150
const storeTimeoutMs = 1000

let missed = 0
let total = 0
for (const [name, options] of Object.entries(clients)) {
  for (const fault of faults) {
    const counts: GhostCount[] = []
    for (let round = 0; round < roundsPerFault; round++) counts.push(await run(fault, options))
    const refused = counts.reduce((sum, count) => sum + count.refused, 0)
    const applied = counts.reduce((sum, count) => sum + count.applied, 0)
    missed += applied
    total += refused
    const verdict = applied === 0 ? 'ok     ' : 'MISSED '
    const text = `${refused} answered 503, ${applied} applied after their deadline`
    console.log(`${verdict} ${name.padEnd(11)} ${fault.padEnd(12)} ${text}`)
  }
}
console.log(`${total} writes answered 503, ${missed} applied after their deadline`)
process.exitCode = missed === 0 && total >= 3000 ? 0 : 1

/** One round, on a server of its own. */
async function run(fault: Fault, options: ClientOptions): Promise<GhostCount> {
  const directory = mkdtempSync(join(tmpdir(), 'koa-user-sessions-'))
  const args = ['--dir', directory, '--appendonly', 'yes', '--appendfsync', 'always']
  let server = await startRedisServer({ args })
  const { port } = server
  const proxy = await startTcpProxy(port)
  const redis = new Redis(`redis://127.0.0.1:${proxy.port}`, options)
  const admin = new Redis(server.url)
  for (const client of [redis, admin]) client.on('error', () => {})
  await once(redis, 'ready')
  try {
    return await countGhosts({
      redis,
      admin,
      prefix: 'sess:',
      writes,
      storeTimeoutMs,
      runsOn: fault === 'held back' || fault === 'replies lost',
      async begin() {
        if (fault === 'frozen') server.kill('SIGSTOP')
        if (fault === 'held back') proxy.mode = 'blackHole'
        if (fault === 'replies lost') proxy.mode = 'dropReplies'
        if (fault !== 'killed') return
        server.kill('SIGKILL')
        await server.stop()
      },
      async end() {
        if (fault === 'frozen') server.kill('SIGCONT')
        proxy.mode = 'pass'
        if (fault === 'killed') server = await startRedisServer({ port, args })
      },
    })
  } finally {
    redis.disconnect()
    admin.disconnect()
    proxy.close()
    await server.stop()
    rmSync(directory, { recursive: true, force: true })
  }
}
