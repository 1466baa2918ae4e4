import { STATUS_CODES } from 'node:http'

/** What the answer to an error says. */
export interface ErrorFacts {
  readonly status: number
  /** `undefined` where it is not for the client. */
  readonly message: string | undefined
  /** Such as `ERR_SESSION_GUEST`; `undefined` where there is none, or it is not for the client. */
  readonly code: string | undefined
  readonly headers: Record<string, string | string[]>
}

/** Reads what Koa reads of an error that was thrown. */
export function facts(error: unknown): ErrorFacts {
  const { status, expose, message, code, headers } = Object(error)
  // Koa refuses to answer a status that HTTP does not know.
  const isHttp = typeof status === 'number' && status >= 400 && status in STATUS_CODES
  // Only what was written for people: anything else may tell of the inside.
  const isShown = expose === true
  return {
    status: isHttp ? status : 500,
    message: isShown ? String(message) : undefined,
    code: isShown && typeof code === 'string' ? code : undefined,
    headers: isHttp ? { ...headers } : {},
  }
}
