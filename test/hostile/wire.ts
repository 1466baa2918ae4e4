import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'

import type Koa from 'koa'

/** One response, as bytes in latin1. */
export interface Reply {
  readonly status: number
  /** The status line and the headers, in lower case. */
  readonly head: string
  readonly body: string
}

/**
 * The text of a request.
 *
 * @param method Such as `GET`.
 * @param path With its query.
 * @param headers Lines, without the last line break. A `Host` is added when there is none.
 */
export function requestText(method: string, path: string, headers: string): string {
  const host = /^host:/im.test(headers) ? '' : 'Host: localhost\r\n'
  return `${method} ${path} HTTP/1.1\r\n${host}${headers}\r\n`
}

/**
 * Sends requests to an app over a connection, byte for byte and all at once, as no client library
 * would.
 *
 * @param app Listens during the call.
 * @param requests Texts of `requestText`, in latin1. After one that Node's parser refuses, the
 *   others get no response.
 * @returns The replies in the order of the requests.
 */
export async function exchange(app: Koa, requests: readonly string[]): Promise<Reply[]> {
  const server = createServer(app.callback())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('no TCP port')
    const socket = connect(address.port, '127.0.0.1')
    socket.setEncoding('latin1')
    const isLast = (index: number): boolean => index === requests.length - 1
    const sent = requests.map((request, index) =>
      isLast(index) ? `${request}Connection: close\r\n\r\n` : `${request}\r\n`,
    )
    socket.write(sent.join(''), 'latin1')
    return repliesIn(await text(socket))
  } finally {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  }
}

function repliesIn(bytes: string): Reply[] {
  const replies: Reply[] = []
  let at = 0
  while (at < bytes.length) {
    const end = bytes.indexOf('\r\n\r\n', at)
    const head = bytes.slice(at, end).toLowerCase()
    const bodyAt = end + 4
    const length = Number(/^content-length: (\d+)$/m.exec(head)?.[1] ?? 0)
    if (head.includes('transfer-encoding')) throw new Error('the reply has no length')
    const status = Number(head.split(' ', 2)[1])
    replies.push({ status, head, body: bytes.slice(bodyAt, bodyAt + length) })
    at = bodyAt + length
  }
  return replies
}
