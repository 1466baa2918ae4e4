import { inspect } from 'node:util'
import { runInNewContext } from 'node:vm'

import { describe, expect, it } from 'vitest'

import { StorageKeyError, StorageSizeError, StorageValueError } from '../../src/errors/errors.ts'
import { checkStorageName, encodeStorageValue } from '../../src/storage/storage-value.ts'

const maxBytes = 262_144
const secret = 'S3CRET'

type StorageError = StorageKeyError | StorageSizeError | StorageValueError

function encode(name: string, value: unknown, limit = maxBytes): string {
  return encodeStorageValue(name, value, limit)
}

function readBack(value: unknown): unknown {
  return JSON.parse(encode('a', value))
}

function errorOf(action: () => unknown): StorageError {
  try {
    action()
  } catch (error) {
    if (error instanceof StorageValueError) return error
    if (error instanceof StorageKeyError || error instanceof StorageSizeError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

/** The path of an error that has one. */
function pathOf(action: () => unknown): string {
  const error = errorOf(action)
  return 'path' in error ? error.path : error.message
}

/** `depth` objects or arrays, one inside the other. */
function nested(depth: number, wrap: (inner: unknown) => unknown): unknown {
  let value: unknown = 'core'
  for (let level = 0; level < depth; level++) value = wrap(value)
  return value
}

function inObject(inner: unknown): unknown {
  return { a: inner }
}

function inArray(inner: unknown): unknown {
  return [inner]
}

function foreign(code: string): unknown {
  return runInNewContext(code)
}

function throwing(): never {
  throw new TypeError(secret)
}

function* generate(): Generator<string> {
  yield secret
}

class Person {
  name = secret
}

class Empty {
  isEmpty(): boolean {
    return true
  }
}

class Stack extends Array<string> {}

const shared = { tea: 1 }

describe('what JSON can hold', () => {
  it.each<[string, unknown]>([
    ['empty text', ''],
    ['text', 'tea'],
    ['text with all kinds of blanks', 'a\nb\r\t\0\u2028\u2029'],
    ['text with emoji', 'tea 🍵 👩‍👩‍👧'],
    ['text with a lone surrogate', 'a\uD800b'],
    ['text that looks like a forbidden name', '__proto__'],
    ['text that looks like JSON', '{"a":1}'],
    ['a number', 42],
    ['a fraction', 0.1],
    ['the smallest number', Number.MIN_VALUE],
    ['the largest number', Number.MAX_VALUE],
    ['the largest safe integer', Number.MAX_SAFE_INTEGER],
    ['true', true],
    ['false', false],
    ['null', null],
    ['an empty object', {}],
    ['an empty array', []],
    ['objects in arrays in objects', { a: [{ b: [null, true, 'x', 1] }] }],
    ['names that plain objects inherit', { toString: 1, hasOwnProperty: 'b', valueOf: null }],
    ['names that other code looks for', JSON.parse('{"then":1,"length":2,"toJSON":"text"}')],
    ['an empty name and one with blanks', { '': 1, ' \n': 2 }],
    ['a nested name with a lone surrogate', { 'a\uDC00': 1 }],
    ['a frozen object', Object.freeze({ a: Object.freeze([1]) })],
    ['an object that appears twice, which is not a cycle', { a: shared, b: [shared, shared] }],
  ])('T5: keeps %s exactly', (_, value) => {
    expect(readBack(value)).toStrictEqual(value)
    expect(readBack([value])).toStrictEqual([value])
    expect(readBack({ nested: value })).toStrictEqual({ nested: value })
  })

  it.each<[string, unknown, unknown]>([
    ['minus zero as zero', -0, 0],
    ['a Date as its ISO text', new Date(0), '1970-01-01T00:00:00.000Z'],
    ['a Date of another realm', foreign('new Date(0)'), '1970-01-01T00:00:00.000Z'],
    ['an object without a prototype', Object.assign(Object.create(null), { a: 1 }), { a: 1 }],
    ['an object of another realm', foreign('({ a: { b: 1 } })'), { a: { b: 1 } }],
    ['an array of another realm', foreign('[[1], { a: 2 }]'), [[1], { a: 2 }]],
    ['a proxy of an object', new Proxy({ a: 1 }, {}), { a: 1 }],
    ['a proxy of an array', new Proxy([1, 2], {}), [1, 2]],
    [
      'the value of a getter',
      Object.defineProperty({}, 'a', { get: () => 1, enumerable: true }),
      { a: 1 },
    ],
    ['no undefined property', { a: undefined, b: 1 }, { b: 1 }],
    ['no property that is not enumerable', Object.defineProperty({}, 'a', { value: 1 }), {}],
  ])('T5: keeps %s', (_, value, expected) => {
    expect(readBack({ nested: value })).toStrictEqual({ nested: expected })
    expect(readBack([value])).toStrictEqual([expected])
  })

  it('T5: writes the time of a Date, even if its methods return another', () => {
    const date = Object.assign(new Date(0), {
      getTime: () => 1,
      toISOString: () => undefined,
      toJSON: () => 10n,
    })

    expect(readBack([date])).toEqual(['1970-01-01T00:00:00.000Z'])
  })

  it('T5: reads every property once, so that it writes what it has checked', () => {
    let reads = 0
    const value = {
      get price() {
        return ++reads === 1 ? 5 : 10n
      },
    }

    expect(readBack(value)).toEqual({ price: 5 })
    expect(reads).toBe(1)
  })

  it('T5: accepts 32 levels and refuses 33', () => {
    expect(readBack(nested(32, inObject))).toStrictEqual(nested(32, inObject))
    expect(readBack(nested(32, inArray))).toStrictEqual(nested(32, inArray))
    expect(pathOf(() => encode('a', nested(33, inObject)))).toBe(`storage${'.a'.repeat(33)}`)
    expect(pathOf(() => encode('a', nested(33, inArray)))).toBe(`storage.a${'[0]'.repeat(32)}`)
    expect(errorOf(() => encode('a', nested(33, inArray)))).toBeInstanceOf(StorageValueError)
  })

  it('T5: refuses a depth that would overflow the stack', () => {
    const bomb = nested(200_000, inArray)

    expect(errorOf(() => encode('a', bomb)).code).toBe('ERR_SESSION_STORAGE_VALUE')
  })
})

describe('what JSON cannot hold', () => {
  it.each<[string, () => unknown, string?]>([
    ['a BigInt', () => 10n],
    ['a function', () => () => secret],
    ['a class', () => Person],
    ['a symbol', () => Symbol(secret)],
    ['NaN', () => Number.NaN],
    ['Infinity', () => Infinity],
    ['-Infinity', () => -Infinity],
    ['an invalid Date', () => new Date(Number.NaN)],
    ['a Map', () => new Map([[secret, secret]])],
    ['an empty Map', () => new Map()],
    ['a Set', () => new Set([secret])],
    ['a WeakMap', () => new WeakMap()],
    ['a RegExp', () => new RegExp(secret)],
    ['an Error', () => new Error(secret)],
    ['a Promise', () => Promise.resolve(secret)],
    ['a Buffer', () => Buffer.from(secret)],
    ['a typed array', () => new Uint8Array([1])],
    ['an ArrayBuffer', () => new ArrayBuffer(1)],
    ['a URL', () => new URL(`http://${secret}/`)],
    ['URLSearchParams', () => new URLSearchParams({ secret })],
    ['boxed text', () => Object(secret)],
    ['a boxed number', () => Object(1)],
    ['a boxed boolean', () => Object(true)],
    ['a boxed BigInt', () => Object(1n)],
    ['a boxed symbol', () => Object(Symbol(secret))],
    ['a class instance', () => new Person()],
    ['an empty class instance', () => new Empty()],
    ['an instance of a class that extends Array', () => Stack.of(secret)],
    ['an array without a prototype', () => Object.setPrototypeOf([secret], null)],
    ['an object that inherits from another', () => Object.create({ name: secret })],
    ['a Map of another realm', () => foreign('new Map()')],
    ['a class instance of another realm', () => foreign('new (class { a = 1 })()')],
    ['a generator', () => generate()],
    ['an iterator', () => [secret].values()],
    ['arguments', () => foreign('(function () { return arguments })(1)')],
    ['Math', () => Math],
    ['globalThis', () => globalThis],
    ['a symbol as a name', () => ({ [Symbol(secret)]: secret })],
    [
      'a symbol as a name that is not enumerable',
      () => Object.defineProperty({}, Symbol(secret), { value: secret }),
    ],
    ['a symbol as a name in an array', () => Object.assign([1], { [Symbol(secret)]: secret })],
    ['an array with names', () => Object.assign([1], { name: secret })],
    ['a match', () => new RegExp(`(?<name>${secret})`).exec(secret)],
    ['a function named toJSON', () => ({ name: secret, toJSON: () => 'text' }), '.toJSON'],
    ['undefined in an array', () => [undefined], '[0]'],
    // oxlint-disable-next-line no-sparse-arrays -- the hole is the case
    ['a hole in an array', () => ['a', , 'b'], '[1]'],
    ['an array that is all hole', () => Array.from({ length: 1, 0: undefined }), '[0]'],
    ['a proxy of a Map', () => new Proxy(new Map(), {})],
    [
      'a proxy that is revoked',
      () => {
        const { proxy, revoke } = Proxy.revocable({}, {})
        revoke()
        return proxy
      },
    ],
    ['a proxy that throws', () => new Proxy({ a: secret }, { ownKeys: throwing })],
    [
      'a getter that throws',
      () => ({
        get: 1,
        get name() {
          return throwing()
        },
      }),
      '.name',
    ],
    ['an array whose getter throws', () => Object.defineProperty([], 0, { get: throwing }), '[0]'],
  ])('T5: refuses %s and names its path', (_, make, suffix = '') => {
    const error = errorOf(() => encode('a', { 'b c': [null, make()] }))

    expect(error).toBeInstanceOf(StorageValueError)
    expect(error.code).toBe('ERR_SESSION_STORAGE_VALUE')
    expect(error).toHaveProperty('path', `storage.a["b c"][1]${suffix}`)
    expect(error.message).toContain(`storage.a["b c"][1]${suffix} `)
    expect(pathOf(() => encode('a', make()))).toBe(`storage.a${suffix}`)
  })

  it.each<[string, () => unknown]>([
    ['is a bigint, which JSON cannot hold', () => 10n],
    ['is NaN, which JSON cannot hold', () => Number.NaN],
    ['is an invalid Date', () => new Date(Number.NaN)],
    ['is neither a plain object nor an array, so JSON cannot hold it', () => new Map()],
    ['has a symbol as a name, which JSON cannot hold', () => ({ [Symbol('x')]: 1 })],
    ['is an array with named properties, which JSON cannot hold', () => 'x'.match(/x/)],
    ['cannot be read: a getter or a proxy throws', () => new Proxy({}, { ownKeys: throwing })],
    ['is undefined, which an array cannot hold in JSON', () => [undefined]],
    ['is nested more than 32 levels deep', () => nested(33, inArray)],
  ])('T5: explains that a value %s', (problem, make) => {
    expect(errorOf(() => encode('a', make())).message.replace(/^\S+ /, '')).toBe(problem)
  })

  it.each<[string, () => unknown, string]>([
    [
      'an object in itself',
      () => {
        const value: Record<string, unknown> = { name: secret }
        return Object.assign(value, { self: value })
      },
      'storage.a.self',
    ],
    [
      'an array in itself',
      () => {
        const value: unknown[] = [secret]
        value.push(value)
        return value
      },
      'storage.a[1]',
    ],
    [
      'an object in one of its grandchildren',
      () => {
        const value: Record<string, unknown> = {}
        value['list'] = [{ up: value }]
        return value
      },
      'storage.a.list[0].up',
    ],
    [
      'a getter that gives its owner',
      () => ({
        get me() {
          return this
        },
      }),
      'storage.a.me',
    ],
  ])('T5: refuses the cycle of %s', (_, make, path) => {
    const error = errorOf(() => encode('a', make()))

    expect(error).toBeInstanceOf(StorageValueError)
    expect(error).toHaveProperty('path', path)
  })

  it('T5: refuses a graph whose JSON doubles at every level, long before its end', () => {
    let reads = 0
    let value: unknown = {
      get leaf() {
        reads++
        return 1
      },
    }
    for (let level = 0; level < 31; level++) value = [value, value]

    const error = errorOf(() => encode('a', value))

    expect(error).toBeInstanceOf(StorageSizeError)
    expect(error.message).toBe('storage.a is larger than 262144 bytes')
    expect(reads).toBeLessThan(maxBytes)
  })

  it('T5: refuses long text that appears many times, without serializing it', () => {
    const long = 'x'.repeat(100_000)
    const name = 'n'.repeat(100_000)

    expect(
      errorOf(() =>
        encode(
          'a',
          Array.from({ length: 100_000 }, () => long),
        ),
      ).code,
    ).toBe('ERR_SESSION_STORAGE_SIZE')
    expect(
      errorOf(() =>
        encode(
          'a',
          Array.from({ length: 100_000 }, () => ({ [name]: 1 })),
        ),
      ).code,
    ).toBe('ERR_SESSION_STORAGE_SIZE')
  })

  it('T5: refuses an array longer than all of storage, without a walk', () => {
    const sparse: unknown[] = []
    sparse.length = 2 ** 32 - 1

    expect(errorOf(() => encode('a', sparse)).code).toBe('ERR_SESSION_STORAGE_SIZE')
  })

  it('T7: refuses a text one byte over the limit, counted in UTF-8', () => {
    expect(encode('a', 'x'.repeat(8), 10)).toBe('"xxxxxxxx"')
    expect(encode('a', 'é'.repeat(4), 10)).toBe('"éééé"')
    expect(encode('a', [1, 2, 3, 4], 10)).toBe('[1,2,3,4]')
    expect(errorOf(() => encode('a', 'x'.repeat(9), 10))).toBeInstanceOf(StorageSizeError)
    expect(errorOf(() => encode('a', 'éééé.', 10))).toBeInstanceOf(StorageSizeError)
    expect(errorOf(() => encode('a', [1, 2, 3, 4, 55], 10))).toBeInstanceOf(StorageSizeError)
    expect(errorOf(() => encode('a', { b: { c: secret } }, 10)).message).toBe(
      'storage.a is larger than 10 bytes',
    )
  })
})

describe('names', () => {
  it.each([
    '',
    ' ',
    'cart',
    'toString',
    'hasOwnProperty',
    '__defineGetter__',
    '__PROTO__',
    'Constructor',
    '_private',
    '0',
    'line\nbreak',
    '\0',
    'tea 🍵',
    's:cart',
    '{tag}',
    'n'.repeat(10_000),
  ])('T6: accepts the name %j', (name) => {
    expect(() => checkStorageName(name)).not.toThrow()
    expect(readBack({ nested: [{ [name]: 1 }] })).toEqual({ nested: [{ [name]: 1 }] })
  })

  it.each(['__proto__', 'constructor', 'prototype'])('T6: refuses the name %s', (name) => {
    const own: unknown = JSON.parse(`{"b":[{"${name}":{"polluted":"${secret}"}}]}`)

    expect(errorOf(() => checkStorageName(name))).toBeInstanceOf(StorageKeyError)
    expect(errorOf(() => checkStorageName(name))).toMatchObject({
      code: 'ERR_SESSION_STORAGE_KEY',
      path: 'storage',
      message: `storage takes no name "${name}"`,
    })
    expect(errorOf(() => encode('a', own))).toMatchObject({
      code: 'ERR_SESSION_STORAGE_KEY',
      path: 'storage.a.b[0]',
      message: `storage.a.b[0] takes no name "${name}"`,
    })
  })

  it.each(['\uD800', 'a\uDC00', '\uDC00\uD800'])('T6: refuses the lone surrogate in %j', (name) => {
    expect(errorOf(() => checkStorageName(name))).toMatchObject({
      code: 'ERR_SESSION_STORAGE_KEY',
      message: 'storage takes no name with a lone surrogate',
    })
  })

  it('T6: pollutes no prototype with what it copies', () => {
    const hostile = JSON.parse('{"a":{"__proto__":{"polluted":1}}}')

    expect(() => encode('a', hostile)).toThrow(StorageKeyError)
    expect(() => encode('a', { constructor: { prototype: { polluted: 1 } } })).toThrow(
      StorageKeyError,
    )
    expect(Reflect.get({}, 'polluted')).toBeUndefined()
  })
})

describe('what errors show', () => {
  it.each<[string, () => unknown]>([
    ['a value of a wrong type', () => ({ card: secret, when: new Map([[secret, secret]]) })],
    [
      'a cycle',
      () => {
        const value: Record<string, unknown> = { secret }
        return Object.assign(value, { self: value })
      },
    ],
    ['a forbidden name', () => ({ secret, constructor: secret })],
    ['a value that is too large', () => [secret, 'x'.repeat(maxBytes)]],
    [
      'a getter that throws',
      () => ({
        secret,
        get name() {
          return throwing()
        },
      }),
    ],
    ['a class instance', () => new Person()],
    ['a symbol', () => [secret, Symbol(secret)]],
  ])('H2: shows nothing stored in the error for %s', (_, make) => {
    const error = errorOf(() => encode('a', make()))

    expect(inspect(error, { depth: Infinity, showHidden: true, getters: true })).not.toContain(
      secret,
    )
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain(secret)
  })

  it('H2: cuts and escapes long and odd names', () => {
    const value = { 'a\nb\u001B[31m': { [`${'n'.repeat(64)}tail`]: 10n } }

    const { message } = errorOf(() => encode('x-y', value))

    expect(message).toBe(
      `storage["x-y"]["a\\nb\\u001b[31m"]["${'n'.repeat(64)}…"] is a bigint, which JSON cannot hold`,
    )
  })
})
