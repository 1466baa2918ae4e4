/** The bearer token of a request. `malformed`: the scheme is `Bearer`, but no one token follows. */
export type BearerCredentials =
  | { readonly status: 'none' | 'malformed' }
  | { readonly status: 'token'; readonly token: string }

// RFC 6750 section 2.1: `b64token`.
const bearerForm = /^Bearer +([\w.~+/-]+=*) *$/i
const bearerScheme = /^Bearer(?: |$)/i

/**
 * Finds the bearer token in a request's `Authorization` headers. Ignores other schemes, and tokens
 * in bodies and URLs, which RFC 6750 advises against.
 */
export function readBearer(headers: readonly string[]): BearerCredentials {
  if (!headers.some((header) => bearerScheme.test(header))) return { status: 'none' }
  const token = headers.length === 1 ? bearerForm.exec(headers[0] ?? '')?.[1] : undefined
  return token === undefined ? { status: 'malformed' } : { status: 'token', token }
}
