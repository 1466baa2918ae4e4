import type { SessionStorage, StorageOf } from 'koa-user-sessions'
import type { StorageChanges } from 'koa-user-sessions/store'

import { createStorageView, Storage } from '../../src/storage/storage.ts'

const maxBytes = 262_144
export const secret = 'S3CRET'

/** The storage of one request, over that of the store. */
export class Request {
  readonly stored: ReadonlyMap<string, string>
  readonly storage: Storage
  readonly view: StorageOf<SessionStorage>
  /** How many stored texts were found corrupt. */
  corrupt = 0

  constructor(stored: ReadonlyMap<string, string>, limit = maxBytes) {
    this.stored = stored
    this.storage = new Storage(stored, { maxBytes: limit, onCorrupt: () => this.corrupt++ })
    this.view = createStorageView({
      storage: this.storage,
      changeableStorage: () => this.storage,
    })
  }

  /** The request after this one. */
  next(): Request {
    const texts = new Map(this.stored)
    const { set, removed } = this.storage.changes() ?? noChanges
    for (const name of removed) texts.delete(name)
    for (const [name, json] of set) texts.set(name, json)
    return new Request(texts)
  }
}

export const noChanges: StorageChanges = { set: new Map(), removed: [] }

export function requestWith(content: Readonly<Record<string, unknown>> = {}): Request {
  return new Request(
    new Map(Object.entries(content).map(([name, value]) => [name, JSON.stringify(value)])),
  )
}
