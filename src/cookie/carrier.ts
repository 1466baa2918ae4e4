import { SessionHeadersSentError } from '../errors/errors.ts'

/** Carries a session's cookie to its client. */
export interface Carrier {
  /** Whether a cookie can still be set: false once the response headers are sent. */
  readonly canSet: boolean
  /** Sets the cookie for a lifetime in milliseconds, or `Infinity`, instead of any set before. */
  set(value: string, lifetimeMs: number): void
  /** Removes the cookie. */
  clear(): void
  /** Removes only the cookies of another package, which `set` and `clear` also remove. */
  clearLegacy(): void
}

/** The carrier for a client with a bearer token, or for a session without a response. */
export const noCarrier: Carrier = {
  canSet: false,
  set() {
    throw new SessionHeadersSentError()
  },
  clear() {},
  clearLegacy() {},
}
