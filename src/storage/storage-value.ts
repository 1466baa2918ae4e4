import { types } from 'node:util'

import {
  SessionError,
  StorageKeyError,
  StorageSizeError,
  StorageValueError,
} from '../errors/errors.ts'
import { isPlainArray, isPlainObject } from './plain.ts'

/** How large the storage of one session may become. */
export interface StorageLimits {
  /**
   * Bytes of all names and values together, as JSON text in UTF-8. From 1 to 2^28.
   *
   * @default 262_144
   */
  readonly storageBytes: number
  /**
   * Number of top-level keys. From 1 to 65 536.
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
  const json = new JsonText(name, maxBytes).of(value)
  if (Buffer.byteLength(json) > maxBytes) throw tooLarge(name, maxBytes)
  return json
}

/**
 * Writes a value as JSON, reading every property once: what is checked is what gets written,
 * whatever getters or proxies the value has.
 */
class JsonText {
  readonly #name: string
  readonly #maxBytes: number
  readonly #trail: (string | number)[]
  readonly #ancestors: object[] = []
  /** At least so many bytes does the text have. */
  #bytes = 0

  constructor(name: string, maxBytes: number) {
    this.#name = name
    this.#maxBytes = maxBytes
    this.#trail = [name]
  }

  of(value: unknown): string {
    try {
      return this.#of(value)
    } catch (error) {
      if (error instanceof SessionError) throw error
      // What it threw may quote the value, so it is not passed on.
      throw this.#refused('cannot be read: a getter or a proxy throws')
    }
  }

  #of(value: unknown): string {
    this.#count(1)
    switch (typeof value) {
      case 'string':
        this.#count(value.length)
        return JSON.stringify(value)
      case 'boolean':
        return String(value)
      case 'number':
        if (!Number.isFinite(value)) throw this.#refused(`is ${value}, which JSON cannot hold`)
        return String(value)
      case 'object':
        if (value === null) return 'null'
        return Array.isArray(value) ? this.#ofArray(value) : this.#ofObject(value)
      case 'undefined':
        throw this.#refused('is undefined, which an array cannot hold in JSON')
      case 'bigint':
      case 'function':
      case 'symbol':
      default:
        throw this.#refused(`is a ${typeof value}, which JSON cannot hold`)
    }
  }

  #ofArray(value: readonly unknown[]): string {
    this.#enter(value, isPlainArray(value))
    const { length } = value
    if (length > this.#maxBytes) throw tooLarge(this.#name, this.#maxBytes)
    const texts: string[] = []
    for (let index = 0; index < length; index++) {
      this.#trail.push(index)
      texts.push(this.#of(value[index]))
      this.#trail.pop()
    }
    // Such as the `index` and `groups` of a match: JSON would lose them silently.
    if (Object.keys(value).length > length) {
      throw this.#refused('is an array with named properties, which JSON cannot hold')
    }
    this.#ancestors.pop()
    return `[${texts.join(',')}]`
  }

  #ofObject(value: object): string {
    // By its own methods a Date could say anything.
    if (types.isDate(value)) {
      const time = Date.prototype.getTime.call(value)
      if (Number.isNaN(time)) throw this.#refused('is an invalid Date')
      return JSON.stringify(new Date(time))
    }
    this.#enter(value, isPlainObject(value))
    let text = ''
    for (const name of Object.keys(value)) {
      if (forbiddenNames.has(name)) {
        throw new StorageKeyError(pathOf(this.#trail), `takes no name "${name}"`)
      }
      this.#trail.push(name)
      const child: unknown = Reflect.get(value, name)
      if (child !== undefined) {
        this.#count(name.length)
        text += `${text === '' ? '' : ','}${JSON.stringify(name)}:${this.#of(child)}`
      }
      this.#trail.pop()
    }
    this.#ancestors.pop()
    return `{${text}}`
  }

  /** Goes into an object or array, which then is the last of the ancestors. */
  #enter(value: object, isPlain: boolean): void {
    if (this.#ancestors.includes(value)) throw this.#refused('refers back to itself')
    if (this.#ancestors.length === maxDepth) {
      throw this.#refused(`is nested more than ${maxDepth} levels deep`)
    }
    if (!isPlain) {
      throw this.#refused('is neither a plain object nor an array, which is all that JSON can hold')
    }
    if (Object.getOwnPropertySymbols(value).length > 0) {
      throw this.#refused('has a symbol as a name, which JSON cannot hold')
    }
    this.#ancestors.push(value)
  }

  /** Ends the text of what shares its children, whose JSON would double at every level. */
  #count(bytes: number): void {
    this.#bytes += bytes
    if (this.#bytes > this.#maxBytes) throw tooLarge(this.#name, this.#maxBytes)
  }

  #refused(problem: string): StorageValueError {
    return new StorageValueError(pathOf(this.#trail), problem)
  }
}

function tooLarge(name: string, maxBytes: number): StorageSizeError {
  return new StorageSizeError(`${pathOf([name])} is larger than ${maxBytes} bytes`)
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
