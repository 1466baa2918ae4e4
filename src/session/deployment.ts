import { AsyncLocalStorage } from 'node:async_hooks'
import { debuglog } from 'node:util'

import { printable } from '../errors/printable.ts'
import { Events } from '../events/events.ts'
import type { SessionsSettings } from '../options/options.ts'
import type { OnUndeclared } from '../privileges/grants.ts'
import { DeadlineStore } from '../store/deadline-store.ts'
import type { SessionStore } from '../store/session-store.ts'
import { Tokens } from '../tokens/tokens.ts'
import type { Session } from './session.ts'
import { Locks } from './use-lock.ts'

/** What one `Sessions` has, and all of its sessions share. */
export interface Deployment {
  readonly settings: SessionsSettings
  /** The store, with a deadline around each call. */
  readonly store: SessionStore
  readonly locks: Locks
  readonly events: Events
  /** `undefined` without the option `tokens`. */
  readonly tokens: Tokens | undefined
  /** The session of the code that runs. */
  readonly context: AsyncLocalStorage<() => Session<never>>
  /** Warns the process, once for each topic. */
  readonly warnOnce: (topic: string, message: string) => void
  /** Warns of a name that is not declared, once for each name. */
  readonly onUndeclared: OnUndeclared
}

/** Written when `NODE_DEBUG=koa-user-sessions`. */
export const debug: (text: string, ...values: readonly string[]) => void =
  debuglog('koa-user-sessions')

// Names that are not declared come from code, but a bug can make endless ones.
const maxTopics = 1000

/** Puts together what one `Sessions` has. */
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
      'sessions are kept in memory: they end with this process, and no other process has them. ' +
        'Give session() a "redis" client',
    )
  }
  const tokens = settings.tokens && new Tokens(settings.tokens)
  if (tokens && !settings.privilegedTypes.has('remote')) {
    warnOnce(
      'tokens',
      'remote sessions have no privileges: if they should, set privilegedTypes: ' +
        '["web", "rest", "remote"]',
    )
  }
  return {
    settings,
    store,
    locks: new Locks(store, policy, settings.lockTimeoutMs),
    events,
    tokens,
    context: new AsyncLocalStorage(),
    warnOnce,
    onUndeclared,
  }
}
