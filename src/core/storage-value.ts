import { types } from 'node:util'

import { StorageKeyError, StorageSizeError, StorageValueError } from '../errors.ts'

/** How large the storage of one session may become. */
export interface StorageLimits {
  /**
   * Bytes of all names and values together, as JSON text in UTF-8. A positive integer.
   *
   * @default 262_144
   */
  readonly storageBytes: number
  /**
   * Number of top-level keys. A positive integer.
   *
   * @default 256
   */
  readonly storageKeys: number
}

const maxDepth = 32
const maxShownName = 64

// Reading one of these from a parsed value must never reach a prototype, at any depth: a careless
// deep merge of `{ "constructor": { "prototype": … } }` would.
const forbiddenNames = new Set(['__proto__', 'constructor', 'prototype'])

/**
 * Refuses the names that storage does not take.
 *
 * @param name The top-level name.
 * @throws {StorageKeyError} When the name is `__proto__`, `constructor` or `prototype`, or holds a
 *   lone surrogate.
 */
export function checkStorageName(name: string): void {
  if (forbiddenNames.has(name)) {
    throw new StorageKeyError('storage', `takes no name "${name}"`)
  }
  if (!name.isWellFormed()) {
    throw new StorageKeyError('storage', 'takes no name with a lone surrogate')
  }
}

/**
 * The JSON text of a value, checked so that parsing it gives back everything that was in it.
 *
 * @param name The top-level name that the value is stored under, for the path in errors.
 * @param value Any value but `undefined`.
 * @param maxBytes Size that the text must not pass, in bytes of UTF-8.
 * @returns JSON text.
 * @throws {StorageValueError} When JSON cannot hold the value, or it is nested over 32 levels deep.
 * @throws {StorageKeyError} When a nested object has a forbidden name.
 * @throws {StorageSizeError} When the text is larger than `maxBytes`.
 */
export function encodeStorageValue(name: string, value: unknown, maxBytes: number): string {
  // Scalars are what most values are.
  if (typeof value === 'boolean' || value === null) return String(value)
  const copy = new JsonCopy(name, maxBytes).of(value)
  const json = JSON.stringify(copy)
  if (Buffer.byteLength(json) > maxBytes) throw tooLarge([name], maxBytes)
  return json
}

/**
 * Copies a value into plain objects and arrays, reading every property once: what is checked is
 * what gets written, whatever getters or proxies the original has.
 */
class JsonCopy {
  readonly #trail: (string | number)[]
  readonly #ancestors: object[] = []
  readonly #maxNodes: number
  #nodes = 0

  constructor(name: string, maxBytes: number) {
    this.#trail = [name]
    // Every node is at least one byte of JSON. Counting them ends the walk of a graph that shares
    // its children, whose JSON would double at every level.
    this.#maxNodes = maxBytes
  }

  of(value: unknown): unknown {
    if (++this.#nodes > this.#maxNodes) throw tooLarge(this.#trail, this.#maxNodes)
    switch (typeof value) {
      case 'string':
      case 'boolean':
        return value
      case 'number':
        if (!Number.isFinite(value)) throw this.#refused(`is ${value}, which JSON cannot hold`)
        return value
      case 'object':
        return value === null ? null : this.#ofObject(value)
      case 'undefined':
        throw this.#refused('is undefined, which an array cannot hold in JSON')
      case 'bigint':
      case 'function':
      case 'symbol':
      default:
        throw this.#refused(`is a ${typeof value}, which JSON cannot hold`)
    }
  }

  #ofObject(value: object): unknown {
    if (types.isDate(value)) {
      if (Number.isNaN(value.getTime())) throw this.#refused('is an invalid Date')
      return value.toISOString()
    }
    if (this.#ancestors.includes(value)) throw this.#refused('refers back to itself')
    if (this.#ancestors.length === maxDepth) {
      throw this.#refused(`is nested more than ${maxDepth} levels deep`)
    }
    this.#ancestors.push(value)
    const copy = Array.isArray(value) ? this.#ofArray(value) : this.#ofPlainObject(value)
    this.#ancestors.pop()
    return copy
  }

  #ofArray(value: readonly unknown[]): unknown[] {
    if (value.length > this.#maxNodes) throw tooLarge(this.#trail, this.#maxNodes)
    const copy: unknown[] = []
    for (let index = 0; index < value.length; index++) {
      this.#trail.push(index)
      copy.push(this.of(value[index]))
      this.#trail.pop()
    }
    // Such as the `index` and `groups` of a match: JSON would lose them silently.
    if (Object.keys(value).length > copy.length) {
      throw this.#refused('is an array with named properties, which JSON cannot hold')
    }
    return copy
  }

  #ofPlainObject(value: object): Record<string, unknown> {
    if (!isPlainObject(value)) {
      throw this.#refused('is neither a plain object nor an array, which is all that JSON can hold')
    }
    if (Object.getOwnPropertySymbols(value).length > 0) {
      throw this.#refused('has a symbol as a name, which JSON cannot hold')
    }
    const copy: Record<string, unknown> = {}
    for (const [name, child] of Object.entries(value)) {
      if (forbiddenNames.has(name)) {
        throw new StorageKeyError(pathOf(this.#trail), `takes no name "${name}"`)
      }
      if (child === undefined) continue
      this.#trail.push(name)
      copy[name] = this.of(child)
      this.#trail.pop()
    }
    return copy
  }

  #refused(problem: string): StorageValueError {
    return new StorageValueError(pathOf(this.#trail), problem)
  }
}

function isPlainObject(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype === null || prototype === Object.prototype) return true
  // The Object.prototype of another realm, such as a test runner's: a root that is no class's.
  return (
    typeof prototype === 'object' &&
    Object.getPrototypeOf(prototype) === null &&
    Object.hasOwn(prototype, 'isPrototypeOf')
  )
}

function tooLarge(trail: readonly (string | number)[], maxBytes: number): StorageSizeError {
  return new StorageSizeError(`${pathOf(trail)} is larger than ${maxBytes} bytes`)
}

/** Names come from the app's data, so they are shown escaped and cut. */
function pathOf(trail: readonly (string | number)[]): string {
  const steps = trail.map((step) => {
    if (typeof step === 'number') return `[${step}]`
    if (/^[A-Za-z_$][\w$]{0,63}$/.test(step)) return `.${step}`
    const shown = step.length > maxShownName ? `${step.slice(0, maxShownName)}…` : step
    return `[${JSON.stringify(shown)}]`
  })
  return `storage${steps.join('')}`
}
