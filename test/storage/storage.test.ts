import { Console } from 'node:console'
import { Writable } from 'node:stream'
import { format, inspect } from 'node:util'

import { MemoryStore, SessionEndedError } from 'koa-user-sessions'
import { describe, expect, it } from 'vitest'

import { createStorageView } from '../../src/storage/storage.ts'
import { exactly, makeApp, me } from '../support/apps.ts'
import { Request, requestWith } from '../support/storage-request.ts'

describe('the storage object', () => {
  it('T1: gets and sets', () => {
    const request = requestWith({ count: 1 })
    const { view } = request

    view.count++
    view['name'] = 'ann'

    expect(view.count).toBe(2)
    expect(view.name).toBe('ann')
    expect(view.missing).toBeUndefined()
    expect(request.storage.changes()).toEqual({
      set: new Map([
        ['count', '2'],
        ['name', '"ann"'],
      ]),
      removed: [],
    })
    expect({ ...request.next().view }).toEqual({ count: 2, name: 'ann' })
  })

  it('T1: deletes', () => {
    const request = requestWith({ cart: ['tea'], name: 'ann' })
    const { view } = request

    expect(delete view.cart).toBe(true)
    expect(delete view.missing).toBe(true)

    expect('cart' in view).toBe(false)
    expect(view.cart).toBeUndefined()
    expect(Object.keys(view)).toEqual(['name'])
    expect(request.storage.changes()).toEqual({ set: new Map(), removed: ['cart'] })
    expect({ ...request.next().view }).toEqual({ name: 'ann' })
  })

  it('T1: removes a name that is set to undefined', () => {
    const request = requestWith({ cart: ['tea'] })

    request.view.cart = undefined

    expect('cart' in request.view).toBe(false)
    expect(Object.keys(request.next().view)).toEqual([])
  })

  it('T1: sets a deleted name again', () => {
    const request = requestWith({ cart: ['tea'] })
    const { view } = request

    delete view.cart
    view.cart = ['milk']

    expect(view.cart).toEqual(['milk'])
    expect(request.next().view.cart).toEqual(['milk'])
  })

  it('T1: supports in, Object.hasOwn, Object.keys, values, entries and for-in', () => {
    const { view } = requestWith({ a: 1 })
    view.b = [2]
    const names: string[] = []
    for (const name in view) names.push(name)

    expect('a' in view).toBe(true)
    expect('b' in view).toBe(true)
    expect('c' in view).toBe(false)
    expect(Object.hasOwn(view, 'b')).toBe(true)
    expect(Object.hasOwn(view, 'c')).toBe(false)
    expect(Object.keys(view)).toEqual(['a', 'b'])
    expect(Object.values(view)).toEqual([1, [2]])
    expect(Object.entries(view)).toEqual([
      ['a', 1],
      ['b', [2]],
    ])
    expect(names).toEqual(['a', 'b'])
    expect(Reflect.ownKeys(view)).toEqual(['a', 'b'])
  })

  it('T1: can be spread, destructured and serialized as JSON', () => {
    const { view } = requestWith({ a: 1, b: { c: [2] } })
    const { a, b, missing = 'default', ...rest } = view

    expect({ ...view, a: 0 }).toEqual({ a: 0, b: { c: [2] } })
    expect(Object.assign({}, view)).toEqual({ a: 1, b: { c: [2] } })
    expect([a, b, missing, rest]).toEqual([1, { c: [2] }, 'default', {}])
    expect(JSON.stringify(view)).toBe('{"a":1,"b":{"c":[2]}}')
    expect(JSON.stringify({ view })).toBe('{"view":{"a":1,"b":{"c":[2]}}}')
  })

  it('T1: supports Object.assign and Object.defineProperty', () => {
    const request = requestWith({ a: 1 })
    const { view } = request

    Object.assign(view, { a: 2, b: [3] })
    Object.defineProperty(view, 'c', { value: 4 })

    expect({ ...view }).toEqual({ a: 2, b: [3], c: 4 })
    expect({ ...request.next().view }).toEqual({ a: 2, b: [3], c: 4 })
  })

  it.each([
    ['an accessor', 'a', { get: () => 1 }],
    ['a symbol', Symbol('a'), { value: 1 }],
    ['a property that cannot be deleted', 'a', { value: 1, configurable: false }],
    ['a property that cannot be changed', 'a', { value: 1, writable: false }],
    ['a property that is hidden', 'a', { value: 1, enumerable: false }],
  ])('T1: refuses to define %s', (_, name, descriptor) => {
    const request = requestWith()

    expect(() => Object.defineProperty(request.view, name, descriptor)).toThrow(TypeError)
    expect(request.storage.changes()).toBeUndefined()
  })

  it('T1: cannot be frozen, sealed or given a prototype', () => {
    const { view } = requestWith({ a: 1 })

    expect(() => Object.freeze(view)).toThrow(TypeError)
    expect(() => Object.seal(view)).toThrow(TypeError)
    expect(() => Object.setPrototypeOf(view, { b: 2 })).toThrow(TypeError)
    expect({ ...view }).toEqual({ a: 1 })
  })

  it('T1: notices nested mutation', () => {
    const request = requestWith({ cart: ['tea'], user: { name: { first: 'ann' } }, same: [1] })
    const { view } = request

    view.cart.push('milk')
    view.user.name.first = 'eve'
    view.user.tags = ['new']
    delete view.user.name.last
    expect(view.same[0]).toBe(1)

    expect(view.cart).toEqual(['tea', 'milk'])
    expect(request.storage.changes()).toEqual({
      set: new Map([
        ['cart', '["tea","milk"]'],
        ['user', '{"name":{"first":"eve"},"tags":["new"]}'],
      ]),
      removed: [],
    })
    expect(request.next().view.user).toEqual({ name: { first: 'eve' }, tags: ['new'] })
  })

  it.each<[string, (list: number[]) => unknown, number[]]>([
    ['push', (list) => list.push(4), [3, 1, 2, 4]],
    ['pop', (list) => list.pop(), [3, 1]],
    ['splice', (list) => list.splice(1, 1, 7, 8), [3, 7, 8, 2]],
    // oxlint-disable-next-line no-array-sort -- in place is the case
    ['sort', (list) => list.sort((a, b) => a - b), [1, 2, 3]],
    // oxlint-disable-next-line no-array-reverse -- in place is the case
    ['reverse', (list) => list.reverse(), [2, 1, 3]],
    ['unshift', (list) => list.unshift(0), [0, 3, 1, 2]],
    ['fill', (list) => list.fill(9), [9, 9, 9]],
    ['an index', (list) => (list[0] = 5), [5, 1, 2]],
    ['length', (list) => (list.length = 1), [3]],
  ])('T1: notices %s of an array', (_, mutate, expected) => {
    const request = requestWith({ list: [3, 1, 2] })

    mutate(request.view.list)

    expect(request.view.list).toEqual(expected)
    expect(request.next().view.list).toEqual(expected)
  })

  it('T1: notices a mutation after an assignment in the same request', () => {
    const request = requestWith()
    const { view } = request

    view.cart = ['tea']
    view.cart.push('milk')

    expect(view.cart).toEqual(['tea', 'milk'])
    expect(request.next().view.cart).toEqual(['tea', 'milk'])
  })

  it('T1: returns the same object at each access, and another one after an assignment', () => {
    const request = requestWith({ cart: ['tea'] })
    const { view } = request
    const before = view.cart

    expect(view.cart).toBe(before)

    view.cart = ['milk']
    before.push('lost with the value that it was part of')

    expect(view.cart).not.toBe(before)
    expect(request.next().view.cart).toEqual(['milk'])
  })

  it('T1: copies values when they are assigned', () => {
    const request = requestWith()
    const { view } = request
    const cart = ['tea']
    const user = { name: { first: 'ann' } }

    view.cart = cart
    view.user = user
    cart.push('milk')
    user.name.first = 'eve'

    expect(view.cart).toEqual(['tea'])
    expect(view.user).toEqual({ name: { first: 'ann' } })
    expect(request.next().view.user).toEqual({ name: { first: 'ann' } })
  })

  it('T1: copies a value that is assigned from one name to another', () => {
    const request = requestWith({ cart: ['tea'] })
    const { view } = request

    view.backup = view.cart
    view.cart.push('milk')

    expect(view.backup).toEqual(['tea'])
    expect({ ...request.next().view }).toEqual({ cart: ['tea', 'milk'], backup: ['tea'] })
  })

  it.each<[string, unknown]>([
    ['text', 'tea 🍵'],
    ['a number', 0.1],
    ['minus zero', -0],
    ['true', true],
    ['false', false],
    ['null', null],
    ['an object', { a: { b: [1] }, left: undefined }],
    ['an object without a prototype', Object.assign(Object.create(null), { a: 1 })],
    ['an array', [1, [2], {}]],
    ['a Date', new Date(0)],
    ['a Date in an array', [new Date(0)]],
    ['an object with numbers for names', { 2: 'b', 1: 'a' }],
  ])('T1: reads %s back as the next request does', (_, value) => {
    const request = requestWith()

    request.view.value = value
    const now: unknown = request.view.value
    const later: unknown = request.next().view.value

    expect(now).toStrictEqual(later)
    expect(now).toStrictEqual(JSON.parse(JSON.stringify(value)))
  })

  it('T1: reads a Date back as text at once', () => {
    const { view } = requestWith()

    view.at = new Date(0)

    expect(view.at).toBe('1970-01-01T00:00:00.000Z')
  })

  it('T1: holds plain values, which structuredClone and other code accept', () => {
    const { view } = requestWith({ stored: { a: [1] } })
    view.assigned = { b: [{ c: 2 }] }

    expect(structuredClone(view.stored)).toStrictEqual({ a: [1] })
    expect(structuredClone(view.assigned)).toStrictEqual({ b: [{ c: 2 }] })
    expect(Object.getPrototypeOf(view.assigned)).toBe(Object.prototype)
    expect(Array.isArray(view.assigned.b)).toBe(true)
    expect(structuredClone({ ...view })).toEqual({
      stored: { a: [1] },
      assigned: { b: [{ c: 2 }] },
    })
  })

  it('T1: shows its content in the console', () => {
    const { view } = requestWith({ cart: ['tea'], user: { name: 'ann' } })
    const written: string[] = []
    const stdout = new Writable({
      write(chunk, _encoding, done) {
        written.push(String(chunk))
        done()
      },
    })

    new Console({ stdout }).log(view)

    expect(written.join('')).toBe("{ cart: [ 'tea' ], user: { name: 'ann' } }\n")
    expect(inspect({ view })).toBe("{ view: { cart: [ 'tea' ], user: { name: 'ann' } } }")
    expect(format('%j', view)).toBe('{"cart":["tea"],"user":{"name":"ann"}}')
    expect(inspect(requestWith().view)).toBe('{}')
  })

  it('T1: is no promise and no iterable', async () => {
    const { view } = requestWith({ a: 1 })

    expect(await Promise.resolve(view)).toBe(view)
    expect(Symbol.iterator in view).toBe(false)
    expect(Reflect.get(view, Symbol.toPrimitive)).toBeUndefined()
  })

  it('T1: reads names of the prototype of objects as absent, like ctx.query', () => {
    const { view } = requestWith()

    expect(Object.getPrototypeOf(view)).toBeNull()
    expect(Reflect.get(view, 'toString')).toBeUndefined()
    expect(Reflect.get(view, 'hasOwnProperty')).toBeUndefined()
    expect('toString' in view).toBe(false)
  })

  it('T1: shows the storage of another session once its owner has switched to it', () => {
    const one = requestWith({ a: 1 })
    const two = requestWith({ b: 2 })
    const owner = { storage: one.storage, changeableStorage: () => owner.storage }
    const view = createStorageView(owner)

    owner.storage = two.storage
    view['c'] = 3

    expect({ ...view }).toEqual({ b: 2, c: 3 })
    expect(one.storage.changes()).toBeUndefined()
  })

  it('T1: changes nothing for an owner that refuses changes', () => {
    const { storage } = requestWith({ a: 1 })
    const view = createStorageView({
      storage,
      changeableStorage() {
        throw new SessionEndedError()
      },
    })

    expect(() => (view['a'] = 2)).toThrow(SessionEndedError)
    expect(() => delete view['a']).toThrow(SessionEndedError)
    expect(() => Object.defineProperty(view, 'b', { value: 1 })).toThrow(SessionEndedError)
    expect({ ...view }).toEqual({ a: 1 })
  })
})

describe('what another program has stored', () => {
  it.each([
    ['no JSON', '{"a":'],
    ['nothing', ''],
    ['a forbidden name', '{"__proto__":{"polluted":true}}'],
    ['a nested forbidden name', '[{"a":{"constructor":{"prototype":{"polluted":true}}}}]'],
    ['an escaped forbidden name', '{"\\u005f_proto__":{"polluted":true}}'],
  ])('T6: reads %s as absent, reports it, and commits nothing', (_, json) => {
    const request = new Request(new Map([['bad', json]]))

    expect(request.view.bad).toBeUndefined()
    expect(request.corrupt).toBe(1)
    expect(request.storage.changes()).toBeUndefined()
  })

  it.each([
    ['a number out of range', '[1e999]'],
    ['a depth over 32', `${'['.repeat(40)}${']'.repeat(40)}`],
  ])('H1: reads %s without an error at the commit', (_, json) => {
    const { view, storage } = new Request(new Map([['odd', json]]))

    expect(view.odd).toHaveLength(1)
    expect(storage.changes()).toBeUndefined()
  })

  it('T6: accepts the forbidden words as text', () => {
    const request = requestWith()

    request.view.words = ['__proto__', { name: 'constructor' }, 'a\u0001']

    expect(request.next().view.words).toEqual(['__proto__', { name: 'constructor' }, 'a\u0001'])
    expect(request.next().corrupt).toBe(0)
  })

  it('T5: can be replaced and removed', () => {
    const request = new Request(
      new Map([
        ['a', 'no JSON'],
        ['b', 'no JSON'],
      ]),
    )

    request.view.a = 1
    delete request.view.b

    expect({ ...request.next().view }).toEqual({ a: 1 })
  })
})

describe('ctx.session.storage', () => {
  it('T1: gives the next request the values that this one reads back', async () => {
    const seen: unknown[] = []
    const { browser, errors } = makeApp({
      '/set': ({ session: { storage } }) => {
        storage.cart = [{ item: 'tea', at: new Date(0), none: undefined }]
        storage.cart.push({ item: 'milk' })
        storage.gone = 1
        delete storage.gone
        seen.push({ ...storage })
      },
      '/get': ({ session: { storage } }) => {
        seen.push({ ...storage })
      },
    })
    const client = browser()

    await client.get('/set')
    await client.get('/get')

    expect(errors).toEqual([])
    expect(seen[0]).toStrictEqual({
      cart: [{ item: 'tea', at: '1970-01-01T00:00:00.000Z' }, { item: 'milk' }],
    })
    expect(seen[1]).toStrictEqual(seen[0])
  })

  it('T1: keeps a nested mutation that is the only change of a request', async () => {
    const { browser } = makeApp({
      '/set': ({ session }) => {
        session.storage.cart = ['tea']
      },
      '/push': ({ session }) => {
        session.storage.cart.push('milk')
      },
    })
    const client = browser()
    await client.get('/set')

    await client.get('/push')

    expect((await me(client)).storage).toEqual({ cart: ['tea', 'milk'] })
  })

  it('T2: is visible to no other session', async () => {
    const { browser } = makeApp()
    const ann = browser()

    await ann.get('/write?name=ann')

    expect((await me(browser())).storage).toEqual({})
    expect((await me(ann)).storage).toEqual({ name: 'ann' })
  })

  it('T3: does not write what was only read', async () => {
    const { browser, store } = makeApp({
      '/read': (ctx) => {
        ctx.body = JSON.stringify(ctx.session.storage)
      },
    })
    const client = browser()
    await client.get('/write?name=ann')
    const before = store.calls.length

    await client.get('/read')

    expect(store.calls.slice(before)).toEqual(['load'])
  })

  it('T5: answers 500 to a nested mutation that JSON cannot hold, and stores nothing', async () => {
    const { browser, errors } = makeApp({
      '/set': ({ session }) => {
        session.storage.user = { name: 'ann' }
      },
      '/break': ({ session }) => {
        session.storage.user.friends = new Set()
        session.storage.other = 'lost with it'
        session.setPrivileges({ userName: 'ann' })
      },
    })
    const client = browser()
    await client.get('/set')

    const response = await client.get('/break')

    expect(response.status).toBe(500)
    expect(response.text).toBe('Internal Server Error')
    expect(errors).toMatchObject([
      { code: 'ERR_SESSION_STORAGE_VALUE', path: 'storage.user.friends' },
    ])
    expect(await me(client)).toMatchObject({
      userName: '',
      storage: exactly({ user: { name: 'ann' } }),
    })
  })

  it('T7: refuses to exceed the limits, and keeps what was there', async () => {
    const { browser, errors } = makeApp(
      {
        '/keys': ({ session }) => {
          Object.assign(session.storage, { a: 1, b: 2, c: 3 })
        },
        '/bytes': ({ session }) => {
          Object.assign(session.storage, { a: 'x'.repeat(40), b: 'x'.repeat(40) })
        },
      },
      { limits: { storageKeys: 2, storageBytes: 64 }, store: new MemoryStore() },
    )
    const client = browser()
    await client.get('/write?a=1')

    expect((await client.get('/keys')).status).toBe(500)
    expect((await client.get('/bytes')).status).toBe(500)

    expect(errors).toMatchObject([
      { code: 'ERR_SESSION_STORAGE_SIZE' },
      { code: 'ERR_SESSION_STORAGE_SIZE' },
    ])
    expect((await me(client)).storage).toEqual({ a: '1' })
  })
})
