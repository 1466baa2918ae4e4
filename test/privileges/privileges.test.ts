import { describe, expect, expectTypeOf, it } from 'vitest'

import { parseGrant } from '../../src/privileges/privileges.ts'
import type {
  GrantInput,
  PrivilegeName,
  PrivilegeSettings,
} from '../../src/privileges/privileges.ts'

function messageOf(input: unknown): string {
  try {
    parseGrant(input)
  } catch (error) {
    if (error instanceof TypeError) return error.message
    throw error
  }
  throw new Error('nothing was thrown')
}

describe('parseGrant', () => {
  it.each([
    ['a', ['a']],
    ['a, b', ['a', 'b']],
    [' a ,b,, c d ,', ['a', 'b', 'c d']],
    ['', []],
    [' , ', []],
    ['__proto__,constructor', ['__proto__', 'constructor']],
  ])('P2: reads the text %j as names separated by commas', (input, privileges) => {
    expect(parseGrant(input)).toEqual({ privileges, roles: [], userName: undefined })
  })

  it.each([
    [
      ['a', 'b'],
      ['a', 'b'],
    ],
    [
      [' a ', '', '  ', 'b c'],
      ['a', 'b c'],
    ],
    [[], []],
    [['__proto__'], ['__proto__']],
  ])('P2: reads the array %j as names', (input, privileges) => {
    expect(parseGrant(input)).toEqual({ privileges, roles: [], userName: undefined })
  })

  it.each([
    [{}, { privileges: [], roles: [], userName: undefined }],
    [{ privileges: 'a, b' }, { privileges: ['a', 'b'], roles: [], userName: undefined }],
    [{ privileges: ['a', ' b'] }, { privileges: ['a', 'b'], roles: [], userName: undefined }],
    [{ roles: 'Clerk, Manager' }, { privileges: [], roles: ['Clerk', 'Manager'] }],
    [{ roles: ['Clerk', ''] }, { privileges: [], roles: ['Clerk'] }],
    [{ userName: ' ann, bob ' }, { privileges: [], roles: [], userName: ' ann, bob ' }],
    [{ userName: '' }, { privileges: [], roles: [], userName: '' }],
    [
      { privileges: 'a', roles: ['Clerk'], userName: 'ann' },
      { privileges: ['a'], roles: ['Clerk'], userName: 'ann' },
    ],
  ])('P2: reads the settings %j', (input, grant) => {
    expect(parseGrant(input)).toEqual(grant)
  })

  it('P2: treats a property that is undefined as missing', () => {
    expect(parseGrant({ privileges: undefined, roles: undefined, userName: undefined })).toEqual({
      privileges: [],
      roles: [],
      userName: undefined,
    })
  })

  it('P2: reads settings without a prototype', () => {
    const input: unknown = Object.assign(Object.create(null), { roles: 'Clerk' })

    expect(parseGrant(input).roles).toEqual(['Clerk'])
  })

  it('P2: does not change the given object', () => {
    const names = Object.freeze([' a '])

    expect(parseGrant(Object.freeze({ privileges: names })).privileges).toEqual(['a'])
    expect(parseGrant(names).privileges).not.toBe(names)
    expect(names).toEqual([' a '])
  })

  it('P2: grants nothing that the settings only inherit', () => {
    const inherited = { value: 'WebAdmin', configurable: true }
    const root: unknown = Object.getPrototypeOf({})
    Reflect.defineProperty(Object(root), 'privileges', inherited)
    try {
      expect(parseGrant({ userName: 'ann' }).privileges).toEqual([])
    } finally {
      Reflect.deleteProperty(Object(root), 'privileges')
    }
  })

  it.each([
    ['undefined', undefined],
    ['null', null],
    ['a number', 1],
    ['a boolean', true],
    ['a symbol', Symbol('secret')],
    ['a bigint', 1n],
    ['a function', () => 'secret'],
    ['boxed text', new String('secret')],
    ['a set', new Set(['secret'])],
    ['a map', new Map([['privileges', 'secret']])],
    ['a date', new Date(0)],
    [
      'a class instance',
      new (class {
        privileges = 'secret'
      })(),
    ],
    ['settings that inherit', Object.create({ privileges: 'secret' })],
    ['a comma in a name of the array', ['a', 'secret, b']],
    ['a number in the array', ['a', 1]],
    ['null in the array', [null]],
    ['undefined in the array', [undefined]],
    // oxlint-disable-next-line no-sparse-arrays -- the hole is the case
    ['a hole in the array', ['a', , 'b']],
    ['an array in the array', [['secret']]],
    ['boxed text in the array', [new String('secret')]],
    ['an unknown property', { privileges: 'a', secret: 'secret' }],
    ['an unknown property that is undefined', { secret: undefined }],
    ['an unknown symbol', { [Symbol('secret')]: 1 }],
    ['a property named __proto__', JSON.parse('{"__proto__":{"privileges":"secret"}}')],
    ['privileges that are null', { privileges: null }],
    ['privileges that are an object', { privileges: { secret: true } }],
    ['privileges that are a number', { privileges: 1 }],
    ['a comma in a name of privileges', { privileges: ['secret,'] }],
    ['an array in privileges', { privileges: [['secret']] }],
    ['roles that are null', { roles: null }],
    ['roles that are a set', { roles: new Set(['secret']) }],
    ['a comma in a name of roles', { roles: ['a,secret'] }],
    ['a number in roles', { roles: [1] }],
    ['a userName that is null', { userName: null }],
    ['a userName that is a number', { userName: 1 }],
    ['a userName that is an array', { userName: ['secret'] }],
  ])('P2: refuses %s with a message that does not repeat it', (_, input) => {
    expect(() => parseGrant(input)).toThrow(TypeError)
    expect(messageOf(input)).not.toContain('secret')
  })

  it.each([
    ['the argument', 1, /text, an array of names, or a settings object/],
    ['the settings', { x: 1 }, /"privileges", "roles" and "userName"/],
    ['privileges', { privileges: 1 }, /"privileges" must be text or an array/],
    ['roles', { roles: 1 }, /"roles" must be text or an array/],
    ['an array', ['a,b'], /without a comma/],
    ['the user name', { userName: 1 }, /"userName" must be text/],
  ])('P2: says what is allowed for %s', (_, input, expected) => {
    expect(messageOf(input)).toMatch(expected)
  })
})

describe('the types of a grant', () => {
  it('P10: accepts any text as a name while Privileges is empty', () => {
    expectTypeOf<PrivilegeName>().not.toBeAny()
    expectTypeOf<PrivilegeName>().toEqualTypeOf<string>()
  })

  it('P10: accepts the named privileges only, and roles of any name', () => {
    type Known = 'browse' | 'WebAdmin'

    expectTypeOf<GrantInput>().not.toBeAny()
    expectTypeOf<'browse'>().toExtend<GrantInput<Known>>()
    expectTypeOf<readonly ['browse', 'WebAdmin']>().toExtend<GrantInput<Known>>()
    expectTypeOf<{ privileges: ['WebAdmin']; roles: 'Clerk, Manager' }>().toExtend<
      PrivilegeSettings<Known>
    >()
    expectTypeOf<'brows'>().not.toExtend<GrantInput<Known>>()
    expectTypeOf<{ privileges: 'brows' }>().not.toExtend<GrantInput<Known>>()
  })
})
