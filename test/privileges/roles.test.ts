import { readFileSync } from 'node:fs'

import { describe, expect, it } from 'vitest'

import { SessionRolesError } from '../../src/errors/errors.ts'
import type { RolesProblem } from '../../src/errors/errors.ts'
import { foldName, parseRoles, parseRolesText, Roles } from '../../src/privileges/roles.ts'
import type { RolesFile } from '../../src/privileges/roles.ts'

const shop = {
  privileges: [
    { privilege: 'browse', id: 7 },
    { privilege: 'seePrices', includes: ['browse'] },
    { privilege: 'editStock', includes: ['seePrices'] },
    { privilege: 'audit', includes: [] },
    { privilege: 'WebAdmin', includes: ['editStock', 'audit'] },
  ],
  roles: [
    { role: 'Clerk', privileges: ['seePrices'] },
    { role: 'Manager', privileges: ['editStock', 'audit'], color: 'green' },
    { role: 'Idle', privileges: [] },
  ],
  permissions: { allowed: [] },
  restrictedByDefault: false,
  forceLogin: false,
  comment: 'tolerated',
} as const satisfies RolesFile

function parse(source: unknown, ignorePermissions = false): Roles {
  return parseRoles(source, { name: 'the roles object', ignorePermissions })
}

function errorOf(action: () => unknown): SessionRolesError {
  try {
    action()
  } catch (error) {
    if (error instanceof SessionRolesError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

function problemsOf(source: unknown, ignorePermissions = false): readonly RolesProblem[] {
  return errorOf(() => parse(source, ignorePermissions)).problems
}

function pathsOf(source: unknown, ignorePermissions = false): string[] {
  return problemsOf(source, ignorePermissions).map(({ path }) => path)
}

function expanded(roles: Roles, privileges: string[], granted: string[] = []): string[] {
  return [...roles.expand(privileges, granted).values()]
}

function chain(length: number): { privilege: string; includes: string[] }[] {
  return Array.from({ length }, (_, index) => ({
    privilege: `p${index}`,
    includes: index + 1 < length ? [`p${index + 1}`] : [],
  }))
}

describe('Roles of a file', () => {
  it('P1: expands a privilege to itself and everything that it includes, depth first', () => {
    expect(expanded(parse(shop), ['WebAdmin'])).toEqual([
      'WebAdmin',
      'editStock',
      'seePrices',
      'browse',
      'audit',
    ])
  })

  it('P1: expands a role to its privileges and what they include, but not to its own name', () => {
    expect(expanded(parse(shop), [], ['Manager'])).toEqual([
      'editStock',
      'seePrices',
      'browse',
      'audit',
    ])
  })

  it('P1: does not take a role for a privilege, or a privilege for a role', () => {
    const roles = parse(shop)

    expect(expanded(roles, ['Manager'], ['audit'])).toEqual([])
    expect(roles.privilegeNamed('Manager')).toBeUndefined()
    expect(roles.roleNamed('audit')).toBeUndefined()
  })

  it('P1: keeps a role and a privilege of the same name apart', () => {
    const roles = parse({
      privileges: [{ privilege: 'audit' }, { privilege: 'browse' }],
      roles: [{ role: 'Audit', privileges: ['browse'] }],
    })

    expect(expanded(roles, ['audit'])).toEqual(['audit'])
    expect(expanded(roles, [], ['audit'])).toEqual(['browse'])
  })

  it('P1: gives nothing for a role without privileges', () => {
    expect(expanded(parse(shop), [], ['Idle'])).toEqual([])
  })

  it('P4: lists granted privileges in the given order, then roles, without duplicates', () => {
    expect(expanded(parse(shop), ['audit', 'seePrices', 'AUDIT'], ['Manager', 'Clerk'])).toEqual([
      'audit',
      'seePrices',
      'browse',
      'editStock',
    ])
  })

  it('P4: returns the declared spelling under the folded name', () => {
    const roles = parse(shop)

    const first = roles.expand(['WEBADMIN'], [])

    expect(first.get('webadmin')).toBe('WebAdmin')
    expect(first.get('seeprices')).toBe('seePrices')
  })

  it('P4: expands each of many sets of names correctly, in any order', () => {
    const privileges = Array.from({ length: 300 }, (_, index) => ({ privilege: `p${index}` }))
    const roles = parse({ privileges, roles: [{ role: 'p0', privileges: ['p1'] }] })
    const names = [...privileges, ...privileges.toReversed()].map(({ privilege }) => privilege)

    const all = names.map((name) => [...roles.expand([name], []).values()])

    expect(all).toEqual(names.map((name) => [name]))
    expect([...roles.expand([], ['p0']).values()]).toEqual(['p1'])
    expect([...roles.expand(['p0'], []).values()]).toEqual(['p0'])
    expect([...roles.expand(['p0', 'p2'], []).values()]).toEqual(['p0', 'p2'])
  })

  it('P4: lists a privilege once when several paths lead to it', () => {
    const roles = parse({
      privileges: [
        { privilege: 'top', includes: ['left', 'right', 'left'] },
        { privilege: 'left', includes: ['base'] },
        { privilege: 'right', includes: ['base'] },
        { privilege: 'base' },
      ],
    })

    expect(expanded(roles, ['top'])).toEqual(['top', 'left', 'base', 'right'])
  })

  it('P8: finds names in any case and returns the declared spelling', () => {
    const roles = parse(shop)

    expect(roles.privilegeNamed('wEBaDMIN')).toBe('WebAdmin')
    expect(roles.privilegeNamed(' WebAdmin ')).toBe('WebAdmin')
    expect(roles.roleNamed('MANAGER')).toBe('Manager')
    expect(roles.roleNamed(' manager ')).toBe('Manager')
    expect(foldName('WebAdmin')).toBe(foldName('wEBaDMIN'))
  })

  it('P8: resolves includes and role privileges in any case', () => {
    const roles = parse({
      privileges: [{ privilege: 'Audit', includes: ['BROWSE'] }, { privilege: 'browse' }],
      roles: [{ role: 'Clerk', privileges: ['aUDIT'] }],
    })

    expect(expanded(roles, [], ['clerk'])).toEqual(['Audit', 'browse'])
  })

  it.each(['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty'])(
    'P8: knows %s only if it is declared, and then as any other name',
    (name) => {
      const without = parse(shop)
      const text = JSON.stringify({
        privileges: [{ privilege: name }, { privilege: 'all', includes: [name] }],
        roles: [{ role: name, privileges: [name] }],
      })
      const declaring = parseRolesText(text, { name: 'roles.json', ignorePermissions: false })

      expect(without.privilegeNamed(name)).toBeUndefined()
      expect(without.roleNamed(name)).toBeUndefined()
      expect(expanded(without, [name], [name])).toEqual([])
      expect(declaring.privilegeNamed(name)).toBe(name)
      expect(declaring.roleNamed(name)).toBe(name)
      expect(expanded(declaring, ['all'])).toEqual(['all', name])
      expect(expanded(declaring, [], [name])).toEqual([name])
    },
  )

  it('P9: skips granted names that the file no longer declares', () => {
    expect(expanded(parse(shop), ['gone', 'audit', ''], ['Gone', 'Clerk'])).toEqual([
      'audit',
      'seePrices',
      'browse',
    ])
  })

  it('P9: reads the same granted names with the current file', () => {
    const changed = parse({
      privileges: [{ privilege: 'AUDIT' }, { privilege: 'browse' }],
      roles: [{ role: 'clerk', privileges: ['browse'] }],
    })

    expect(expanded(changed, ['audit'], ['Clerk'])).toEqual(['AUDIT', 'browse'])
  })

  it('P1: expands an include chain of 10 000 privileges, from either end', () => {
    const roles = parse({ privileges: chain(10_000) })
    const leafFirst = chain(10_000).map(({ privilege }) => privilege)
    leafFirst.reverse()

    expect(expanded(roles, ['p0'])).toHaveLength(10_000)
    expect(expanded(roles, ['p0']).at(-1)).toBe('p9999')
    expect(expanded(roles, leafFirst)).toEqual(leafFirst)
  })
})

describe('Roles.open', () => {
  it('P3: declares every non-empty privilege name as spelled, and no role', () => {
    expect(Roles.open.isOpen).toBe(true)
    expect(Roles.open.privilegeNamed(' Any Thing ')).toBe('Any Thing')
    expect(Roles.open.privilegeNamed('__proto__')).toBe('__proto__')
    expect(Roles.open.privilegeNamed('')).toBeUndefined()
    expect(Roles.open.privilegeNamed(' ')).toBeUndefined()
    expect(Roles.open.roleNamed('Manager')).toBeUndefined()
  })

  it('P4: expands names to themselves, once in any case, and roles to nothing', () => {
    const held = Roles.open.expand(['Audit', 'browse', 'AUDIT', '', '__proto__'], ['Manager'])

    expect([...held]).toEqual([
      ['audit', 'Audit'],
      ['browse', 'browse'],
      ['__proto__', '__proto__'],
    ])
  })

  it('R1: differs from a file without privileges', () => {
    const roles = parse({ privileges: [] })

    expect(roles.isOpen).toBe(false)
    expect(roles.privilegeNamed('audit')).toBeUndefined()
    expect(expanded(roles, ['audit'])).toEqual([])
  })
})

describe('parseRoles', () => {
  it('R1: accepts a constant object with unknown extra properties', () => {
    expect(expanded(parse(shop), [], ['Clerk'])).toEqual(['seePrices', 'browse'])
  })

  it('R1: accepts a plain object whose entries differ in shape', () => {
    const inferred = { privileges: [{ privilege: 'a' }, { privilege: 'b', includes: ['a'] }] }
    const file: RolesFile = inferred

    expect(expanded(parse(file), ['b'])).toEqual(['b', 'a'])
  })

  it('R1: does not keep the object that it has read', () => {
    const file = { privileges: [{ privilege: 'a', includes: ['b'] }, { privilege: 'b' }] }
    const roles = parse(file)

    file.privileges.length = 0

    expect(expanded(roles, ['a'])).toEqual(['a', 'b'])
  })

  it.each([
    ['undefined', undefined],
    ['null', null],
    ['text', '{}'],
    ['a number', 1],
    ['an array', []],
  ])('R2: refuses %s at the root as the only problem', (_, source) => {
    expect(errorOf(() => parse(source)).code).toBe('ERR_SESSION_ROLES')
    expect(pathsOf(source)).toEqual(['$'])
  })

  it('R2: names the file in its message', () => {
    expect(errorOf(() => parse({})).message).toContain('the roles object')
  })

  it.each([
    ['missing privileges', {}, '$.privileges'],
    ['null privileges', { privileges: null }, '$.privileges'],
    ['an object as privileges', { privileges: {} }, '$.privileges'],
    ['a privilege that is text', { privileges: ['audit'] }, '$.privileges[0]'],
    ['a privilege that is null', { privileges: [null] }, '$.privileges[0]'],
    ['a privilege that is an array', { privileges: [[]] }, '$.privileges[0]'],
    // oxlint-disable-next-line no-sparse-arrays -- the hole is the case
    ['a hole among the privileges', { privileges: [,] }, '$.privileges[0]'],
    ['a privilege without a name', { privileges: [{}] }, '$.privileges[0].privilege'],
    ['a name that is a number', { privileges: [{ privilege: 1 }] }, '$.privileges[0].privilege'],
    ['an empty name', { privileges: [{ privilege: '' }] }, '$.privileges[0].privilege'],
    ['a blank name', { privileges: [{ privilege: ' \t' }] }, '$.privileges[0].privilege'],
    ['a leading blank', { privileges: [{ privilege: ' a' }] }, '$.privileges[0].privilege'],
    ['a trailing blank', { privileges: [{ privilege: 'a\n' }] }, '$.privileges[0].privilege'],
    ['a comma', { privileges: [{ privilege: 'a,b' }] }, '$.privileges[0].privilege'],
    [
      'includes that are text',
      { privileges: [{ privilege: 'a', includes: 'b' }] },
      '$.privileges[0].includes',
    ],
    [
      'includes that are null',
      { privileges: [{ privilege: 'a', includes: null }] },
      '$.privileges[0].includes',
    ],
    [
      'an include that is an object',
      { privileges: [{ privilege: 'a', includes: [{}] }] },
      '$.privileges[0].includes[0]',
    ],
    [
      'a comma in an include',
      { privileges: [{ privilege: 'a', includes: ['b,c'] }] },
      '$.privileges[0].includes[0]',
    ],
    ['null roles', { privileges: [], roles: null }, '$.roles'],
    ['an object as roles', { privileges: [], roles: {} }, '$.roles'],
    ['a role that is text', { privileges: [], roles: ['Clerk'] }, '$.roles[0]'],
    ['a role without a name', { privileges: [], roles: [{ privileges: [] }] }, '$.roles[0].role'],
    [
      'a comma in a role',
      { privileges: [], roles: [{ role: 'a,b', privileges: [] }] },
      '$.roles[0].role',
    ],
    [
      'a blank at the end of a role',
      { privileges: [], roles: [{ role: 'a ', privileges: [] }] },
      '$.roles[0].role',
    ],
    [
      'a role without privileges',
      { privileges: [], roles: [{ role: 'Clerk' }] },
      '$.roles[0].privileges',
    ],
    [
      'a role whose privileges are text',
      { privileges: [], roles: [{ role: 'Clerk', privileges: 'a' }] },
      '$.roles[0].privileges',
    ],
    [
      'a role privilege that is a number',
      { privileges: [], roles: [{ role: 'Clerk', privileges: [1] }] },
      '$.roles[0].privileges[0]',
    ],
    ['null permissions', { privileges: [], permissions: null }, '$.permissions'],
    ['permissions that are an array', { privileges: [], permissions: [] }, '$.permissions'],
    ['permissions without allowed', { privileges: [], permissions: {} }, '$.permissions.allowed'],
    [
      'allowed that is an object',
      { privileges: [], permissions: { allowed: {} } },
      '$.permissions.allowed',
    ],
    [
      'restrictedByDefault that is text',
      { privileges: [], restrictedByDefault: 'false' },
      '$.restrictedByDefault',
    ],
    ['forceLogin that is a number', { privileges: [], forceLogin: 0 }, '$.forceLogin'],
    ['forceLogin that is null', { privileges: [], forceLogin: null }, '$.forceLogin'],
  ])('R2: refuses %s, with its JSON path', (_, source, path) => {
    expect(pathsOf(source)).toEqual([path])
    expect(pathsOf(source, true)).toEqual([path])
  })

  it('R2: refuses an undeclared include with its JSON path', () => {
    const privileges = [
      { privilege: 'a' },
      { privilege: 'b', includes: ['a', 'ghost'] },
      { privilege: 'c', includes: ['__proto__', 'Clerk'] },
    ]

    expect(pathsOf({ privileges, roles: [{ role: 'Clerk', privileges: [] }] })).toEqual([
      '$.privileges[1].includes[1]',
      '$.privileges[2].includes[0]',
      '$.privileges[2].includes[1]',
    ])
  })

  it('R2: refuses an undeclared privilege of a role with its JSON path', () => {
    const roles = [
      { role: 'Clerk', privileges: ['a'] },
      { role: 'Manager', privileges: ['a', 'Clerk', 'ghost'] },
    ]

    expect(pathsOf({ privileges: [{ privilege: 'a' }], roles })).toEqual([
      '$.roles[1].privileges[1]',
      '$.roles[1].privileges[2]',
    ])
  })

  it('R2: accepts an include that is declared later in the file', () => {
    const privileges = [{ privilege: 'a', includes: ['b'] }, { privilege: 'b' }]

    expect(expanded(parse({ privileges }), ['a'])).toEqual(['a', 'b'])
  })

  it('R2: does not also report includes of a name that is declared with blanks around it', () => {
    const privileges = [{ privilege: ' a ' }, { privilege: 'b', includes: ['a'] }]

    expect(pathsOf({ privileges })).toEqual(['$.privileges[0].privilege'])
  })

  it('R2: reports blanks and a comma in one name separately', () => {
    expect(pathsOf({ privileges: [{ privilege: 'a, b ' }] })).toEqual([
      '$.privileges[0].privilege',
      '$.privileges[0].privilege',
    ])
  })

  it('R2: refuses two privileges that differ only in case, or not at all, at the later one', () => {
    const privileges = [
      { privilege: 'audit' },
      { privilege: 'browse' },
      { privilege: 'Audit' },
      { privilege: 'browse' },
      { privilege: ' AUDIT' },
    ]

    expect(pathsOf({ privileges })).toEqual([
      '$.privileges[2].privilege',
      '$.privileges[3].privilege',
      '$.privileges[4].privilege',
      '$.privileges[4].privilege',
    ])
  })

  it('R2: refuses two roles that differ only in case, or not at all, at the later one', () => {
    const roles = [
      { role: 'Clerk', privileges: [] },
      { role: 'CLERK', privileges: [] },
      { role: 'Clerk', privileges: [] },
    ]

    expect(pathsOf({ privileges: [], roles })).toEqual(['$.roles[1].role', '$.roles[2].role'])
  })

  it('R2: also checks what a repeated privilege includes', () => {
    const privileges = [{ privilege: 'a' }, { privilege: 'A', includes: ['ghost'] }]

    expect(pathsOf({ privileges })).toEqual([
      '$.privileges[1].includes[0]',
      '$.privileges[1].privilege',
    ])
  })

  it('R2: refuses a privilege that includes itself', () => {
    const problems = problemsOf({ privileges: [{ privilege: 'Audit', includes: ['audit'] }] })

    expect(problems.map(({ path }) => path)).toEqual(['$.privileges[0].includes[0]'])
    expect(problems[0]?.problem).toContain('"Audit"')
  })

  it('R2: reports a cycle once, at the include that closes it, with its members only', () => {
    const problems = problemsOf({
      privileges: [
        { privilege: 'start', includes: ['a'] },
        { privilege: 'a', includes: ['leaf', 'b'] },
        { privilege: 'b', includes: ['c'] },
        { privilege: 'c', includes: ['leaf', 'A', 'a'] },
        { privilege: 'leaf' },
      ],
    })

    expect(problems.map(({ path }) => path)).toEqual(['$.privileges[3].includes[1]'])
    expect(problems[0]?.problem).toContain('"a", "b", "c"')
    expect(problems[0]?.problem).not.toContain('start')
    expect(problems[0]?.problem).not.toContain('leaf')
  })

  it('R2: reports each of several cycles', () => {
    const privileges = [
      { privilege: 'a', includes: ['b'] },
      { privilege: 'b', includes: ['a', 'c'] },
      { privilege: 'c', includes: ['b'] },
      { privilege: 'x', includes: ['y'] },
      { privilege: 'y', includes: ['x'] },
    ]

    expect(pathsOf({ privileges })).toEqual([
      '$.privileges[1].includes[0]',
      '$.privileges[2].includes[0]',
      '$.privileges[4].includes[0]',
    ])
  })

  it('R2: finds no cycle where two paths merely meet', () => {
    const privileges = [
      { privilege: 'top', includes: ['left', 'right', 'base'] },
      { privilege: 'left', includes: ['base'] },
      { privilege: 'right', includes: ['left', 'base'] },
      { privilege: 'base' },
    ]

    expect(parse({ privileges }).privilegeNamed('top')).toBe('top')
  })

  it('R2: finds a cycle through 10 000 privileges and names some of them', () => {
    const privileges = chain(10_000)
    privileges[9999]?.includes.push('p0')

    const problems = problemsOf({ privileges })

    expect(problems.map(({ path }) => path)).toEqual(['$.privileges[9999].includes[0]'])
    expect(problems[0]?.problem).toContain('10000')
    expect(problems[0]?.problem).toContain('"p0", "p1"')
    expect(problems[0]?.problem.length).toBeLessThan(1000)
  })

  it('R2: lists all problems of all kinds at once, ordered by path', () => {
    const source = {
      roles: [{ role: 'Clerk', privileges: ['ghost'] }, { role: 'clerk', privileges: [] }, 'x'],
      privileges: [
        { privilege: 'a', includes: ['b'] },
        { privilege: 'b', includes: ['ghost', 'a'] },
        { privilege: 'c,d' },
        { includes: [1] },
        ...Array.from({ length: 6 }, (_, index) => ({ privilege: `p${index}` })),
        { privilege: 'B' },
      ],
      permissions: { allowed: [{ applyTo: 'ds' }, 1] },
      restrictedByDefault: true,
      forceLogin: 'no',
    }

    expect(pathsOf(source)).toEqual([
      '$.forceLogin',
      '$.permissions.allowed',
      '$.permissions.allowed[1]',
      '$.privileges[1].includes[0]',
      '$.privileges[1].includes[1]',
      '$.privileges[2].privilege',
      '$.privileges[3].includes[0]',
      '$.privileges[3].privilege',
      '$.privileges[10].privilege',
      '$.restrictedByDefault',
      '$.roles[0].privileges[0]',
      '$.roles[1].role',
      '$.roles[2]',
    ])
  })

  it('R2: lists 100 problems and says how many more there are', () => {
    const all = problemsOf({ privileges: Array.from({ length: 100 }, () => null) })
    const some = problemsOf({ privileges: Array.from({ length: 1234 }, () => null) })

    expect(all).toHaveLength(100)
    expect(all.at(-1)?.path).toBe('$.privileges[99]')
    expect(some).toHaveLength(101)
    expect(some.at(-1)?.path).toBe('$')
    expect(some.at(-1)?.problem).toContain('1134 more')
  })

  it('R2: quotes names as JSON and cuts them to 64 characters', () => {
    const includes = ['line\nbreak', 'x'.repeat(100_000)]

    const problems = problemsOf({ privileges: [{ privilege: 'a', includes }] })

    expect(problems[0]?.problem).toContain(String.raw`"line\nbreak"`)
    expect(problems[1]?.problem).toContain(`"${'x'.repeat(64)}"`)
    expect(problems[1]?.problem.length).toBeLessThan(100)
  })

  it.each([
    [{ permissions: { allowed: [{ applyTo: 'ds' }] } }, '$.permissions.allowed'],
    [{ restrictedByDefault: true }, '$.restrictedByDefault'],
    [{ forceLogin: true }, '$.forceLogin'],
  ])('R2: refuses %j unless told to ignore permissions', (unenforced, path) => {
    const source = { ...shop, ...unenforced }

    expect(pathsOf(source)).toEqual([path])
    expect(parse(source, true).privilegeNamed('audit')).toBe('audit')
  })

  it('R2: accepts settings that ask for no enforcement', () => {
    const source = {
      privileges: [{ privilege: 'audit' }],
      permissions: { allowed: [], note: 'nothing is configured' },
      restrictedByDefault: false,
      forceLogin: false,
    }

    expect(parse(source).privilegeNamed('audit')).toBe('audit')
  })

  it('R2: checks the shape of permissions even when told to ignore them', () => {
    expect(pathsOf({ ...shop, permissions: { allowed: ['ds'] } }, true)).toEqual([
      '$.permissions.allowed[0]',
    ])
  })
})

describe('parseRolesText', () => {
  const options = { name: 'conf/roles.json', ignorePermissions: false }

  it('R1: reads the example file', () => {
    const text = readFileSync(new URL('../../examples/roles.json', import.meta.url), 'utf8')

    const roles = parseRolesText(text, options)

    expect(expanded(roles, [], ['Clerk'])).toEqual(['seePrices', 'browse'])
    expect(expanded(roles, [], ['Manager'])).toEqual(['editStock', 'seePrices', 'browse', 'audit'])
    expect(expanded(roles, [], ['Admin'])).toEqual([
      'WebAdmin',
      'editStock',
      'seePrices',
      'browse',
      'audit',
    ])
  })

  it('R1: accepts a byte order mark', () => {
    const roles = parseRolesText(`\uFEFF${JSON.stringify(shop)}`, options)

    expect(roles.roleNamed('clerk')).toBe('Clerk')
  })

  it('R2: reports the problems of the text under the name of the file', () => {
    const error = errorOf(() => parseRolesText('{"privileges":[{}]}', options))

    expect(error.message).toContain('conf/roles.json')
    expect(error.problems.map(({ path }) => path)).toEqual(['$.privileges[0].privilege'])
  })

  it('R2: passes on the option to ignore permissions', () => {
    const text = '{"privileges":[],"forceLogin":true}'

    expect(parseRolesText(text, { ...options, ignorePermissions: true }).isOpen).toBe(false)
    expect(errorOf(() => parseRolesText(text, options)).problems[0]?.path).toBe('$.forceLogin')
  })

  it.each([
    ['no text', ''],
    ['a truncated text', '{"privileges":[{"privilege":"secret'],
    ['a stray token', '{"privileges": secret}'],
    ['a trailing comma', '{"privileges":[],"secret":1,}'],
    ['text that imitates a position', '{"secret at position 7'],
    ['a second byte order mark', '\uFEFF\uFEFF{"secret":1}'],
  ])('R2: refuses %s as one problem that quotes nothing of it', (_, text) => {
    const error = errorOf(() => parseRolesText(text, options))

    expect(error.code).toBe('ERR_SESSION_ROLES')
    expect(error.problems).toHaveLength(1)
    expect(error.problems[0]?.path).toBe('$')
    expect(error.problems[0]?.problem).toMatch(/^is malformed JSON/)
    expect(error.message).not.toContain('secret')
    expect(error.cause).toBeUndefined()
  })
})
