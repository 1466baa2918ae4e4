import { inspect } from 'node:util'

import { StorageKeyError, StorageValueError } from 'koa-user-sessions'
import { describe, expect, it } from 'vitest'

import { noChanges, Request, requestWith, secret } from '../support/storage-request.ts'

function errorOf(action: () => unknown): unknown {
  try {
    action()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

describe('the changes', () => {
  it('T3: are none when values are only read', () => {
    const { view, storage } = requestWith({ a: { b: [1, { c: 2 }] }, d: 'e', f: [1.5, null] })

    expect(JSON.stringify(view)).toBe('{"a":{"b":[1,{"c":2}]},"d":"e","f":[1.5,null]}')
    expect(inspect(view)).toContain('b:')
    expect(view.a.b[1].c).toBe(2)

    expect(storage.changes()).toBeUndefined()
  })

  it('T3: are none when a mutation is undone', () => {
    const { view, storage } = requestWith({ cart: ['tea'], user: { name: 'ann' } })

    view.cart.push('milk')
    view.user.name = 'eve'
    expect(storage.changes()?.set.size).toBe(2)
    view.cart.pop()
    view.user.name = 'ann'

    expect(storage.changes()).toBeUndefined()
  })

  it('L2: are none when an equal value is assigned', () => {
    const { view, storage } = requestWith({ cart: ['tea'], count: 1, user: { a: 1, b: 2 } })

    view.cart = ['tea']
    view.count = 1
    view.user = { ...view.user }
    Object.assign(view, { ...view })

    expect(storage.changes()).toBeUndefined()
  })

  it('L2: are none when what was set or deleted is as before again', () => {
    const { view, storage } = requestWith({ count: 1 })

    view.count = 2
    view.count = 1
    view.extra = 'x'
    delete view.extra
    delete view.count
    view.count = 1

    expect(storage.changes()).toBeUndefined()
  })

  it('T3: contain the changed names only', () => {
    const { view, storage } = requestWith({ a: [1], b: [2], c: [3], d: 4 })

    expect(view.a).toEqual([1])
    view.b.push(0)
    delete view.d

    expect(storage.changes()).toEqual({ set: new Map([['b', '[2,0]']]), removed: ['d'] })
  })

  it('T3: contain what came after a commit, once that is committed', () => {
    const { view, storage } = requestWith({ a: [1], gone: 1 })
    view.a.push(2)
    view.b = ['x']
    delete view.gone

    const first = storage.changes() ?? noChanges
    view.a.push(3)
    view.late = true
    storage.committed(first)

    expect(storage.changes()).toEqual({
      set: new Map<string, string>([
        ['late', 'true'],
        ['a', '[1,2,3]'],
      ]),
      removed: [],
    })
    storage.committed(storage.changes() ?? noChanges)
    expect(storage.changes()).toBeUndefined()
    expect({ ...view }).toEqual({ a: [1, 2, 3], b: ['x'], late: true })
  })

  it('T3: are none after a commit of a value that was assigned and then mutated', () => {
    const { view, storage } = requestWith()
    view.cart = ['tea']
    view.cart.push('milk')

    storage.committed(storage.changes() ?? noChanges)

    expect(storage.changes()).toBeUndefined()
    expect(storage.texts()).toEqual(new Map([['cart', '["tea","milk"]']]))
  })

  it('T1: contain all texts for a new session', () => {
    const { view, storage } = requestWith({ a: [1], b: 2, c: 3 })
    view.a.push(2)
    view.d = {}
    delete view.b

    expect(storage.texts()).toEqual(
      new Map([
        ['a', '[1,2]'],
        ['c', '3'],
        ['d', '{}'],
      ]),
    )
  })
})

describe('what storage refuses', () => {
  it.each<[string, unknown, string]>([
    ['a BigInt', 10n, 'storage.bad'],
    ['a function', () => secret, 'storage.bad'],
    ['a symbol', Symbol(secret), 'storage.bad'],
    ['NaN', Number.NaN, 'storage.bad'],
    ['a nested Map', { a: [new Map()] }, 'storage.bad.a[0]'],
    ['undefined in an array', [undefined], 'storage.bad[0]'],
  ])('T5: refuses %s at the assignment, and stores nothing of it', (_, value, path) => {
    const { view, storage } = requestWith({ bad: 'before' })

    const error = errorOf(() => (view.bad = value))

    expect(error).toBeInstanceOf(StorageValueError)
    expect(error).toMatchObject({ code: 'ERR_SESSION_STORAGE_VALUE', path })
    expect(view.bad).toBe('before')
    expect(storage.changes()).toBeUndefined()
  })

  it.each<[string, (value: Record<string, unknown>) => unknown, string]>([
    ['a Map', (value) => (value['when'] = new Map()), 'storage.user.when'],
    ['a BigInt', (value) => (value['when'] = 10n), 'storage.user.when'],
    ['NaN', (value) => (value['when'] = [Number.NaN]), 'storage.user.when[0]'],
    ['a function', (value) => (value['toJSON'] = () => 'text'), 'storage.user.toJSON'],
    ['a symbol', (value) => Reflect.set(value, Symbol('x'), 1), 'storage.user'],
    ['a cycle', (value) => (value['me'] = value), 'storage.user.me'],
    ['a class instance', (value) => (value['url'] = new URL('http://x/')), 'storage.user.url'],
    ['another prototype', (value) => Object.setPrototypeOf(value, Array.prototype), 'storage.user'],
  ])('T5: reports %s from a nested mutation at the commit', (_, mutate, path) => {
    const { view, storage } = requestWith({ user: { name: secret }, count: 1 })

    mutate(view.user)
    view.count = 2
    const error = errorOf(() => storage.changes())

    expect(error).toBeInstanceOf(StorageValueError)
    expect(error).toMatchObject({ code: 'ERR_SESSION_STORAGE_VALUE', path })
    expect(inspect(error, { depth: Infinity, showHidden: true })).not.toContain(secret)
  })

  it('T7: refuses a value over the limit at the assignment', () => {
    const { view, storage } = new Request(new Map([['a', '"before"']]), 100)

    expect(() => (view.a = 'x'.repeat(100))).toThrow(
      expect.objectContaining({ code: 'ERR_SESSION_STORAGE_SIZE' }),
    )
    expect(view.a).toBe('before')
    expect(storage.changes()).toBeUndefined()
  })

  it('T7: lets a value over a lowered limit be read and shrink', () => {
    const stored = new Map([['cart', JSON.stringify(['tea', 'milk', 'x'.repeat(100)])]])
    const { view, storage } = new Request(stored, 20)

    expect(view.cart).toHaveLength(3)
    expect(storage.changes()).toBeUndefined()

    view.cart.shift()
    expect(storage.changes()?.set.size).toBe(1)

    view.cart.push('x'.repeat(10))
    expect(() => storage.changes()).toThrow(
      expect.objectContaining({ code: 'ERR_SESSION_STORAGE_SIZE' }),
    )
  })

  it.each(['__proto__', 'constructor', 'prototype', 'a\uD800'])(
    'T6: refuses the name %j',
    (name) => {
      const { view, storage } = requestWith()

      expect(errorOf(() => (view[name] = { polluted: secret }))).toBeInstanceOf(StorageKeyError)
      expect(errorOf(() => Object.defineProperty(view, name, { value: 1 }))).toBeInstanceOf(
        StorageKeyError,
      )
      expect(errorOf(() => (view['a'] = { [name]: 1, b: [10n] }))).toHaveProperty('code')
      expect(storage.changes()).toBeUndefined()
      expect(Object.getPrototypeOf(view)).toBeNull()
      expect(Reflect.get({}, 'polluted')).toBeUndefined()
    },
  )

  it('T6: refuses a symbol as a name', () => {
    const { view, storage } = requestWith()

    expect(() => Reflect.set(view, Symbol('a'), 1)).toThrow(TypeError)
    expect(storage.changes()).toBeUndefined()
  })

  it.each([
    '',
    ' ',
    'toString',
    'hasOwnProperty',
    'line\nbreak',
    'tea 🍵',
    '0',
    'n'.repeat(10_000),
  ])('T6: accepts %j like any other name', (name) => {
    const request = requestWith()

    expect(request.view[name]).toBeUndefined()
    request.view[name] = { deep: [name] }

    expect(name in request.view).toBe(true)
    expect(Object.entries(request.next().view)).toEqual([[name, { deep: [name] }]])
  })

  it('T6: pollutes no prototype with a hostile body that is stored unchanged', () => {
    const { view, storage } = requestWith()
    const body: unknown = JSON.parse(
      '{"__proto__":{"polluted":1},"a":{"__proto__":{"polluted":1}}}',
    )

    expect(() => Object.assign(view, body)).toThrow(StorageKeyError)
    expect(() => (view.body = body)).toThrow(StorageKeyError)

    expect(storage.changes()).toBeUndefined()
    expect(Reflect.get({}, 'polluted')).toBeUndefined()
    expect(Reflect.get(view, 'polluted')).toBeUndefined()
  })

  it('T6: reads the forbidden names as absent, even after they are set', () => {
    const { view, storage } = requestWith()

    expect(view.__proto__).toBeUndefined()
    expect(Reflect.get(view, 'constructor')).toBeUndefined()
    expect('__proto__' in view).toBe(false)
    expect(delete view.__proto__).toBe(true)
    expect(storage.changes()).toBeUndefined()
  })
})
