import { inspect, isDeepStrictEqual } from 'node:util'

import { isSameText } from './same-text.ts'
import { checkStorageName, encodeStorageValue } from './storage-value.ts'

/** The changes that a commit makes to the stored storage. */
export interface StorageChanges {
  /** New values as JSON texts, by top-level name. */
  readonly set: ReadonlyMap<string, string>
  /** Top-level names to remove. */
  readonly removed: readonly string[]
}

/** Options of a {@link Storage}. */
export interface StorageOptions {
  /** The largest JSON text of one value, in bytes of UTF-8. */
  readonly maxBytes: number
  /** Called when a stored text is not JSON that storage takes; its name then reads as absent. */
  readonly onCorrupt: () => void
}

// Matches JSON that may contain a forbidden name, which an escape could hide.
const mayHaveForbiddenName = /__proto__|constructor|prototype|\\u/

/**
 * The storage of one session as one request sees it, with that request's changes.
 *
 * Values stay JSON text until they are read. An assigned value becomes text at once, so that this
 * request reads back the same as the next one. Values mutated in place are found by comparing texts
 * in {@link Storage.changes}.
 */
export class Storage {
  readonly #options: StorageOptions
  readonly #loaded: ReadonlyMap<string, string>
  /** The texts that this request has stored since; `undefined` for a removed name. */
  readonly #stored = new Map<string, string | undefined>()
  /** The texts that were assigned since; `undefined` for a removed name. */
  readonly #assigned = new Map<string, string | undefined>()
  /** Objects and arrays that the app has read and may mutate. */
  readonly #handedOut = new Map<string, unknown>()

  /** Takes the store's JSON texts by name, without copying or changing the map. */
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

  /** Assigns a value, or removes the name when the value is `undefined`. */
  set(name: string, value: unknown): void {
    checkStorageName(name)
    this.setText(
      name,
      value === undefined ? undefined : encodeStorageValue(name, value, this.#options.maxBytes),
    )
  }

  /** The same for a JSON text that has been checked. */
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
   * Returns all differences from the store, or `undefined`.
   *
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

  /** Whether anything may differ from the store: false is certain, true is not. */
  get mayDiffer(): boolean {
    return this.#assigned.size > 0 || this.#handedOut.size > 0
  }

  /** Discards all differences from the store. */
  discard(): void {
    this.#assigned.clear()
    this.#handedOut.clear()
  }

  /** Records the changes that a commit has stored, and keeps those made since. */
  committed({ set, removed }: StorageChanges): void {
    for (const name of removed) this.#stored.set(name, undefined)
    for (const [name, json] of set) this.#stored.set(name, json)
    for (const [name, json] of this.#assigned) {
      if (json === this.#storedText(name)) this.#assigned.delete(name)
    }
  }

  /** Returns the current JSON texts by name. */
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

  // An unchanged value is always accepted, and a stored value that is over the limit may shrink.
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
      // Another program wrote the text. It is not reported, as the parser's message would quote it.
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

/** Provides the storage that a view currently shows. */
export interface StorageOwner {
  /** The storage for reading. */
  readonly storage: Storage
  /** Returns the storage for changing, and throws when it cannot be changed any more. */
  changeableStorage(): Storage
}

/**
 * Returns the app's view of a storage: a proxy that looks like a plain object without a prototype,
 * as Koa's `ctx.query` does, and holds plain values. It stays the same object when its owner
 * changes sessions.
 */
export function createStorageView(owner: StorageOwner): Record<string, unknown> {
  return new Proxy<Record<string, unknown>>(target, new StorageTraps(owner))
}

// All views share this target, which their traps never read. One object per request, with its own
// prototype or methods, would outlive the request: V8 rarely collects the shapes of objects.
const target: Record<string, unknown> = Object.create({
  // `util.inspect` looks past a proxy at its target, and calls this with the proxy.
  [inspect.custom](this: Record<string, unknown>) {
    return { ...this }
  },
})

/** The traps through which a view shows its owner's storage. */
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
