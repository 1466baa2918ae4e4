import { Cluster } from 'ioredis'
import { recommendedClusterOptions, RedisStore } from 'koa-user-sessions'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { uniquePrefix } from '../support/redis-client.ts'
import { startRedisCluster } from '../support/redis-cluster.ts'
import type { TestCluster } from '../support/redis-cluster.ts'
import { loadScripts } from '../support/scripts.ts'
import { passRedisTime } from '../support/time.ts'
import { created } from './contract-parts.ts'
import type { StoreHarness } from './contract-parts.ts'
import { describeSessionStore } from './session-store-contract.ts'

let cluster: TestCluster
let redis: Cluster

beforeAll(async () => {
  cluster = await startRedisCluster()
  // A node that does not know a script yet runs it one round trip later, so that the next read
  // overtakes it.
  await Promise.all(cluster.nodes.map(({ client }) => loadScripts(client)))
  // A busy machine may take longer than a client should wait.
  const redisOptions = { ...recommendedClusterOptions.redisOptions, socketTimeout: 20_000 }
  redis = new Cluster([...cluster.addresses], { ...recommendedClusterOptions, redisOptions })
})

afterAll(async () => {
  redis.disconnect()
  await cluster.stop()
})

describeSessionStore('RedisStore on a Cluster', makeStore, { describe, expect, it })

it('F6: spreads sessions over all masters', async () => {
  const { store, prefix } = makeStore()

  for (let index = 0; index < 50; index++) await created(store)

  const nodes = await Promise.all(redis.nodes('master').map((node) => node.keys(`${prefix}*`)))
  expect(nodes.map((keys) => keys.length > 0)).toEqual([true, true, true])
  expect(nodes.flat()).toHaveLength(50)
})

function makeStore(): StoreHarness & { readonly prefix: string } {
  const prefix = uniquePrefix()
  return {
    prefix,
    store: new RedisStore(redis, { prefix }),
    passTime: async (ms) => {
      // Over the connections of the store, so that what the store has sent comes first.
      await Promise.all(redis.nodes('master').map((node) => passRedisTime(node, prefix, ms)))
    },
  }
}
