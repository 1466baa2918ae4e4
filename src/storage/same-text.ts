import { isPlainArray, isPlainObject } from './plain.ts'

/**
 * Whether a value is as its JSON text says, so that its text need not be written and checked anew
 * to know that it has not changed. `JSON.stringify` is quick, but leaves out what JSON cannot hold:
 * so the value must be plain too.
 *
 * @param value Any.
 * @param json What `encodeStorageValue` has made.
 * @returns False where that is not certain.
 */
export function isSameText(value: unknown, json: string): boolean {
  try {
    return JSON.stringify(value) === json && isPlain(value)
  } catch {
    // It refers back to itself, or a getter or a proxy throws.
    return false
  }
}

/** Whether JSON leaves out nothing of a value, and puts nothing else in its place. */
function isPlain(value: unknown): boolean {
  if (typeof value === 'string' || typeof value === 'boolean' || value === null) return true
  if (typeof value === 'number') return Number.isFinite(value)
  if (typeof value !== 'object') return false
  const names = Object.keys(value)
  if (Array.isArray(value)) {
    return isPlainArray(value) && names.length === value.length && value.every(isPlain)
  }
  if (!isPlainObject(value) || Object.getOwnPropertySymbols(value).length > 0) return false
  for (const name of names) {
    const child: unknown = Reflect.get(value, name)
    if (child !== undefined && !isPlain(child)) return false
  }
  return true
}
