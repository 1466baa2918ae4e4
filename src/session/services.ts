import { AsyncLocalStorage } from 'node:async_hooks'
import { debuglog } from 'node:util'

import { printable } from '../errors/printable.ts'
import { Events } from '../events/events.ts'
import type { SessionsSettings } from '../options/options.ts'
import type { Roles } from '../privileges/roles.ts'
import { DeadlineStore } from '../store/deadline-store.ts'
import type { SessionStore, StorePolicy } from '../store/session-store.ts'
import { Tokens } from '../tokens/tokens.ts'
import type { SessionRules } from './session-state.ts'
import type { Session } from './session.ts'
import { Locks } from './use-lock.ts'

/** What the parts of one `Sessions` share. */
export interface Services {
  readonly settings: SessionsSettings
  readonly rules: SessionRules
  readonly policy: StorePolicy
  /** The store, with a deadline around each call. */
  readonly store: SessionStore
  readonly locks: Locks
  readonly events: Events
  /** `undefined` without the option `tokens`. */
  readonly tokens: Tokens | undefined
  /** The session of the code that runs. */
  readonly context: AsyncLocalStorage<() => Session<never>>
  /** Warns the process, once a topic. */
  readonly warnOnce: (topic: string, message: string) => void
}

/** Written when `NODE_DEBUG=koa-user-sessions`. */
export const debug: (text: string, ...values: readonly string[]) => void =
  debuglog('koa-user-sessions')

// Names that are not declared come from code, but a bug can make endless ones.
const maxTopics = 1000

/**
 * Puts together what the parts of one `Sessions` share.
 *
 * @param settings Checked options.
 */
export function createServices(settings: SessionsSettings): Services {
  const events = new Events()
  const warned = new Set<string>()
  const warnOnce = (topic: string, message: string): void => {
    if (warned.has(topic) || warned.size >= maxTopics) return
    warned.add(topic)
    process.emitWarning(message, { type: 'SessionWarning' })
  }
  const { absoluteTimeoutMs, refreshMs, limits, maxSessions, storeTimeoutMs } = settings
  const expiry = { absoluteTimeoutMs, refreshMs }
  const policy = { expiry, limits, maxSessions, timeoutMs: storeTimeoutMs }
  const rules: SessionRules = {
    ...policy,
    type: settings.type,
    roles: settings.roles,
    applications: settings.applications,
    instanceName: settings.instanceName,
    serverCode: settings.serverCode,
    privilegedTypes: settings.privilegedTypes,
    idleTimeoutMs: settings.idleTimeoutMs,
    minIdleTimeoutMs: settings.minIdleTimeoutMs,
    onUndeclared: (kind, name) => warnUndeclared(warnOnce, settings.roles, kind, name),
    onCorrupt: (id) => events.emit('session:storeError', { operation: 'load', id }),
  }
  const store = new DeadlineStore(settings.store, settings.storeTimeoutMs, (operation, error) => {
    debug('%s failed: %s', operation, error.message)
    events.emit('session:storeError', { operation, error })
  })
  if (settings.isDefaultStore && process.env['NODE_ENV'] === 'production') {
    warnOnce(
      'memory',
      'sessions are kept in memory: they end with this process, and no other process has them. ' +
        'Give session() a "redis" client',
    )
  }
  const locks = new Locks(store, policy, settings.lockTimeoutMs)
  const tokens = settings.tokens && new Tokens(settings.tokens)
  if (tokens && !settings.privilegedTypes.has('remote')) {
    warnOnce(
      'tokens',
      'remote sessions have no privileges: if they should, set privilegedTypes: ' +
        '["web", "rest", "remote"]',
    )
  }
  const context = new AsyncLocalStorage<() => Session<never>>()
  return { settings, rules, policy, store, locks, events, tokens, context, warnOnce }
}

function warnUndeclared(
  warnOnce: Services['warnOnce'],
  roles: Roles,
  kind: 'privilege' | 'role',
  name: string,
): void {
  const shown = printable(JSON.stringify(name.slice(0, 64)))
  const reason = roles.isOpen
    ? 'there are no roles without a roles file'
    : 'the roles file lacks it'
  warnOnce(
    `${kind} ${shown}`,
    `the ${kind} ${shown} is not declared and was not granted: ${reason}`,
  )
}
