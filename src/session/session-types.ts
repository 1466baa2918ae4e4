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

/** The id of the stored-procedure session, the same in every deployment. */
export const storedProcedureId = '00000000-0000-4000-8000-000000000000'

/** The user name of the stored-procedure session. It is not stored. */
export const systemUser = 'system'
