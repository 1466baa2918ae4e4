import { compileFunction } from 'node:vm'

import type { SessionsOptions } from 'koa-user-sessions'
import { unknownClient } from 'koa-user-sessions/store'
import { onTestFinished, vi } from 'vitest'

import { noCarrier } from '../../src/cookie/carrier.ts'
import { resolveOptions } from '../../src/options/option-table.ts'
import { createDeployment } from '../../src/session/deployment.ts'
import { LiveSession } from '../../src/session/live-session.ts'
import { SessionState } from '../../src/session/session-state.ts'
import { Session } from '../../src/session/session.ts'

export const uuid = /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/
export const isoDate = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/
const now = Date.parse('2026-01-01T00:00:00.000Z')
export const secret = 'S3CRET'

/** A new session that is never stored. */
export function newSession(options: SessionsOptions = {}): Session {
  return new Session(liveSession(options))
}

export function liveSession(options: SessionsOptions): LiveSession {
  const deployment = createDeployment(resolveOptions(options))
  const request = { ip: '192.0.2.1', header: () => '', describeClient: async () => unknownClient }
  const state = SessionState.guest(deployment, { request, now, token: undefined })
  return new LiveSession(state, { cookie: noCarrier })
}

/** Assigns like strict code. */
export function assign(target: object, name: string, value: unknown): void {
  Object.assign(target, { [name]: value })
}

/** Assigns like sloppy code, in which a plain read-only property would ignore it. */
export const assignSloppily = compileFunction('target[name] = value', ['target', 'name', 'value'])

export function freezeTime(): { pass(minutes: number): void } {
  vi.useFakeTimers({ toFake: ['Date'], now })
  onTestFinished(() => {
    vi.useRealTimers()
  })
  return { pass: (minutes) => vi.setSystemTime(Date.now() + minutes * 60_000) }
}
