import type { ErrorHeaders } from '../errors/errors.ts'
import type { Deployment } from '../session/deployment.ts'
import type { Attachment } from './attachment.ts'

const cookieHeader: readonly string[] = ['Cookie']
const bothHeaders: readonly string[] = ['Cookie', 'Authorization']

/**
 * Returns the error to throw instead, with the headers that the client needs: Koa drops the
 * response's headers on an error, then sets those of `error.headers`.
 */
export function withHeaders(
  error: unknown,
  { requestSession: request, usedCookie, deployment }: Attachment,
): unknown {
  usedCookie?.apply()
  if (typeof error !== 'object' || error === null || !request.affectsResponse) return error
  const headers = { ...headersOf(error), ...request.challengeFor(error) }
  const varied = withVary(headers, varyByOf(deployment))
  const complete = usedCookie?.headersFor(varied) ?? varied
  if (complete === varied) {
    if (Object.isExtensible(error)) Reflect.set(error, 'headers', varied)
    return error
  }
  // A cookie never goes onto the error itself: apps throw one error object for many requests, and
  // the next client would receive this client's session.
  const copy: object = Object.create(error, {
    ...Object.getOwnPropertyDescriptors(error),
    headers: { value: complete, enumerable: true, configurable: true, writable: true },
  })
  // Accessors run on the error itself: private members, and those of a DOMException, reject a copy.
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

/** Returns the request headers on which a response with a session depends. */
export function varyByOf({ tokens }: Deployment): readonly string[] {
  return tokens ? bothHeaders : cookieHeader
}
