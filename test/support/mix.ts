import { connect } from 'node:net'
import type { Socket } from 'node:net'

import { newSecret, newSessionId } from '../../src/cookie/cookie.ts'

/** One response, as far as a `Mix` needs it. */
export interface Reply {
  readonly status: number
  /** The session cookie that it sets; `''` when it clears it. */
  readonly cookie: string | undefined
  readonly body: string
}

/** What a browser and a program on one connection have met so far: responses by status. */
export type Statuses = Map<number, number>

interface Waiting {
  readonly left: Reply[]
  readonly count: number
  readonly resolve: (replies: readonly Reply[]) => void
  readonly reject: (error: Error) => void
}

/** A connection on which requests are sent without waiting for earlier responses. */
export class Pipe {
  readonly #socket: Socket
  #bytes = ''
  #waiting: Waiting | undefined

  /** @param port Of 127.0.0.1. */
  constructor(port: number) {
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true })
    this.#socket.setEncoding('latin1')
    this.#socket.on('data', (chunk: string) => this.#read(chunk))
    this.#socket.on('error', () => {})
    this.#socket.on('close', () => this.#waiting?.reject(new Error('the connection was closed')))
  }

  /**
   * Sends requests together.
   *
   * @param requests A path and header lines each.
   * @returns The responses in the same order.
   */
  ask(requests: readonly (readonly [path: string, header: string])[]): Promise<readonly Reply[]> {
    const text = requests
      .map(([path, header]) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${header}\r\n`)
      .join('')
    return new Promise((resolve, reject) => {
      this.#waiting = { left: [], count: requests.length, resolve, reject }
      this.#socket.write(text, 'latin1')
    })
  }

  close(): void {
    this.#socket.destroy()
  }

  #read(chunk: string): void {
    const bytes = this.#bytes + chunk
    let at = 0
    for (let end = bytes.indexOf('\r\n\r\n'); end !== -1; end = bytes.indexOf('\r\n\r\n', at)) {
      const head = bytes.slice(at, end)
      const bodyEnd = end + 4 + Number(/^Content-Length: (\d+)/im.exec(head)?.[1] ?? 0)
      if (bytes.length < bodyEnd) break
      const cookie = /^Set-Cookie: (session=[^;]*)/im.exec(head)?.[1]
      const body = bytes.slice(end + 4, bodyEnd)
      at = bodyEnd
      this.#answered({
        status: Number(head.slice(9, 12)),
        cookie: cookie === 'session=' ? '' : cookie,
        body,
      })
    }
    this.#bytes = bytes.slice(at)
  }

  #answered(reply: Reply): void {
    const waiting = this.#waiting
    if (!waiting) return
    waiting.left.push(reply)
    if (waiting.left.length < waiting.count) return
    this.#waiting = undefined
    waiting.resolve(waiting.left)
  }
}

/** How many requests a whole visit has. */
export const requestsPerVisit = 14

const malformed = 'Cookie: session=../../etc/passwd\r\n'

/**
 * Visits of one user's browser and program to a `MixedApp`, over one connection: as a guest, with a
 * malformed and an unknown cookie, sign-in, reads, changes, `use()`, lists, bearer tokens, a guard
 * that refuses, sign-out.
 */
export class Mix {
  readonly statuses: Statuses = new Map()
  readonly #user: string
  readonly #pipe: Pipe
  #token = ''

  /**
   * @param port The app's.
   * @param user Whose visits.
   */
  constructor(port: number, user: string) {
    this.#user = user
    this.#pipe = new Pipe(port)
  }

  /** Ends all sessions of the user and opens that of the program, which stays. */
  async open(): Promise<void> {
    const [opened] = await this.#ask([[`/open?user=${this.#user}`, '']])
    if (opened?.status === 200) this.#token = `Authorization: Bearer ${opened.body}\r\n`
  }

  /**
   * One visit.
   *
   * @returns How many requests it had: a visit ends early when no sign-in succeeds.
   */
  async visit(): Promise<number> {
    const unknown = `Cookie: session=${newSecret(newSessionId()).value}\r\n`
    const first = await this.#ask([
      ['/page', ''],
      ['/read', ''],
      ['/read', malformed],
      ['/read', unknown],
      [`/in?user=${this.#user}`, ''],
    ])
    const signedIn = first[4]?.cookie
    if (!signedIn) return first.length
    const cookie = `Cookie: ${signedIn}\r\n`
    const replies = await this.#ask([
      ['/read', cookie],
      ['/write', cookie],
      ['/use', cookie],
      ['/list', cookie],
      ['/admin', cookie],
      ['/token', cookie],
      ['/read', this.#token],
    ])
    const nested = replies[5]?.status === 200 ? replies[5].body : ''
    await this.#ask([['/read', `Authorization: Bearer ${nested}\r\n`]])
    await this.#ask([['/out', cookie]])
    return requestsPerVisit
  }

  close(): void {
    this.#pipe.close()
  }

  async #ask(requests: Parameters<Pipe['ask']>[0]): Promise<readonly Reply[]> {
    const replies = await this.#pipe.ask(requests)
    for (const { status } of replies) {
      this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1)
    }
    return replies
  }
}
