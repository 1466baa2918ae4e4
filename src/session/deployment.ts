import { AsyncLocalStorage } from 'node:async_hooks'
import { debuglog } from 'node:util'

import { printable } from '../errors/printable.ts'
import { Events } from '../events/events.ts'
import type { SessionsSettings } from '../options/options.ts'
import type { OnUndeclared } from '../privileges/grants.ts'
import { DeadlineStore } from '../store/deadline-store.ts'
import type { SessionStore } from '../store/session-store.ts'
import { Tokens } from '../tokens/tokens.ts'
import { storedProcedureIdOf } from './session-types.ts'
import type { Session } from './session.ts'
import { Locks } from './use-lock.ts'

/** What all sessions of one `Sessions` share. */
export interface Deployment {
  readonly settings: SessionsSettings
  /** The store, with a deadline for each call. */
  readonly store: SessionStore
  readonly locks: Locks
  readonly events: Events
  /** The id of the session of the server's own code. */
  readonly storedProcedureId: string
  /** `undefined` without the option `tokens`. */
  readonly tokens: Tokens | undefined
  /** Holds the session of the running code. */
  readonly context: AsyncLocalStorage<() => Session<never>>
  /** Emits a process warning, once for each topic. */
  readonly warnOnce: (topic: string, message: string) => void
  /** Warns of an undeclared name, once for each name. */
  readonly onUndeclared: OnUndeclared
}

/** Writes if `NODE_DEBUG` has `koa-user-sessions`. */
export const debug: (text: string, ...values: readonly string[]) => void =
  debuglog('koa-user-sessions')

// Undeclared names come from code, but a bug can produce endless ones.
const maxTopics = 1000

export function createDeployment(settings: SessionsSettings): Deployment {
  const events = new Events()
  const warned = new Set<string>()
  const warnOnce = (topic: string, message: string): void => {
    if (warned.has(topic) || warned.size >= maxTopics) return
    warned.add(topic)
    process.emitWarning(message, { type: 'SessionWarning' })
  }
  const { policy, roles } = settings
  const onUndeclared: OnUndeclared = (kind, name) => {
    const shown = printable(JSON.stringify(name.slice(0, 64)))
    const reason = roles.isOpen
      ? 'there are no roles without a roles file'
      : 'the roles file lacks it'
    const message = `the ${kind} ${shown} is not declared and was not granted: ${reason}`
    warnOnce(`${kind} ${shown}`, message)
  }
  const store = new DeadlineStore(settings.store, policy.timeoutMs, (operation, error) => {
    debug('%s failed: %s', operation, error.message)
    events.emit('session:storeError', { operation, error })
  })
  if (settings.isDefaultStore && process.env['NODE_ENV'] === 'production') {
    warnOnce(
      'memory',
      'sessions are kept in memory, where they end with this process and no other process sees ' +
        'them: give session() a "redis" client',
    )
  }
  const tokens = settings.tokens && new Tokens(settings.tokens)
  if (tokens && !settings.privilegedTypes.has('remote')) {
    warnOnce(
      'tokens',
      'remote sessions have no privileges: to let them have some, set privilegedTypes: ' +
        '["web", "rest", "remote"]',
    )
  }
  return {
    settings,
    store,
    locks: new Locks(store, policy, settings.lockTimeoutMs),
    events,
    storedProcedureId: storedProcedureIdOf(settings.prefix),
    tokens,
    context: new AsyncLocalStorage(),
    warnOnce,
    onUndeclared,
  }
}
