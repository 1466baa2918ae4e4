import { inspect, isDeepStrictEqual } from 'node:util'

import { isSameText } from './same-text.ts'
import { checkStorageName, encodeStorageValue } from './storage-value.ts'

/** What a commit changes in the stored storage: JSON texts by name, and the names that go. */
export interface StorageChanges {
  /** New values as JSON texts, by top-level name. */
  readonly set: ReadonlyMap<string, string>
  /** Top-level names that go. */
  readonly removed: readonly string[]
}

/** How a {@link Storage} behaves. */
export interface StorageOptions {
  /** The largest JSON text of one value, in bytes of UTF-8. */
  readonly maxBytes: number
  /** Told when a stored text is not JSON that storage takes; the name then reads as absent. */
  readonly onCorrupt: () => void
}

// Where a forbidden name could be in JSON; an escape may hide one.
const mayHaveForbiddenName = /__proto__|constructor|prototype|\\u/

/**
 * The storage of one session as one request sees it, and what that request changed in it.
 *
 * Values stay JSON text until they are read. An assigned value is turned into text at once, so that
 * the request reads back what the next one will; what was read and then mutated in place is found
 * by comparing its text when the changes are asked for.
 */
export class Storage {
  readonly #options: StorageOptions
  /** The texts as they were loaded. */
  readonly #loaded: ReadonlyMap<string, string>
  /** The texts as this request has stored them since; `undefined` where the name was removed. */
  readonly #stored = new Map<string, string | undefined>()
  /** The texts as assigned since; `undefined` where the name was removed. */
  readonly #assigned = new Map<string, string | undefined>()
  /** Objects and arrays that the app has read, and may mutate. */
  readonly #handedOut = new Map<string, unknown>()

  /**
   * @param loaded JSON texts by name. It stays the store's, and is never copied.
   * @param options How it behaves.
   */
  constructor(loaded: ReadonlyMap<string, string>, options: StorageOptions) {
    this.#loaded = loaded
    this.#options = options
  }

  get(name: string): unknown {
    const handedOut = this.#handedOut.get(name)
    if (handedOut !== undefined) return handedOut
    const json = this.#textOf(name)
    if (json === undefined) return undefined
    const value = this.#parse(name, json)
    if (typeof value === 'object' && value !== null) this.#handedOut.set(name, value)
    return value
  }

  /** `undefined` removes the name. */
  set(name: string, value: unknown): void {
    checkStorageName(name)
    this.setText(
      name,
      value === undefined ? undefined : encodeStorageValue(name, value, this.#options.maxBytes),
    )
  }

  /** The same with a JSON text that was checked before. */
  setText(name: string, json: string | undefined): void {
    this.#handedOut.delete(name)
    if (json === this.#storedText(name)) this.#assigned.delete(name)
    else this.#assigned.set(name, json)
  }

  has(name: string): boolean {
    return this.#textOf(name) !== undefined
  }

  names(): string[] {
    const names = new Set([
      ...this.#loaded.keys(),
      ...this.#stored.keys(),
      ...this.#assigned.keys(),
    ])
    return [...names].filter((name) => this.has(name))
  }

  /**
   * What differs from the store now.
   *
   * @returns `undefined` when nothing does.
   * @throws {StorageValueError} When a value was mutated into something that JSON cannot hold.
   */
  changes(): StorageChanges | undefined {
    const set = new Map<string, string>()
    const removed: string[] = []
    for (const [name, json] of this.#assigned) {
      if (json === undefined) removed.push(name)
      else set.set(name, json)
    }
    for (const [name, value] of this.#handedOut) {
      const json = this.#textOfHandedOut(name, value)
      if (json === this.#storedText(name)) set.delete(name)
      else set.set(name, json)
    }
    return set.size === 0 && removed.length === 0 ? undefined : { set, removed }
  }

  /** Whether anything may differ from the store. False is certain. */
  get mayDiffer(): boolean {
    return this.#assigned.size > 0 || this.#handedOut.size > 0
  }

  /** Forgets what differs. */
  discard(): void {
    this.#assigned.clear()
    this.#handedOut.clear()
  }

  /** Takes over what a commit has stored; more may have changed since. */
  committed({ set, removed }: StorageChanges): void {
    for (const name of removed) this.#stored.set(name, undefined)
    for (const [name, json] of set) this.#stored.set(name, json)
    for (const [name, json] of this.#assigned) {
      if (json === this.#storedText(name)) this.#assigned.delete(name)
    }
  }

  /** The JSON texts of everything that is in it now. */
  texts(): ReadonlyMap<string, string> {
    const { set, removed } = this.changes() ?? { set: new Map<string, string>(), removed: [] }
    const texts = new Map(this.#loaded)
    for (const [name, json] of [...this.#stored, ...set]) {
      if (json === undefined) texts.delete(name)
      else texts.set(name, json)
    }
    for (const name of removed) texts.delete(name)
    return texts
  }

  #textOf(name: string): string | undefined {
    return this.#assigned.has(name) ? this.#assigned.get(name) : this.#storedText(name)
  }

  #storedText(name: string): string | undefined {
    return this.#stored.has(name) ? this.#stored.get(name) : this.#loaded.get(name)
  }

  /** What could not be stored now may still be read, and what is over a limit may shrink. */
  #textOfHandedOut(name: string, value: unknown): string {
    const stored = this.#storedText(name) ?? ''
    if (isSameText(value, stored)) return stored
    try {
      const maxBytes = Math.max(this.#options.maxBytes, Buffer.byteLength(stored))
      return encodeStorageValue(name, value, maxBytes)
    } catch (error) {
      if (isUnchanged(value, stored)) return stored
      throw error
    }
  }

  #parse(name: string, json: string): unknown {
    try {
      const value: unknown = JSON.parse(json)
      const isObject = typeof value === 'object' && value !== null
      if (isObject && mayHaveForbiddenName.test(json)) encodeStorageValue(name, value, Infinity)
      return value
    } catch {
      // Written by something else. The parser's own message would quote the stored text.
      this.#options.onCorrupt()
      return undefined
    }
  }
}

function isUnchanged(value: unknown, json: string): boolean {
  try {
    return isDeepStrictEqual(value, JSON.parse(json))
  } catch {
    return false
  }
}

/** Where a view finds the storage that it shows at the moment. */
export interface StorageOwner {
  /** For reading. */
  readonly storage: Storage
  /** For changing; throws when it cannot be changed any more. */
  changeableStorage(): Storage
}

/**
 * What the app sees of a storage: an object that looks plain, without a prototype, as `ctx.query`
 * is in Koa. It stays the same object when its owner moves to another session.
 *
 * @param owner Says which storage to show.
 * @returns A proxy; the values in it are plain objects.
 */
export function createStorageView(owner: StorageOwner): Record<string, unknown> {
  return new Proxy<Record<string, unknown>>(target, new StorageTraps(owner))
}

// One for all views, whose traps never look at it. An object with a prototype or methods of its own
// for each request outlives the request: V8 keeps the shapes of objects where it seldom looks.
const target: Record<string, unknown> = Object.create({
  // `util.inspect` looks past a proxy at its target, and calls this with the proxy.
  [inspect.custom](this: Record<string, unknown>) {
    return { ...this }
  },
})

/** How a view shows the storage of its owner. */
class StorageTraps implements ProxyHandler<Record<string, unknown>> {
  readonly #owner: StorageOwner

  constructor(owner: StorageOwner) {
    this.#owner = owner
  }

  get(_target: object, name: string | symbol): unknown {
    return typeof name === 'string' ? this.#owner.storage.get(name) : undefined
  }

  has(_target: object, name: string | symbol): boolean {
    return typeof name === 'string' && this.#owner.storage.has(name)
  }

  ownKeys(): string[] {
    return this.#owner.storage.names()
  }

  getOwnPropertyDescriptor(_target: object, name: string | symbol): PropertyDescriptor | undefined {
    const { storage } = this.#owner
    if (typeof name === 'symbol' || !storage.has(name)) return undefined
    return { value: storage.get(name), writable: true, enumerable: true, configurable: true }
  }

  set(_target: object, name: string | symbol, value: unknown): boolean {
    if (typeof name === 'symbol') throw new TypeError('storage takes no symbol as a name')
    this.#owner.changeableStorage().set(name, value)
    return true
  }

  defineProperty(_target: object, name: string | symbol, descriptor: PropertyDescriptor): boolean {
    const { writable = true, enumerable = true, configurable = true } = descriptor
    const isPlain = 'value' in descriptor && writable && enumerable && configurable
    if (typeof name === 'symbol' || !isPlain) {
      throw new TypeError('storage takes plain properties only, with text for names')
    }
    this.#owner.changeableStorage().set(name, descriptor.value)
    return true
  }

  deleteProperty(_target: object, name: string | symbol): boolean {
    if (typeof name === 'string' && this.#owner.storage.has(name)) {
      this.#owner.changeableStorage().set(name, undefined)
    }
    return true
  }

  getPrototypeOf(): null {
    return null
  }

  setPrototypeOf(): boolean {
    return false
  }

  preventExtensions(): boolean {
    return false
  }
}
