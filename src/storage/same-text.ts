import { isPlainArray, isPlainObject } from './plain.ts'

/**
 * Returns whether a value still equals its text from `encodeStorageValue`, or false when in doubt.
 * Spares the caller from encoding the value again. `JSON.stringify` is quick but silently drops
 * what JSON cannot hold, so the value must be plain too.
 */
export function isSameText(value: unknown, json: string): boolean {
  try {
    return JSON.stringify(value) === json && isPlain(value)
  } catch {
    // The value refers back to itself, or a getter or a proxy throws.
    return false
  }
}

/** Returns whether JSON neither drops nor replaces any part of a value. */
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
