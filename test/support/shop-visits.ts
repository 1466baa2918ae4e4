import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'

import type { ActiveSession } from 'koa-user-sessions'
import request from 'supertest'
import { onTestFinished } from 'vitest'

import { createApp } from '../../examples/demo/app.ts'
import { users } from '../../examples/demo/users.ts'

export type Shop = ReturnType<typeof createApp>
export type Visitor = ReturnType<typeof request.agent>

/** A shop, what it has reported, and a browser that visits it. */
export function visit(shop: Shop = createApp()): {
  shop: Shop
  errors: unknown[]
  visitor: Visitor
} {
  const errors: unknown[] = []
  shop.on('error', (error) => errors.push(error))
  return { shop, errors, visitor: request.agent(shop.callback()) }
}

export function newVisitor(shop: Shop): Visitor {
  return request.agent(shop.callback())
}

export function send(visitor: Visitor, path: string, fields: Record<string, string>) {
  return visitor.post(path).type('form').send(fields)
}

export function signIn(visitor: Visitor, name: string, next = '/') {
  const password = users.find((user) => user.name === name)?.shownPassword ?? ''
  return send(visitor, '/sign-in', { name, password, next })
}

export function addToCart(visitor: Visitor, product: string, quantity = '1') {
  return send(visitor, '/cart', { do: 'add', product, quantity })
}

export async function textOf(visitor: Visitor, path: string, status = 200): Promise<string> {
  const { text } = await visitor
    .get(path)
    .expect(status)
    .expect('Content-Type', /^text\/html/)
  return text
}

export async function idOf(visitor: Visitor): Promise<string> {
  return /<code>([0-9a-f-]{36})<\/code>/.exec(await textOf(visitor, '/session'))?.[1] ?? ''
}

export function cookiesOf(response: request.Response): string[] {
  return [response.get('Set-Cookie') ?? []].flat()
}

/** A session about which nothing is known. */
export const unknown: ActiveSession = {
  id: '00000000-0000-4000-8000-000000000000',
  isCurrent: false,
  appId: '',
  appName: '',
  appVersion: '',
  isOfficialApp: false,
  deviceModel: '',
  platform: '',
  systemVersion: '',
  dateCreated: 0,
  dateActive: 0,
  ip: '',
  country: '',
  region: '',
}

/** The headings of the cards. */
export function devicesIn(text: string): string[] {
  return [...text.matchAll(/<h3>(.*?)<\/h3>/gs)].map(([, heading = '']) =>
    heading
      .replaceAll(/<[^>]+>/g, '')
      .replaceAll(/\s+/g, ' ')
      .trim(),
  )
}

const root = fileURLToPath(new URL('../..', import.meta.url))

export function start(env: Record<string, string>): ChildProcess {
  const child = spawn(process.execPath, ['--import', 'tsx', 'examples/demo/server.ts'], {
    cwd: root,
    env: {
      PATH: process.env['PATH'],
      HOME: process.env['HOME'],
      TSX_TSCONFIG_PATH: 'test/tsconfig.json',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  return child
}
