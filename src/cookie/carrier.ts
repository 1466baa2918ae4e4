import { SessionHeadersSentError } from '../errors/errors.ts'

/** How a session's cookie reaches its client. */
export interface Carrier {
  /** False once the response headers are sent. */
  readonly canSet: boolean
  /**
   * Gives the client a cookie, in place of any that it was to get with this response.
   *
   * @param value The cookie's value.
   * @param lifetimeMs From now to the session's absolute end; `Infinity` for none.
   */
  set(value: string, lifetimeMs: number): void
  /** Takes the cookie away. */
  clear(): void
  /** Takes away the cookies of another package alone, which the two others do along with theirs. */
  clearLegacy(): void
}

/** Of a client that takes no cookie: one with a bearer token, or one whose response is not ours. */
export const noCarrier: Carrier = {
  canSet: false,
  set() {
    throw new SessionHeadersSentError()
  },
  clear() {},
  clearLegacy() {},
}
