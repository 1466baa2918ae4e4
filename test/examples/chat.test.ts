import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

import Koa from 'koa'
import { MemoryStore, RedisStore, session, Sessions } from 'koa-user-sessions'
import type { SessionsOptions } from 'koa-user-sessions'
import supertest from 'supertest'
import { describe, expect, it, onTestFinished } from 'vitest'
import { WebSocket } from 'ws'

import { createChat } from '../../examples/chat.ts'
import { sessionKey } from '../../src/store/redis/keys.ts'
import { cookieOf, ObservedStore } from '../support/apps.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'

/** Often enough for a test that waits for it. */
const pollMs = 20

/** A chat on a free port; it ends with the test. */
async function startChat(options: SessionsOptions = {}) {
  const store = new ObservedStore(options.store ?? new MemoryStore())
  const sessions = new Sessions({ ...options, store })
  const server = createChat({ sessions, pollMs }).listen(0, '127.0.0.1')
  const sockets: WebSocket[] = []
  onTestFinished(() => {
    for (const socket of sockets) socket.terminate()
    server.closeAllConnections()
    server.close()
  })
  await once(server, 'listening')
  const address = server.address()
  const host = `127.0.0.1:${typeof address === 'object' ? address?.port : ''}`

  const post = async (path: string, cookie = ''): Promise<string> => {
    const response = await fetch(`http://${host}${path}`, {
      method: 'POST',
      redirect: 'manual',
      headers: { cookie },
    })
    expect(response.status).toBeLessThan(400)
    return response.headers.getSetCookie()[0]?.split(';', 1)[0] ?? ''
  }
  const open = (cookie: string, origin: string | undefined = `http://${host}`): WebSocket => {
    const headers = { ...(cookie !== '' && { cookie }), ...(origin !== '' && { origin }) }
    const socket = new WebSocket(`ws://${host}`, { headers })
    socket.on('error', () => {})
    sockets.push(socket)
    return socket
  }
  /** Signs in, and joins the chat. */
  const join = async (name: string) => {
    const cookie = await post(`/sign-in/${name}`)
    const socket = open(cookie)
    const heard = hear(socket)
    await once(socket, 'open')
    return { cookie, socket, heard, idOf: async () => idOf(sessions, name) }
  }
  return { sessions, store, server, host, post, open, join }
}

async function idOf(sessions: Sessions, name: string): Promise<string> {
  return (await sessions.list(name, {}))[0]?.id ?? ''
}

/** The messages of a socket so far; the list grows. */
function hear(socket: WebSocket): { from: string; text: string }[] {
  const lines: { from: string; text: string }[] = []
  socket.on('message', (data: Buffer) => lines.push(JSON.parse(data.toString())))
  return lines
}

/** The status with which an upgrade is refused. */
async function refusal(socket: WebSocket): Promise<number | undefined> {
  const [, response]: [unknown, IncomingMessage] = await new Promise((resolve) => {
    socket.once('unexpected-response', (...args) => resolve(args))
  })
  response.destroy()
  return response.statusCode
}

async function closeCodeOf(socket: WebSocket): Promise<number> {
  const [code]: number[] = await once(socket, 'close')
  return code!
}

describe('examples/chat.ts', () => {
  it('refuses guests, even those with a stored session', async () => {
    const { open, sessions } = await startChat()
    const shop = new Koa().use(session(sessions)).use((ctx) => ctx.session.save())
    const stored = cookieOf(await supertest(shop.callback()).get('/'))

    expect(await refusal(open(''))).toBe(401)
    expect(await refusal(open('session=nonsense'))).toBe(401)
    expect(await refusal(open(`session=${'a'.repeat(64)}`))).toBe(401)
    expect(await refusal(open(stored))).toBe(401)
  })

  it.each(['https://evil.example', 'http://127.0.0.1', 'null', 'http://', ''])(
    'refuses a page of another origin with a stolen cookie: %s',
    async (origin) => {
      const { open, post, store } = await startChat()
      const cookie = await post('/sign-in/ann')
      store.calls.length = 0

      expect(await refusal(open(cookie, origin))).toBe(403)
      expect(store.calls).toEqual([])
    },
  )

  it('refuses a sign-in and a sign-out from another site', async () => {
    const { host } = await startChat()

    for (const path of ['/sign-in/ann', '/sign-out']) {
      const headers = { 'Sec-Fetch-Site': 'cross-site' }
      const response = await fetch(`http://${host}${path}`, { method: 'POST', headers })
      expect(response.status).toBe(403)
    }
  })

  it('lets two people talk, and never renders what they say as HTML', async () => {
    const { join, host } = await startChat()
    const ann = await join('ann')
    const ben = await join('ben')

    ann.socket.send('<b>hello</b>')
    await expect.poll(() => ben.heard.length).toBe(1)
    ben.socket.send('hello, ann')
    await expect.poll(() => ann.heard.length).toBe(2)

    const talk = [
      { from: 'ann', text: '<b>hello</b>' },
      { from: 'ben', text: 'hello, ann' },
    ]
    expect(ann.heard).toEqual(talk)
    expect(ben.heard).toEqual(talk)
    const page = await (await fetch(`http://${host}/`)).text()
    expect(page).toContain('textContent')
    expect(page).not.toContain('innerHTML')
  })

  it('closes the socket of a sender whose message is too long, and no other', async () => {
    const { join } = await startChat()
    const ann = await join('ann')
    const ben = await join('ben')

    ann.socket.send('a'.repeat(5000))

    expect(await closeCodeOf(ann.socket)).toBe(1009)
    expect(ben.socket.readyState).toBe(WebSocket.OPEN)
    expect(ben.heard).toEqual([])
  })

  it('keeps the session alive when its user talks, and not by polling', async () => {
    const redis = connectRedis()
    const prefix = uniquePrefix()
    const store = new RedisStore(redis, { prefix })
    const { join } = await startChat({ store, refreshSeconds: 0 })
    const ann = await join('ann')
    const key = sessionKey(prefix, await ann.idOf())
    const full = await redis.pttl(key)
    expect(full).toBeGreaterThan(3_500_000)

    await redis.pexpire(key, 1_000_000)
    await sleep(5 * pollMs)
    expect(await redis.pttl(key)).toBeLessThan(1_000_000)

    ann.socket.send('hello')
    await expect.poll(() => redis.pttl(key)).toBeGreaterThan(3_500_000)
  })

  it('closes the socket when the session is ended elsewhere', async () => {
    const { join, sessions } = await startChat()
    const ann = await join('ann')
    const ben = await join('ben')

    expect(await sessions.terminate(await ann.idOf())).toBe(true)

    expect(await closeCodeOf(ann.socket)).toBe(4401)
    await sleep(3 * pollMs)
    expect(ben.socket.readyState).toBe(WebSocket.OPEN)
  })

  it('closes the socket when its user signs out', async () => {
    const { join, post } = await startChat()
    const ann = await join('ann')

    await post('/sign-out', ann.cookie)

    expect(await closeCodeOf(ann.socket)).toBe(4401)
  })

  it('drops messages sent after the end of the session', async () => {
    const { join, sessions } = await startChat()
    const ann = await join('ann')
    const ben = await join('ben')

    await sessions.terminate(await ann.idOf())
    ann.socket.send('still here?')
    await closeCodeOf(ann.socket)

    await sleep(3 * pollMs)
    expect(ben.heard).toEqual([])
  })

  it('answers 503 while the store is away, keeps the sockets, and recovers', async () => {
    const { join, open, store } = await startChat()
    const ann = await join('ann')
    store.faults.set('load', 'rejects')

    expect(await refusal(open(ann.cookie))).toBe(503)
    ann.socket.send('lost')
    await sleep(5 * pollMs)
    expect(ann.socket.readyState).toBe(WebSocket.OPEN)
    expect(ann.heard).toEqual([])

    store.faults.clear()
    ann.socket.send('back')
    await expect.poll(() => ann.heard).toEqual([{ from: 'ann', text: 'back' }])
  })

  it('stops polling for a closed socket', async () => {
    const { join, store } = await startChat()
    const ann = await join('ann')
    ann.socket.close()
    await closeCodeOf(ann.socket)
    await sleep(2 * pollMs)
    store.calls.length = 0

    await sleep(5 * pollMs)

    expect(store.calls).toEqual([])
  })

  it('survives clients that disconnect in the middle of their upgrade', async () => {
    const { host, join } = await startChat()
    const port = Number(host.split(':')[1])
    const upgrade = `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n`

    for (const rest of [`Origin: http://${host}\r\n\r\n`, '\r\n']) {
      const socket = connect(port, '127.0.0.1')
      socket.on('error', () => {})
      await once(socket, 'connect')
      socket.write(upgrade + rest)
      socket.resetAndDestroy()
    }

    await sleep(50)
    const ann = await join('ann')
    expect(ann.socket.readyState).toBe(WebSocket.OPEN)
  })
})
