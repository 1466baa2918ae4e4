// A chat over WebSocket: the session of an upgrade request, and sockets that close when it ends.
//
//   npx tsx --tsconfig test/tsconfig.json examples/chat.ts
//
//   Open http://localhost:3000 in two browsers, enter a name in each, and talk. Or use curl:
//   curl -i -H 'Connection: Upgrade' -H 'Upgrade: websocket' localhost:3000       403 Forbidden

import { readFileSync } from 'node:fs'
import { createServer, STATUS_CODES } from 'node:http'
import type { Server } from 'node:http'
import { pathToFileURL } from 'node:url'

import Router from '@koa/router'
import Koa from 'koa'
import { requireSameOrigin, session, SessionEndedError, Sessions } from 'koa-user-sessions'
import type { Session } from 'koa-user-sessions'
import { WebSocketServer } from 'ws'
import type { WebSocket } from 'ws'

const page = readFileSync(new URL('chat.html', import.meta.url), 'utf8')

/** A server with a chat. Every `pollMs` each socket asks whether its session still lives. */
export function createChat({ sessions = new Sessions(), pollMs = 5000 } = {}): Server {
  const router = new Router()
  router.get('/', (ctx) => void (ctx.body = page))
  // Whoever gives a name gets it: a real app checks a password first.
  router.post('/sign-in/:name', (ctx) => {
    ctx.session.setPrivileges({ userName: ctx.params['name'] ?? '' })
    ctx.body = { userName: ctx.session.userName }
  })
  router.post('/sign-out', (ctx) => {
    ctx.session = null
    ctx.redirect('/')
  })
  const app = new Koa().use(requireSameOrigin()).use(session(sessions)).use(router.routes())
  const server = createServer(app.callback())
  const sockets = new WebSocketServer({ noServer: true, maxPayload: 4096 })

  server.on('upgrade', async (req, socket, head) => {
    socket.on('error', () => socket.destroy())
    const refuse = (status: number) =>
      socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\n\r\n`)
    try {
      // Any page may open a WebSocket to here, with the visitor's cookie, and it is a GET.
      const { origin = '', host } = req.headers
      if (!URL.canParse(origin) || new URL(origin).host !== host) return refuse(403)
      const caller = await sessions.fromRequest(req)
      if (!caller?.userName) return refuse(401)
      return sockets.handleUpgrade(req, socket, head, (client) => join(client, caller))
    } catch {
      return refuse(503)
    }
  })

  function join(client: WebSocket, caller: Session): void {
    /** True when the session lives; ends the conversation when it has ended. */
    const ask = async (question: () => Promise<void>): Promise<boolean> => {
      try {
        await question()
        return true
      } catch (error) {
        // While the store is away the socket stays, says nothing, and asks again.
        if (error instanceof SessionEndedError) client.close(4401, error.message)
        return false
      }
    }
    const poll = setInterval(() => void ask(() => caller.reload()), pollMs).unref()
    client.on('close', () => clearInterval(poll))
    client.on('error', () => client.close())
    client.on('message', async (data: Buffer) => {
      const line = JSON.stringify({ from: caller.userName, text: data.toString() })
      if (await ask(() => caller.touch())) for (const other of sockets.clients) other.send(line)
    })
  }
  return server
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  createChat().listen(3000, () => console.log('http://localhost:3000'))
}
