import { setTimeout as delay } from 'node:timers/promises'

import { expect, onTestFinished, vi } from 'vitest'

import { cookieOf, me } from '../support/apps.ts'
import type { SessionView, TestApp } from '../support/apps.ts'

/** A signed-in user who adds one name after the other to the storage of their session. */
export interface Writer {
  readonly id: string
  readonly cookie: string
  /** The names that were sent, in order. */
  readonly sent: readonly string[]
  /** Those of them that were answered 200. */
  readonly stored: readonly string[]
}

/** Visitors of an app, each of whom sends one request after the other. */
export interface Load {
  readonly writers: readonly Writer[]
  /** The number of responses by kind of visitor and status, such as `guest 200`. */
  readonly counts: ReadonlyMap<string, number>
  /** Responses that no visitor may get. */
  readonly wrong: readonly string[]
  /** The longest time that a visitor has waited for a response. Milliseconds. */
  readonly longestMs: number
  /** Waits until each writer has this many more names answered 200. */
  stores(more: number): Promise<void>
  /** Waits for the last responses. */
  stop(): Promise<void>
}

const writerCount = 4
const readerCount = 4
const pauseMs = 20

/**
 * Sends visitors until the test ends: some who write, some who read, guests, and two who come with
 * a session that was ended before, by its user and by the app.
 *
 * @param testApp Its store must answer now.
 */
export async function startLoad(testApp: TestApp): Promise<Load> {
  const { visit, sessions } = testApp
  const counts = new Map<string, number>()
  const wrong: string[] = []
  const stopping = new AbortController()
  onTestFinished(() => stopping.abort())
  let longestMs = 0

  /** Sends requests until the load is stopped. */
  const visitor = async (
    kind: string,
    request: () => { readonly path: string; readonly cookie?: string },
    check: (view: Partial<SessionView>) => boolean,
    onStored: (path: string) => void = () => {},
  ): Promise<void> => {
    while (!stopping.signal.aborted) {
      const { path, cookie } = request()
      const start = performance.now()
      const { status, headers, body } = await visit(path, cookie)
      longestMs = Math.max(longestMs, performance.now() - start)
      const answer = `${kind} ${status}`
      counts.set(answer, (counts.get(answer) ?? 0) + 1)
      const isRight =
        status === 200 ? check(body) : status === 503 && kind !== 'guest' && headers['retry-after']
      if (!isRight) wrong.push(`${answer} ${JSON.stringify(body)}`)
      if (status === 200) onStored(path)
      await delay(pauseMs)
    }
  }

  const writers = await Promise.all(
    Array.from({ length: writerCount }, async (_, index) => ({
      ...(await signIn(testApp, `writer${index}`)),
      sent: new Array<string>(),
      stored: new Array<string>(),
    })),
  )
  const writing = writers.map(({ cookie, sent, stored }) =>
    visitor(
      'writer',
      () => {
        const name = `name${sent.length}`
        sent.push(name)
        return { path: `/write?${name}=1`, cookie }
      },
      () => true,
      (path) => stored.push(path.slice('/write?'.length, -'=1'.length)),
    ),
  )
  const reading = Array.from({ length: readerCount }, async (_, index) => {
    const userName = `reader${index}`
    const { cookie } = await signIn(testApp, userName)
    return visitor(
      'reader',
      () => ({ path: '/me', cookie }),
      (view) => view.userName === userName,
    )
  })
  const gone = await Promise.all([signIn(testApp, 'gone0'), signIn(testApp, 'gone1')])
  await visit('/logout', gone[0].cookie)
  await sessions.terminate(gone[1].id)
  const returning = gone.map(({ cookie }) =>
    visitor(
      'gone',
      () => ({ path: '/me', cookie }),
      (view) => view.userName === '',
    ),
  )
  const guests = ['/page', '/me'].map((path) =>
    visitor(
      'guest',
      () => ({ path }),
      () => true,
    ),
  )
  const all = Promise.all([...writing, ...reading, ...returning, ...guests])

  return {
    writers,
    counts,
    wrong,
    get longestMs() {
      return longestMs
    },
    async stores(more) {
      const before = writers.map(({ stored }) => stored.length)
      await vi.waitFor(
        () => {
          const added = writers.map(({ stored }, index) => stored.length - (before[index] ?? 0))
          expect(Math.min(...added)).toBeGreaterThanOrEqual(more)
        },
        { timeout: 30_000, interval: 20 },
      )
    },
    async stop() {
      stopping.abort()
      await all
    },
  }
}

async function signIn(
  { visit }: TestApp,
  userName: string,
): Promise<{ readonly id: string; readonly cookie: string }> {
  const cookie = cookieOf(await visit(`/login?user=${userName}`))
  const { id } = await me({ get: (path) => visit(path, cookie) })
  return { id, cookie }
}
