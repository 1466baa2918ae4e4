import type { SessionType } from '../store/record.ts'

/** What a session of one type may do. */
export interface TypeRules {
  /** Whether a cookie carries it, so that its client is a browser. */
  readonly hasCookie: boolean
  /**
   * Whose it is: anybody signs in to it, it keeps the user that it was opened for, or it is the
   * server's own.
   */
  readonly user: 'anybody' | 'kept' | 'server'
}

/** What sessions may do, by type. The option `privilegedTypes` says which can have privileges. */
export const typeRules: Readonly<Record<SessionType, TypeRules>> = {
  web: { hasCookie: true, user: 'anybody' },
  rest: { hasCookie: true, user: 'anybody' },
  remote: { hasCookie: false, user: 'kept' },
  // The server's own never ends, has no idle timeout, and nobody joins it.
  storedProcedure: { hasCookie: false, user: 'server' },
}

/** The id of the session of the server's own code, the same in every deployment. */
export const storedProcedureId = '00000000-0000-4000-8000-000000000000'

/** The user name of the session of the server's own code. It is not stored. */
export const systemUser = 'system'
