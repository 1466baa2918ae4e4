import { once } from 'node:events'
import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'

import type { Redis } from 'ioredis'
import type { Page } from 'playwright-core'

import { createApp } from '../../examples/demo/app.ts'
import { users } from '../../examples/demo/users.ts'
import { selfSignedCertificate } from '../support/tls.ts'

/** The demo, listening. */
export interface RunningShop {
  /** Its address, as `http://127.0.0.1:<port>`. */
  readonly url: string
  /** Ends it, and waits until it has. */
  close(): Promise<void>
}

/** How the demo is run. */
export interface RunOptions {
  /** The Redis that keeps the sessions; without it they are in memory. */
  readonly redis?: Redis
  readonly prefix?: string
  /** Listens with HTTPS. */
  readonly tls?: boolean
  /** Trusts `X-Forwarded-For`, so that a browser here can come from anywhere. */
  readonly proxy?: boolean
}

/** Runs the demo on a free port of 127.0.0.1. */
export async function runShop(options: RunOptions = {}): Promise<RunningShop> {
  const { tls = false, proxy = false, ...where } = options
  const app = createApp(where)
  app.proxy = proxy
  const server = tls
    ? createTlsServer(selfSignedCertificate(), app.callback())
    : createServer(app.callback())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  return {
    url: `${tls ? 'https' : 'http'}://127.0.0.1:${port}`,
    async close() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

/** Signs in with the form, and ends on the requested page. */
export async function signIn(page: Page, url: string, name: string, next: string): Promise<void> {
  await page.goto(`${url}/sign-in?next=${encodeURIComponent(next)}`)
  await page.getByLabel('Name').fill(name)
  const password = users.find((user) => user.name === name)?.shownPassword ?? ''
  await page.getByLabel('Password').fill(password)
  await page.getByRole('main').getByRole('button', { name: 'Sign in' }).click()
  await page.waitForURL(`${url}${next}`)
}
