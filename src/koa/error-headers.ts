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
  return copyOf(error, complete)
}

/**
 * Returns a copy of an error with other headers, which Koa reads, and no logger prints: they hold
 * the session's cookie.
 */
function copyOf(error: object, headers: ErrorHeaders): object {
  const hidden = { enumerable: false, configurable: true }
  const properties: PropertyDescriptorMap = Object.create(null)
  for (let owner = error; owner !== Object.prototype;) {
    for (const name of Reflect.ownKeys(owner)) {
      const descriptor = Reflect.getOwnPropertyDescriptor(owner, name)
      if (!descriptor || name === 'constructor' || Object.hasOwn(properties, name)) continue
      const { value } = descriptor
      // Accessors and methods run on the error itself: private members, and those of a
      // DOMException, reject a copy.
      if (typeof value === 'function') {
        const call = (...args: readonly unknown[]): unknown => Reflect.apply(value, error, args)
        Reflect.set(properties, name, { ...hidden, writable: true, value: call })
      } else if (!('value' in descriptor)) {
        const assign = (assigned: unknown): boolean => Reflect.set(error, name, assigned)
        Reflect.set(properties, name, {
          ...hidden,
          get: () => Reflect.get(error, name),
          set: assign,
        })
      } else if (owner === error) Reflect.set(properties, name, descriptor)
    }
    owner = Reflect.getPrototypeOf(owner) ?? Object.prototype
  }
  properties['headers'] = { ...hidden, writable: true, value: headers }
  return Object.create(error, properties)
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
