import { isPlainArray, isPlainObject } from './plain.ts'

/**
 * Whether a value is as its JSON text says, so that it need not be made into text again to know
 * that it has not changed. Reads along the text, and makes next to nothing.
 *
 * @param value Any.
 * @param json What `encodeStorageValue` has made, without blanks.
 * @returns False where that is not certain, such as for what JSON cannot hold.
 */
export function isSameText(value: unknown, json: string): boolean {
  try {
    return new Comparison(json).end(value) === json.length
  } catch {
    // A getter or a proxy throws.
    return false
  }
}

const different = -1
const quote = 0x22
const comma = 0x2c
const colon = 0x3a

class Comparison {
  readonly #json: string
  readonly #hasEscapes: boolean

  constructor(json: string) {
    this.#json = json
    this.#hasEscapes = json.includes('\\')
  }

  /** Where the text of a value ends that starts at a place; `different` when another one is there. */
  end(value: unknown, start = 0): number {
    switch (typeof value) {
      case 'string':
        return this.#ofText(value, start)
      case 'number':
        return Number.isFinite(value) ? this.#after(String(value), start) : different
      case 'boolean':
        return this.#after(String(value), start)
      case 'object':
        if (value === null) return this.#after('null', start)
        return Array.isArray(value) ? this.#ofArray(value, start) : this.#ofObject(value, start)
      case 'bigint':
      case 'function':
      case 'symbol':
      case 'undefined':
      default:
        return different
    }
  }

  #ofText(text: string, start: number): number {
    const end = start + text.length + 1
    const isPlain =
      this.#has(quote, start) &&
      this.#has(quote, end) &&
      this.#json.startsWith(text, start + 1) &&
      // It would stand for itself in the text, and for an escape in the JSON.
      !(this.#hasEscapes && text.includes('\\'))
    return isPlain ? end + 1 : this.#after(JSON.stringify(text), start)
  }

  #ofArray(value: readonly unknown[], start: number): number {
    const { length } = value
    if (!isPlainArray(value) || Object.keys(value).length !== length) return different
    let end = this.#after('[', start)
    for (let index = 0; index < length && end !== different; index++) {
      if (index > 0) end = this.#next(comma, end)
      if (end !== different) end = this.end(value[index], end)
    }
    return end === different ? different : this.#after(']', end)
  }

  #ofObject(value: object, start: number): number {
    if (!isPlainObject(value) || Object.getOwnPropertySymbols(value).length > 0) return different
    let end = this.#after('{', start)
    let isFirst = true
    for (const name of Object.keys(value)) {
      const child: unknown = Reflect.get(value, name)
      if (child === undefined) continue
      if (!isFirst && end !== different) end = this.#next(comma, end)
      if (end !== different) end = this.#ofText(name, end)
      if (end !== different) end = this.#next(colon, end)
      if (end !== different) end = this.end(child, end)
      if (end === different) return different
      isFirst = false
    }
    return end === different ? different : this.#after('}', end)
  }

  #has(code: number, at: number): boolean {
    return this.#json.charCodeAt(at) === code
  }

  #next(code: number, at: number): number {
    return this.#has(code, at) ? at + 1 : different
  }

  #after(part: string, start: number): number {
    return this.#json.startsWith(part, start) ? start + part.length : different
  }
}
