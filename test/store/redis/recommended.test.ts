import { recommendedRedisOptions, recommendedSentinelOptions } from 'koa-user-sessions'
import { describe, expect, it } from 'vitest'

const replies = {
  readOnly:
    "READONLY You can't write against a read only replica. script: 5f1c, on @user_script:55.",
  // Redis 6.2.
  readOnlyInside:
    'ERR Error running script (call to f_5f1c): @user_script:55: @user_script: 55: ' +
    "-READONLY You can't write against a read only replica. ",
  noReplicas: 'NOREPLICAS Not enough good replicas to write. script: 5f1c, on @user_script:55.',
  noReplicasInside:
    'ERR Error running script (call to f_5f1c): @user_script:55: @user_script: 55: ' +
    '-NOREPLICAS Not enough good replicas to write. ',
  noScript: 'NOSCRIPT No matching script. Please use EVAL.',
  wrongType: 'WRONGTYPE Operation against a key holding the wrong kind of value',
}

describe('reconnectOnError', () => {
  it.each([recommendedRedisOptions, recommendedSentinelOptions])(
    'F4: leaves a master that has become a replica, whatever the version of Redis',
    (options) => {
      const leaves = (reply: string): boolean => ({ ...options }).reconnectOnError(new Error(reply))

      expect([replies.readOnly, replies.readOnlyInside].map(leaves)).toEqual([true, true])
      expect([replies.noScript, replies.wrongType].map(leaves)).toEqual([false, false])
    },
  )

  it.each([replies.noReplicas, replies.noReplicasInside])(
    'F4, F7: leaves a master without replicas behind Sentinel',
    (reply) => {
      const leaves = (options: typeof recommendedRedisOptions): boolean =>
        ({ ...options }).reconnectOnError(new Error(reply))

      expect(leaves(recommendedSentinelOptions)).toBe(true)
      expect(leaves(recommendedRedisOptions)).toBe(false)
    },
  )
})

it.each([replies.readOnly, replies.noReplicas])(
  'F7: leaves it at random intervals, each client on its own: %s',
  (reply) => {
    const clients = [{ ...recommendedSentinelOptions }, { ...recommendedSentinelOptions }]
    const leaves = clients.map((options) => options.reconnectOnError(new Error(reply)))
    const leavesAgain = clients.map((options) => options.reconnectOnError(new Error(reply)))

    expect(leaves).toEqual([true, true])
    expect(leavesAgain).toEqual([false, false])
  },
)

it('F4: contains all that is recommended without Sentinel', () => {
  const { reconnectOnError: _reconnectOnError, ...others } = recommendedRedisOptions

  expect(recommendedSentinelOptions).toMatchObject(others)
})
