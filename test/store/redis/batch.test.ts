import type { RedisClient } from 'koa-user-sessions'
import { describe, expect, it } from 'vitest'

import { Batch } from '../../../src/store/redis/batch.ts'

describe('Batch', () => {
  it('holds the socket back while everybody who has waited sends, and no longer', async () => {
    const { notes, client } = notingClient()
    const batch = new Batch(client)
    const send = async (note: string): Promise<void> => {
      await batch.next()
      notes.push(note)
    }

    await Promise.all([send('a'), send('b'), send('c')])
    await send('d')

    expect(notes).toEqual(['cork', 'a', 'b', 'c', 'uncork', 'cork', 'd', 'uncork'])
  })

  it('lets go of the socket that it has held back, whichever the client has by then', async () => {
    const { notes, client } = notingClient()
    const batch = new Batch(client)

    await batch.next()
    Object.assign(client, { stream: undefined })
    await batch.next()

    expect(notes).toEqual(['cork', 'uncork'])
  })

  it('waits for its end with a client that has no socket', async () => {
    const batch = new Batch({ ...notingClient().client, stream: undefined })
    let isOver = false
    setImmediate(() => (isOver = true))

    await batch.next()

    expect(isOver).toBe(true)
  })
})

function notingClient(): { readonly notes: string[]; readonly client: RedisClient } {
  const notes: string[] = []
  const stream = { cork: () => void notes.push('cork'), uncork: () => void notes.push('uncork') }
  return { notes, client: { get: answer, getrange: answer, evalsha: answer, eval: answer, stream } }
}

async function answer(): Promise<string> {
  return ''
}
