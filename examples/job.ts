// A job that counts in any number of processes: all of them share the storage of the server's own
// session, and `use()` lets one process count at a time.
//
//   export REDIS_URL=redis://127.0.0.1:6379                        (in two terminals)
//   npx tsx --tsconfig test/tsconfig.json examples/job.ts --times 1000
//
//   Both at once, on a host called vm; the last number is the sum:
//   system on vm counted to 1808
//   system on vm counted to 2000

import { once } from 'node:events'
import { parseArgs } from 'node:util'

import { Redis } from 'ioredis'
import { recommendedRedisOptions, Sessions } from 'koa-user-sessions'

interface JobStorage {
  count: number
}

const { values } = parseArgs({ options: { times: { type: 'string', default: '1000' } } })
const { REDIS_URL: url } = process.env
if (!url || !/^\d+$/.test(values.times)) {
  console.error('usage: REDIS_URL=redis://… job.ts [--times N]')
  process.exit(1)
}

const redis = new Redis(url, recommendedRedisOptions)
await once(redis, 'ready')
const sessions = new Sessions<JobStorage>({ redis, prefix: 'job:' })
const session = await sessions.storedProcedure()

let last = 0
for (let time = 0; time < Number(values.times); time += 1) {
  last = await session.use((storage) => {
    storage.count = (storage.count ?? 0) + 1
    return storage.count
  })
}
console.log(`${session.user.name} on ${session.info.machineName} counted to ${last}`)

await sessions.close()
redis.disconnect()
