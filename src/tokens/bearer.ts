/** What a request has for a bearer token. */
export type BearerCredentials =
  | { readonly status: 'none' }
  | { readonly status: 'token'; readonly token: string }
  /** It says that there is one, and is not of the form. */
  | { readonly status: 'malformed' }

// RFC 6750 section 2.1: `b64token`.
const bearerForm = /^Bearer +([\w.~+/-]+=*) *$/i
const bearerScheme = /^Bearer(?: |$)/i

/**
 * Finds the bearer token of a request. Other schemes of the header are somebody else's, and tokens
 * in bodies and addresses, which RFC 6750 advises against, are not looked at.
 *
 * @param headers The `Authorization` headers.
 */
export function readBearer(headers: readonly string[]): BearerCredentials {
  if (!headers.some((header) => bearerScheme.test(header))) return { status: 'none' }
  const token = headers.length === 1 ? bearerForm.exec(headers[0] ?? '')?.[1] : undefined
  return token === undefined ? { status: 'malformed' } : { status: 'token', token }
}
