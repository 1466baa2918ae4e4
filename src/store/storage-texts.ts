import type { StorageChanges } from '../storage/storage.ts'

// Above this number, searching for each name on its own would take quadratic time.
const fewChanges = 32

/**
 * The storage of one session, as the stored text: for each name a line break, the name, a TAB and
 * the JSON. Names and JSON escape line breaks and TABs. Immutable, and lazy: searches for a single
 * name, and parses all entries only for a caller that iterates them.
 */
export class StorageTexts implements ReadonlyMap<string, string> {
  /** The number of names. */
  readonly size: number
  readonly #text: string
  #all: ReadonlyMap<string, string> | undefined

  /** Takes a text of `size` entries, each with its line break. */
  constructor(text: string, size: number) {
    this.#text = text
    this.size = size
  }

  /** Converts a map of JSON texts by name. */
  static from(storage: ReadonlyMap<string, string>): StorageTexts {
    if (storage instanceof StorageTexts) return storage
    const parts: string[] = []
    for (const [name, json] of storage) parts.push('\n', escapeText(name), '\t', json)
    return new StorageTexts(parts.join(''), storage.size)
  }

  /** The entries as one text. */
  get text(): string {
    return this.#text
  }

  /** The bytes of all names and values, to which the limit on storage applies. */
  get bytes(): number {
    return Buffer.byteLength(this.#text) - 2 * this.size
  }

  /** Returns whether {@link bytes} is larger, without counting the bytes of a short text. */
  isLargerThan(bytes: number): boolean {
    return 3 * this.#text.length > bytes && this.bytes > bytes
  }

  get(name: string): string | undefined {
    if (this.#all) return this.#all.get(name)
    const found = this.#find(name)
    return found && this.#text.slice(found.value, found.end)
  }

  has(name: string): boolean {
    return this.#all ? this.#all.has(name) : this.#find(name) !== undefined
  }

  /** Returns the storage after changes. */
  changed({ set, removed }: StorageChanges): StorageTexts {
    if (set.size + removed.length > fewChanges) {
      const all = new Map([...this.#entries(), ...set])
      for (const name of removed) all.delete(name)
      return StorageTexts.from(all)
    }
    const entries: (readonly [string, string])[] = []
    for (const [name, json] of set) entries.push([name, `\n${escapeText(name)}\t${json}`])
    for (const name of removed) entries.push([name, ''])
    return entries.reduce<StorageTexts>(
      (texts, [name, entry]) => texts.#replaced(name, entry),
      this,
    )
  }

  keys(): MapIterator<string> {
    return this.#entries().keys()
  }

  values(): MapIterator<string> {
    return this.#entries().values()
  }

  entries(): MapIterator<[string, string]> {
    return this.#entries().entries()
  }

  [Symbol.iterator](): MapIterator<[string, string]> {
    return this.#entries()[Symbol.iterator]()
  }

  forEach(
    run: (json: string, name: string, storage: ReadonlyMap<string, string>) => void,
    self?: unknown,
  ): void {
    for (const [name, json] of this.#entries()) run.call(self, json, name, this)
  }

  #find(name: string): { start: number; value: number; end: number } | undefined {
    const text = this.#text
    const begin = `\n${escapeText(name)}\t`
    const start = text.indexOf(begin)
    if (start < 0) return undefined
    const value = start + begin.length
    const end = text.indexOf('\n', value)
    return { start, value, end: end < 0 ? text.length : end }
  }

  #replaced(name: string, entry: string): StorageTexts {
    const text = this.#text
    const found = this.#find(name)
    if (!found) return entry === '' ? this : new StorageTexts(text + entry, this.size + 1)
    const size = entry === '' ? this.size - 1 : this.size
    return new StorageTexts(text.slice(0, found.start) + entry + text.slice(found.end), size)
  }

  #entries(): ReadonlyMap<string, string> {
    if (this.#all) return this.#all
    const all = new Map<string, string>()
    const text = this.#text
    for (let start = 0; start < text.length;) {
      const end = endOfLine(text, start + 1)
      const tab = text.indexOf('\t', start)
      const name = tab > 0 && tab < end ? nameIn(text.slice(start + 1, tab)) : undefined
      // Of two entries with one name the first counts, as in `get`.
      if (name !== undefined && !all.has(name)) all.set(name, text.slice(tab + 1, end))
      start = end
    }
    this.#all = all
    return all
  }
}

function endOfLine(text: string, from: number): number {
  const end = text.indexOf('\n', from)
  return end < 0 ? text.length : end
}

/** Returns the unescaped name, or `undefined` when the text is damaged. */
function nameIn(escaped: string): string | undefined {
  try {
    return unescapeText(escaped)
  } catch {
    return undefined
  }
}

/**
 * Returns the bytes of all names and values as they are stored, to which the limit on storage
 * applies.
 */
export function storedSize(storage: Iterable<readonly [string, string]>): number {
  let bytes = 0
  for (const [name, json] of storage) {
    bytes += Buffer.byteLength(escapeText(name)) + Buffer.byteLength(json)
  }
  return bytes
}

/** Escapes text as in JSON, without the quotes. Yields one line, and preserves lone surrogates. */
export function escapeText(text: string): string {
  // Most names are short, printable ASCII without quotes and backslashes.
  let at = text.length > 32 ? -1 : 0
  while (at >= 0 && at < text.length) {
    const code = text.charCodeAt(at)
    at = code < 0x20 || code > 0x7e || code === 0x22 || code === 0x5c ? -1 : at + 1
  }
  if (at >= 0) return text
  const json = JSON.stringify(text)
  return json.length === text.length + 2 ? text : json.slice(1, -1)
}

/** Restores the text that {@link escapeText} has escaped. */
export function unescapeText(text: string): string {
  return text.includes('\\') ? String(JSON.parse(`"${text}"`)) : text
}
