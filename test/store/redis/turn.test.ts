import type { RedisClient } from 'koa-user-sessions'
import { describe, expect, it } from 'vitest'

import { Turn } from '../../../src/store/redis/turn.ts'

describe('Turn', () => {
  it('holds the socket back while everybody who has waited sends, and no longer', async () => {
    const { notes, client } = notingClient()
    const turn = new Turn(client)
    const send = async (note: string): Promise<void> => {
      await turn.end()
      notes.push(note)
    }

    await Promise.all([send('a'), send('b'), send('c')])
    await send('d')

    expect(notes).toEqual(['cork', 'a', 'b', 'c', 'uncork', 'cork', 'd', 'uncork'])
  })

  it('lets go of the socket that it has held back, whichever the client has by then', async () => {
    const { notes, client } = notingClient()
    const turn = new Turn(client)

    await turn.end()
    Object.assign(client, { stream: undefined })
    await turn.end()

    expect(notes).toEqual(['cork', 'uncork'])
  })

  it('waits for its end with a client that has no socket', async () => {
    const turn = new Turn({ ...notingClient().client, stream: undefined })
    let isOver = false
    setImmediate(() => (isOver = true))

    await turn.end()

    expect(isOver).toBe(true)
  })
})

function notingClient(): { readonly notes: string[]; readonly client: RedisClient } {
  const notes: string[] = []
  const stream = { cork: () => void notes.push('cork'), uncork: () => void notes.push('uncork') }
  return { notes, client: { evalsha: answer, eval: answer, stream } }
}

async function answer(): Promise<unknown> {
  return undefined
}
