import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { Socket } from 'node:net'

/** What a proxy does with bytes that arrive. */
export type ProxyMode =
  /** Forwards them, both ways, beginning with those that it holds. */
  | 'pass'
  /** Forwards requests and drops replies; a connection that has lost some breaks at the end. */
  | 'dropReplies'
  /** Holds requests and replies until it passes again. */
  | 'blackHole'
  /** Forwards the next request, and breaks that connection before its reply. */
  | 'cutAfterRequest'

/** A proxy between a client and a server, for faults of the network. */
export interface TcpProxy {
  readonly port: number
  mode: ProxyMode
  /** The server's port on 127.0.0.1, for new connections. */
  target: number
  /** Breaks all connections, like a router that forgets them. Held bytes are lost. */
  reset(): void
  close(): void
}

/**
 * Starts a proxy on a free port of 127.0.0.1.
 *
 * @param target The server's port on 127.0.0.1.
 */
export async function startTcpProxy(target: number): Promise<TcpProxy> {
  const sockets = new Set<Socket>()
  const held: (() => void)[] = []
  const lossy = new Set<Socket>()
  let mode: ProxyMode = 'pass'
  let port = target

  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1')
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket)
      socket.setNoDelay(true)
      // Broken connections are its purpose.
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        // The server still gets what its client has sent before.
        other.end()
      })
    }
    client.on('data', (request) => {
      if (mode === 'blackHole') held.push(() => upstream.write(request))
      else upstream.write(request)
      if (mode !== 'cutAfterRequest') return
      mode = 'pass'
      client.resetAndDestroy()
    })
    upstream.on('data', (reply) => {
      if (mode === 'blackHole') held.push(() => client.write(reply))
      else if (mode === 'dropReplies') lossy.add(client)
      else client.write(reply)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no free TCP port')

  const reset = (): void => {
    held.length = 0
    for (const socket of sockets) socket.resetAndDestroy()
  }
  return {
    port: address.port,
    get mode() {
      return mode
    },
    set mode(next) {
      mode = next
      for (const socket of lossy) socket.resetAndDestroy()
      lossy.clear()
      if (next === 'pass') for (const send of held.splice(0)) send()
    },
    get target() {
      return port
    },
    set target(next) {
      port = next
    },
    reset,
    close() {
      server.close()
      reset()
    },
  }
}
