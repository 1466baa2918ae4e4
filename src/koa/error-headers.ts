import type { ErrorHeaders } from '../errors/errors.ts'
import type { Deployment } from '../session/deployment.ts'
import type { Attachment } from './attachment.ts'

const cookieHeader: readonly string[] = ['Cookie']
const bothHeaders: readonly string[] = ['Cookie', 'Authorization']

/**
 * Gives an error the headers that the session owes the client: Koa drops all that the response has
 * before it answers an error, then sets those of `error.headers`.
 *
 * @returns What to throw in its place.
 */
export function withHeaders(
  error: unknown,
  { request, usedCookie, deployment }: Attachment,
): unknown {
  usedCookie?.apply()
  if (typeof error !== 'object' || error === null || !request.isAttached) return error
  const headers = { ...headersOf(error), ...request.challengeFor(error) }
  const varied = withVary(headers, varyByOf(deployment))
  const complete = usedCookie?.headersFor(varied) ?? varied
  if (complete === varied) {
    if (Object.isExtensible(error)) Reflect.set(error, 'headers', varied)
    return error
  }
  // A cookie never goes onto the error itself: apps throw one error object for many requests, and
  // the next client would get this one's session.
  const copy: object = Object.create(error, {
    ...Object.getOwnPropertyDescriptors(error),
    headers: { value: complete, enumerable: true, configurable: true, writable: true },
  })
  // Accessors of its class work on the error itself: private members, and a DOMException, know no
  // copy of it.
  return new Proxy(copy, {
    get: (target, name) => Reflect.get(target, name, error),
    set: (target, name, value) =>
      Reflect.set(target, name, value, Object.hasOwn(target, name) ? target : error),
  })
}

function headersOf(error: object): ErrorHeaders {
  const headers: unknown = Reflect.get(error, 'headers')
  return typeof headers === 'object' && headers !== null ? { ...headers } : {}
}

function withVary(headers: ErrorHeaders, names: readonly string[]): ErrorHeaders {
  const name = Object.keys(headers).find((key) => key.toLowerCase() === 'vary')
  if (name === undefined) return { ...headers, Vary: names.join(', ') }
  const present = [headers[name] ?? []].flat().join(', ')
  const listed = new Set(present.split(',').map((one) => one.trim().toLowerCase()))
  const missing = names.filter((one) => !listed.has(one.toLowerCase()))
  if (listed.has('*') || missing.length === 0) return headers
  return { ...headers, [name]: [present, ...missing].filter(Boolean).join(', ') }
}

/** The headers on which the answer to a request with a session depends. */
export function varyByOf({ tokens }: Deployment): readonly string[] {
  return tokens ? bothHeaders : cookieHeader
}
