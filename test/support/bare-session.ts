import { compileFunction } from 'node:vm'

import { unknownClient } from 'koa-user-sessions'
import type { SessionsOptions } from 'koa-user-sessions'
import { onTestFinished, vi } from 'vitest'

import { resolveOptions } from '../../src/options/resolve-options.ts'
import { createServices } from '../../src/session/services.ts'
import { SessionState } from '../../src/session/session-state.ts'
import { Session } from '../../src/session/session.ts'
import type { SessionHost } from '../../src/session/session.ts'

export const uuid = /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/
export const isoDate = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/
const now = Date.parse('2026-01-01T00:00:00.000Z')
export const secret = 'S3CRET'

/** A new session that nobody stores. */
export function newSession(options: SessionsOptions = {}): Session {
  return new Session(hostOf(options))
}

export function hostOf(options: SessionsOptions): SessionHost {
  const { rules } = createServices(resolveOptions(options))
  return {
    state: new SessionState(rules, {
      now,
      ip: '192.0.2.1',
      header: () => '',
      describeClient: async () => unknownClient,
    }),
    switchUser: vi.fn(),
    use: async (block) => block(),
    save: vi.fn(async () => {}),
    reload: vi.fn(async () => {}),
    destroy: vi.fn(async () => {}),
    regenerate: vi.fn(async () => {}),
    touch: vi.fn(async () => {}),
    postpone: vi.fn(async () => {}),
    createNestedToken: vi.fn(async () => ''),
    createOTP: vi.fn(async () => ''),
    restore: vi.fn(async () => false),
  }
}

/** Assigns as strict code does. */
export function assign(target: object, name: string, value: unknown): void {
  Object.assign(target, { [name]: value })
}

/** Assigns as sloppy code does, where a plain read-only property would swallow it. */
export const assignSloppily = compileFunction('target[name] = value', ['target', 'name', 'value'])

export function freezeTime(): { pass(minutes: number): void } {
  vi.useFakeTimers({ toFake: ['Date'], now })
  onTestFinished(() => {
    vi.useRealTimers()
  })
  return { pass: (minutes) => vi.setSystemTime(Date.now() + minutes * 60_000) }
}
