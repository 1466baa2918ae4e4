import { RedisStore } from 'koa-user-sessions'
import type { RedisClient } from 'koa-user-sessions'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { Gathering } from '../../src/store/gathering.ts'
import { RedisConnection } from '../../src/store/redis/connection.ts'

describe('Gathering', () => {
  it('lets calls of one turn go on together and in order, between start and end', async () => {
    const notes: string[] = []
    const gathering = new Gathering(
      () => notes.push('start'),
      () => notes.push('end'),
    )
    const call = async (note: string): Promise<void> => {
      await gathering.next()
      notes.push(note)
    }

    await Promise.all([call('a'), call('b'), call('c')])
    await call('d')

    expect(notes).toEqual(['start', 'a', 'b', 'c', 'end', 'start', 'd', 'end'])
  })

  it('goes on where an app fakes its timers', async () => {
    vi.useFakeTimers()
    onTestFinished(() => {
      vi.useRealTimers()
    })

    await expect(new Gathering().next()).resolves.toBeUndefined()
  })
})

describe('RedisConnection', () => {
  it('holds the socket back while the commands of a turn are sent, and no longer', async () => {
    const { notes, client } = notingClient()
    const connection = new RedisConnection(client)

    await Promise.all([connection.get('a'), connection.get('b')])
    await connection.get('c')

    expect(notes).toEqual(['cork', 'a', 'b', 'uncork', 'cork', 'c', 'uncork'])
  })

  it('lets go of the socket that it has held back, whichever the client has by then', async () => {
    const { notes, client } = notingClient()
    const connection = new RedisConnection(client)
    const reading = connection.get('a')
    const { stream } = client
    setImmediate(() => Object.assign(client, { stream: undefined }))

    await reading
    await connection.get('b')

    expect(stream).toBeDefined()
    expect(notes).toEqual(['cork', 'a', 'uncork', 'b'])
  })

  it('sends for a client that has no socket', async () => {
    const { client } = notingClient()
    const store = new RedisStore({ ...client, stream: undefined })

    expect(store.nodeOf()).toBe('')
    expect(await new RedisConnection({ ...client, stream: undefined }).get('a')).toBe('')
  })
})

function notingClient(): { readonly notes: string[]; readonly client: RedisClient } {
  const notes: string[] = []
  const stream = { cork: () => void notes.push('cork'), uncork: () => void notes.push('uncork') }
  const get = async (key: string): Promise<string> => {
    notes.push(key)
    return ''
  }
  return { notes, client: { get, getrange: get, evalsha: get, eval: get, stream } }
}
