import { types } from 'node:util'

import {
  SessionError,
  StorageKeyError,
  StorageSizeError,
  StorageValueError,
} from '../errors/errors.ts'
import { isPlainArray, isPlainObject } from './plain.ts'

/** The limits for the storage of one session. */
export interface StorageLimits {
  /**
   * The most bytes for all names and values together, as JSON in UTF-8. From 1 to 2^28.
   *
   * @default 262_144
   */
  readonly storageBytes: number
  /**
   * The most top-level keys. From 1 to 65 536.
   *
   * @default 256
   */
  readonly storageKeys: number
}

const maxDepth = 32
const maxShownName = 64

// A careless deep merge of a value such as `{ "constructor": { "prototype": … } }` would change a
// prototype, at any depth.
const forbiddenNames = new Set(['__proto__', 'constructor', 'prototype'])

/**
 * Checks a top-level name of storage.
 *
 * @throws {StorageKeyError} For `__proto__`, `constructor`, `prototype` or a lone surrogate.
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
 * Returns a value's JSON text, and checks that parsing the text restores the whole value.
 *
 * @param name The value's top-level name, for the path in errors.
 * @param value Any value except `undefined`.
 * @param maxBytes The most bytes of the text in UTF-8.
 * @throws {StorageValueError} When JSON cannot hold the value, or it is nested over 32 levels deep.
 * @throws {StorageKeyError} When a nested object has a forbidden name.
 * @throws {StorageSizeError} When the text is larger than `maxBytes`.
 */
export function encodeStorageValue(name: string, value: unknown, maxBytes: number): string {
  // Most values are scalars.
  if (typeof value === 'boolean' || value === null) return String(value)
  const json = new JsonText(name, maxBytes).of(value)
  if (Buffer.byteLength(json) > maxBytes) throw tooLarge(name, maxBytes)
  return json
}

/**
 * Writes a value as JSON. Reads every property once, so that getters and proxies cannot show the
 * checks another value than the one that is written.
 */
class JsonText {
  readonly #name: string
  readonly #maxBytes: number
  readonly #trail: (string | number)[]
  readonly #ancestors: object[] = []
  /** A lower bound of the text's bytes. */
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
      // The error may quote the value, so it is not passed on.
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
    // JSON would silently lose properties such as the `index` and `groups` of a match.
    if (Object.keys(value).length > length) {
      throw this.#refused('is an array with named properties, which JSON cannot hold')
    }
    this.#ancestors.pop()
    return `[${texts.join(',')}]`
  }

  #ofObject(value: object): string {
    // A Date's own methods could return anything.
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

  /** Checks an object or array, and makes it the last of the ancestors. */
  #enter(value: object, isPlain: boolean): void {
    if (this.#ancestors.includes(value)) throw this.#refused('refers back to itself')
    if (this.#ancestors.length === maxDepth) {
      throw this.#refused(`is nested more than ${maxDepth} levels deep`)
    }
    if (!isPlain) {
      throw this.#refused('is neither a plain object nor an array, so JSON cannot hold it')
    }
    if (Object.getOwnPropertySymbols(value).length > 0) {
      throw this.#refused('has a symbol as a name, which JSON cannot hold')
    }
    this.#ancestors.push(value)
  }

  // Stops early when objects share their children, whose JSON would double at every level.
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

// Names come from the app's data, so the path shows them escaped and cut.
function pathOf(trail: readonly (string | number)[]): string {
  const steps = trail.map((step) => {
    if (typeof step === 'number') return `[${step}]`
    if (/^[A-Za-z_$][\w$]{0,63}$/.test(step)) return `.${step}`
    const shown = step.length > maxShownName ? `${step.slice(0, maxShownName)}…` : step
    return `[${JSON.stringify(shown)}]`
  })
  return `storage${steps.join('')}`
}
