import { randomUUID } from 'node:crypto'

import { Redis } from 'ioredis'
import { expect, it, onTestFinished } from 'vitest'

import { sessionKey } from '../../../src/store/redis/keys.ts'
import { slotOf } from '../../../src/store/redis/slot.ts'
import { startRedisServer } from '../../support/redis-server.ts'

it('F6: the slot of a key is the one that Redis computes', async () => {
  const server = await startRedisServer({ args: ['--cluster-enabled', 'yes'] })
  onTestFinished(() => server.stop())
  const redis = new Redis(server.url)
  onTestFinished(() => redis.disconnect())
  const sessions = Array.from({ length: 200 }, () => sessionKey('sess:', randomUUID()))
  const keys = [...sessions, 'sess:user:{Gk3x}', 'plain', 'a{}b', '{a', 'a{b}{c}', 'a{{b}}c', '']

  const slots = await Promise.all(keys.map((key) => redis.cluster('KEYSLOT', key)))

  expect(keys.map(slotOf)).toEqual(slots)
})
