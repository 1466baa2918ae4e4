import { isDeepStrictEqual } from 'node:util'

import * as fc from 'fast-check'
import { session } from 'koa-user-sessions'
import { describe, expect, it, onTestFinished } from 'vitest'

import { parseRoles, parseRolesText } from '../../src/privileges/roles.ts'
import { ObservedStore, recordWarnings, storeKinds } from '../support/apps.ts'
import { serve } from '../support/visits.ts'
import { prototypes } from './prototypes.ts'

const seed = 20_261_122
const few = { seed, numRuns: 100 }
const many = { seed, numRuns: 400 }
const parsing = { seed, numRuns: 3000 }

/** Text of any UTF-16 code units, including lone surrogates and control characters. */
const units = fc.oneof(
  fc.nat(0xff_ff),
  fc.integer({ min: 0xd8_00, max: 0xdf_ff }),
  fc.constantFrom(0, 9, 10, 13, 0x1b, 0x7f, 0x9b, 0xa0, 0x2_02e, 0x2_028, 0xfe_ff, 0xff_fd),
)
const anyText = fc.oneof(
  fc.array(units, { maxLength: 20 }).map((codes) => String.fromCharCode(...codes)),
  fc.string({ unit: 'binary' }),
  fc.string(),
  fc.constantFrom(
    '__proto__',
    'constructor',
    'prototype',
    'hasOwnProperty',
    'toString',
    'toJSON',
    'then',
    'length',
    '0',
    '-1',
    '{a}*',
    '*',
    'a\r\nFLUSHALL\r\n',
    'p:x',
    's:a',
    'u',
    'İstanbul',
    'straße',
    'ﬁ',
    'é',
    'e\u0301',
    ' ann ',
    'ann',
    'Ann',
  ),
)
const forbidden: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])
const innerName = anyText.filter((name) => !forbidden.has(name))
const topName = innerName.filter((name) => name.isWellFormed())

/** Values that JSON can hold, down to 6 levels, with names and texts of any kind. */
const { json } = fc.letrec<{ json: unknown }>((tie) => ({
  json: fc.oneof(
    { maxDepth: 6, depthSize: 'small' },
    fc.constantFrom(null, true, false, 0, -0, 1e300, 5e-324, 2 ** 53 + 2, ''),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    anyText,
    fc.array(tie('json'), { maxLength: 5 }),
    fc.dictionary(innerName, tie('json'), { maxKeys: 5 }),
  ),
}))

/** What the next request must find. */
function throughJson(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value))
}

const cyclic: unknown[] = []
cyclic.push({ cyclic })

/** What JSON would change, lose or refuse. */
const noJson: fc.Arbitrary<unknown> = fc.constantFrom<unknown>(
  Number.NaN,
  Infinity,
  -Infinity,
  10n,
  () => {},
  Symbol('a'),
  new Date(Number.NaN),
  new Map([['a', 1]]),
  new Set([1]),
  /a/,
  new Error('a'),
  Promise.resolve(1),
  Buffer.from('a'),
  new Uint8Array(1),
  Object('boxed'),
  new (class Cart {
    a = 1
  })(),
  new Proxy(
    {},
    {
      ownKeys() {
        throw new Error('of a proxy')
      },
    },
  ),
  {
    get a(): never {
      throw new Error('of a getter')
    },
  },
  { [Symbol('a')]: 1 },
  Object.assign([1], { named: 1 }),
  // oxlint-disable-next-line no-sparse-arrays
  [1, , 2],
  [undefined],
  { toJSON: () => 1 },
  cyclic,
  JSON.parse('{"__proto__":{"polluted":1}}'),
  JSON.parse('{"constructor":{"prototype":{"polluted":1}}}'),
  JSON.parse(`${'['.repeat(40)}${']'.repeat(40)}`),
)

/** Such a value, surrounded by good ones. */
const hostile = fc
  .tuple(noJson, fc.array(fc.tuple(fc.boolean(), innerName, json), { maxLength: 5 }))
  .map(([value, around]) =>
    around.reduce(
      (inner, [isArray, name, beside]) => (isArray ? [beside, inner] : { beside, [name]: inner }),
      value,
    ),
  )

function codeOf(work: () => unknown): unknown {
  try {
    work()
    return undefined
  } catch (error) {
    return Reflect.get(Object(error), 'code') ?? error
  }
}

describe.each(storeKinds)('storage, on %s', (_, makeStore) => {
  it('H1, T3: reads back any JSON value in the next request', async () => {
    const { visit } = await serve(makeStore())
    const before = prototypes()

    await fc.assert(
      fc.asyncProperty(fc.dictionary(topName, json, { maxKeys: 8 }), async (values) => {
        const { cookie, status } = await visit(
          (ctx) => void Object.assign(ctx.session.storage, values),
        )
        expect(status).toBe(200)
        let found: unknown
        await visit((ctx) => void (found = { ...ctx.session.storage }), cookie)

        expect(isDeepStrictEqual(found, throughJson(values))).toBe(true)
      }),
      many,
    )
    expect(prototypes()).toEqual(before)
  })

  it('H1, T3: refuses what JSON cannot hold, and stores nothing', async () => {
    const store = new ObservedStore(makeStore())
    const { visit } = await serve(store)
    const before = prototypes()

    await fc.assert(
      fc.asyncProperty(topName, hostile, async (name, value) => {
        let code: unknown
        const { status } = await visit((ctx) => {
          code = codeOf(() => (ctx.session.storage[name] = value))
        })

        expect(code).toMatch(/^ERR_SESSION_STORAGE_(?:VALUE|KEY)$/)
        expect(status).toBe(200)
      }),
      many,
    )
    expect(store.calls).toEqual([])
    expect(prototypes()).toEqual(before)
  })

  it('H1, T6: refuses forbidden and malformed names, and stores nothing', async () => {
    const store = new ObservedStore(makeStore())
    const { visit } = await serve(store)
    const names = anyText.filter((name) => forbidden.has(name) || !name.isWellFormed())

    await fc.assert(
      fc.asyncProperty(names, json, async (name, value) => {
        let code: unknown
        await visit((ctx) => {
          code = codeOf(() => Reflect.set(ctx.session.storage, name, value))
        })

        expect(code).toBe('ERR_SESSION_STORAGE_KEY')
      }),
      few,
    )
    expect(store.calls).toEqual([])
  })

  it('H1, T3: stores any value at all as a whole, or not at all', async () => {
    const { visit } = await serve(makeStore())
    const anything = fc.anything({
      withBigInt: true,
      withBoxedValues: true,
      withDate: true,
      withMap: true,
      withNullPrototype: true,
      withObjectString: true,
      withSet: true,
      withSparseArray: true,
      withTypedArray: true,
    })

    await fc.assert(
      fc.asyncProperty(
        anything.filter((value) => value !== undefined),
        async (value) => {
          let code: unknown
          const { cookie } = await visit((ctx) => {
            code = codeOf(() => (ctx.session.storage['value'] = value))
          })
          if (code !== undefined) {
            expect(code).toMatch(/^ERR_SESSION_STORAGE_(?:VALUE|KEY)$/)
            expect(cookie).toBeUndefined()
            return
          }
          let found: unknown
          await visit((ctx) => void (found = ctx.session.storage['value']), cookie)
          expect(isDeepStrictEqual(found, throughJson(value))).toBe(true)
        },
      ),
      many,
    )
  })
})

/** How two names of privileges or roles are compared. */
function folded(name: string): string {
  return name.trim().toLowerCase()
}

const privilegeName = anyText.filter((name) => !name.includes(',') && name.trim() !== '')
const privilegeNames = fc.array(privilegeName, { minLength: 1, maxLength: 6 })

/** A name, and others that look like it. */
function lookalikes(name: string): string[] {
  return [
    `${name}x`,
    name.slice(1),
    name.normalize('NFC'),
    name.normalize('NFD'),
    name.toWellFormed(),
    name.replaceAll('\0', ''),
    `privilege:${name}`,
    JSON.stringify(name),
  ]
}

describe.each(storeKinds)('names, on %s', (_, makeStore) => {
  it('H1, P3: are held as granted in the next request, and no others are', async () => {
    const { visit } = await serve(makeStore())

    await fc.assert(
      fc.asyncProperty(privilegeNames, privilegeNames, async (granted, others) => {
        const { cookie } = await visit((ctx) => ctx.session.setPrivileges([...granted]))
        const held = new Set(granted.map(folded))
        const exact = granted.map((name) => name.trim())
        const asked = [...exact, ...others, ...granted, ...granted.flatMap(lookalikes)]
        let answers: boolean[] = []
        let listed: readonly string[] = []
        await visit((ctx) => {
          answers = asked.map((name) => ctx.session.hasPrivilege(name))
          listed = ctx.session.getPrivileges()
        }, cookie)

        // Blanks around a name are trimmed when it is granted, not when it is checked.
        expect(answers).toEqual(asked.map((name) => held.has(name.toLowerCase())))
        expect(new Set(listed.map(folded))).toEqual(held)
      }),
      few,
    )
  })

  it('H1, P4: of roles give what the roles file says, and nothing else', async () => {
    const store = makeStore()
    const { stop } = recordWarnings()
    onTestFinished(stop)
    const trimmed = fc.uniqueArray(
      privilegeName.map((name) => name.trim()),
      { minLength: 1, maxLength: 6, selector: folded },
    )

    await fc.assert(
      fc.asyncProperty(trimmed, trimmed, fc.nat(), async (privileges, names, pick) => {
        const roles = names.map((role, index) => ({
          role,
          privileges: privileges.filter((_name, at) => ((pick >> (index + at)) & 1) === 1),
        }))
        const file = { privileges: privileges.map((privilege) => ({ privilege })), roles }
        const chosen = roles.filter((_role, index) => ((pick >> (2 * index)) & 1) === 1)
        const input = { userName: 'ann', roles: chosen.map(({ role }) => role) }
        const held = new Set(chosen.flatMap((role) => role.privileges))
        const { visit } = await serve(store, { roles: file })
        const { cookie } = await visit((ctx) => ctx.session.setPrivileges(input))
        let listed: readonly string[] = []
        await visit((ctx) => void (listed = ctx.session.getPrivileges()), cookie)

        expect(new Set(listed)).toEqual(held)
      }),
      { seed, numRuns: 40 },
    )
  })

  it('H1, M2: of users list their own sessions and no others', async () => {
    const store = makeStore()
    const { visit, sessions } = await serve(store)
    const userName = anyText.filter((name) => name !== '')
    const idsOf = new Map<string, string[]>()

    await fc.assert(
      fc.asyncProperty(userName, async (name) => {
        const known = idsOf.get(name) ?? []
        let id = ''
        const { cookie, status } = await visit((ctx) => {
          ctx.session.setPrivileges({ userName: name })
          id = ctx.session.id
        })
        expect(status).toBe(200)
        idsOf.set(name, [...known, id])
        let found = ''
        await visit((ctx) => void (found = ctx.session.userName), cookie)

        expect(found).toBe(name)
        for (const other of [name, ...lookalikes(name), name.trim(), name.toUpperCase()]) {
          const listed = await sessions.list(other)
          expect(new Set(listed.map((one) => one.id))).toEqual(new Set(idsOf.get(other)))
        }
      }),
      few,
    )
    expect(idsOf.size).toBeGreaterThan(50)
  })
})

/** Correct, or almost: any part may be missing or any JSON. */
const almostRoles = (() => {
  const names = fc.oneof(fc.constantFrom('a', 'b', 'A', ' a', 'a,b', ''), anyText)
  const list = fc.oneof(fc.array(names, { maxLength: 4 }), json)
  const privilege = fc.record(
    { privilege: fc.oneof(names, json), includes: list },
    {
      requiredKeys: [],
    },
  )
  const role = fc.record({ role: fc.oneof(names, json), privileges: list }, { requiredKeys: [] })
  const privileges = fc.array(fc.oneof({ weight: 4, arbitrary: privilege }, json), { maxLength: 5 })
  const roles = fc.array(fc.oneof({ weight: 4, arbitrary: role }, json), { maxLength: 5 })
  return fc.record(
    {
      privileges: fc.oneof({ weight: 8, arbitrary: privileges }, json),
      roles: fc.oneof({ weight: 8, arbitrary: roles }, json),
      permissions: fc.oneof(fc.constant({ allowed: [] }), json),
      restrictedByDefault: fc.oneof(fc.boolean(), json),
      forceLogin: fc.oneof(fc.boolean(), json),
      ['__proto__']: json,
    },
    { requiredKeys: [] },
  )
})()

describe('roles files', () => {
  const options = { name: 'roles.json', ignorePermissions: true }

  it('H1, R2: are read or refused, whatever the JSON', () => {
    const before = prototypes()
    const seen = new Set<unknown>()

    fc.assert(
      fc.property(fc.oneof(almostRoles, json), (file) => {
        const text = JSON.stringify(file)
        const codes = [
          codeOf(() => parseRoles(file, options)),
          codeOf(() => parseRolesText(text, options)),
        ]
        for (const code of codes) expect([undefined, 'ERR_SESSION_ROLES']).toContain(code)
        seen.add(codes[0])
      }),
      parsing,
    )
    expect(seen).toEqual(new Set([undefined, 'ERR_SESSION_ROLES']))
    expect(prototypes()).toEqual(before)
  })

  it('H1, R2: are read or refused, whatever the text', () => {
    const broken = fc.tuple(almostRoles, fc.nat(), anyText).map(([file, at, text]) => {
      const good = JSON.stringify(file)
      const cut = at % (good.length + 1)
      return good.slice(0, cut) + text + good.slice(cut)
    })

    fc.assert(
      fc.property(fc.oneof(anyText, broken), (text) => {
        const code = codeOf(() => parseRolesText(text, options))
        expect([undefined, 'ERR_SESSION_ROLES']).toContain(code)
      }),
      parsing,
    )
  })

  it.each([
    ['a deep text', '{"a":'.repeat(100_000)],
    ['deep arrays', `${'['.repeat(100_000)}${']'.repeat(100_000)}`],
    ['a deep extra', `{"privileges":[],"extra":${'['.repeat(5000)}${']'.repeat(5000)}}`],
  ])('H1, R2: are read or refused: %s', (_, text) => {
    const code = codeOf(() => parseRolesText(text, options))

    expect([undefined, 'ERR_SESSION_ROLES']).toContain(code)
  })

  it('H1, R2: are refused by session() with the same code', () => {
    fc.assert(
      fc.property(almostRoles, (roles) => {
        const code = codeOf(() => session({ roles: Object(roles), ignorePermissions: true }))
        expect([undefined, 'ERR_SESSION_ROLES']).toContain(code)
      }),
      few,
    )
  })
})
