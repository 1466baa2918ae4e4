import { hash } from 'node:crypto'

import type { SessionType } from '../store/record.ts'

/** The rules for sessions of one type. */
export interface TypeRules {
  /** Whether a cookie carries the session, so that its client is a browser. */
  readonly hasCookie: boolean
  /**
   * Whether any user can sign in, the session keeps the user that it was opened for, or it is the
   * server's own.
   */
  readonly user: 'anybody' | 'kept' | 'server'
}

/** The rules by type. The option `privilegedTypes` determines which can have privileges. */
export const typeRules: Readonly<Record<SessionType, TypeRules>> = {
  web: { hasCookie: true, user: 'anybody' },
  rest: { hasCookie: true, user: 'anybody' },
  remote: { hasCookie: false, user: 'kept' },
  // It never ends, has no idle timeout, and no browser can join it.
  storedProcedure: { hasCookie: false, user: 'server' },
}

/**
 * Returns the id of the session of the server's own code. It follows from the option `prefix`, so
 * that a token of one deployment opens nothing in another one with the same keys.
 */
export function storedProcedureIdOf(prefix: string): string {
  const hex = hash('sha256', `stored procedure of ${prefix}`, 'hex')
  // RFC 9562 section 5.8: a UUID of version 8, whose other bits are free.
  const parts = [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `8${hex.slice(13, 16)}`,
    `8${hex.slice(17, 20)}`,
  ]
  return [...parts, hex.slice(20, 32)].join('-')
}

/** The user name of the stored-procedure session. It is not stored. */
export const systemUser = 'system'
