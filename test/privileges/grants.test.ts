import type { Session, SessionsOptions } from 'koa-user-sessions'
import { describe, expect, it, onTestFinished } from 'vitest'

import { exactly, guestView, me, recordWarnings, setCookies } from '../support/apps.ts'
import { call, openShop, roles } from '../support/privileged-shop.ts'
import type { Shop } from '../support/privileged-shop.ts'

function catchWarnings(): readonly string[] {
  const { messages, stop } = recordWarnings()
  onTestFinished(stop)
  return messages
}

describe('hasPrivilege', () => {
  it('P1: finds what is held directly, through a role, and through what others include', async () => {
    const { run } = openShop()

    await run(({ session }) => {
      session.setPrivileges({ privileges: 'audit', roles: 'Clerk' })

      expect(session.hasPrivilege('audit')).toBe(true)
      expect(session.hasPrivilege('seePrices')).toBe(true)
      expect(session.hasPrivilege('browse')).toBe(true)
      expect(session.hasPrivilege('editStock')).toBe(false)
      expect(session.hasPrivilege('WebAdmin')).toBe(false)
    })
  })

  it('P1: finds in the next request what this one was granted', async () => {
    const { run } = openShop()
    await run(({ session }) => session.setPrivileges({ roles: 'Manager' }))

    await run(({ session }) => {
      expect(session.hasPrivilege('editStock')).toBe(true)
      expect(session.hasPrivilege('browse')).toBe(true)
      expect(session.hasPrivilege('WebAdmin')).toBe(false)
    })
  })

  it.each([
    ['an unknown name', 'nope'],
    ['a role', 'Manager'],
    ['empty text', ''],
    ['a blank', ' '],
    ['blanks around a name', ' audit '],
    ['two names', 'audit,browse'],
    ['NUL at the end', 'audit\0'],
    ['full-width letters', 'ａｕｄｉｔ'],
    ['part of a name', 'audi'],
    ['an array', ['audit']],
    ['an object that turns into text', { toString: () => 'audit' }],
    ['boxed text', Object('audit')],
    ['undefined', undefined],
    ['null', null],
    ['true', true],
    ['a RegExp', /./],
  ])('P1: is false for %s', async (_, name) => {
    const { run } = openShop()

    await run(({ session }) => {
      session.setPrivileges({ privileges: 'audit, browse', roles: 'Manager' })

      expect(call(session, 'hasPrivilege', name)).toBe(false)
    })
  })

  it.each(['AUDIT', 'audit', 'Audit', 'aUDIT'])('P8: finds %s in any case', async (name) => {
    const { run } = openShop()

    await run(({ session }) => {
      session.setPrivileges(name)

      expect(session.hasPrivilege('auDIT')).toBe(true)
      expect(session.getPrivileges()).toEqual(['audit'])
    })
  })

  it.each(['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty'])(
    'P8: never holds %s by default, with a roles file or without',
    async (name) => {
      const { run: runWithFile } = openShop()
      const { run: runWithout } = openShop({})

      for (const run of [runWithFile, runWithout]) {
        await run(({ session }) => {
          expect(session.hasPrivilege(name)).toBe(false)
          session.setPrivileges('audit')
          expect(session.hasPrivilege(name)).toBe(false)
        })
      }
    },
  )

  it.each(['__proto__', 'constructor', 'toString'])(
    'P8: treats %s as a name like any other',
    async (name) => {
      const { run, client } = openShop({ roles: { privileges: [{ privilege: name }] } })

      await run(({ session }) => session.setPrivileges(name.toUpperCase()))

      expect((await me(client)).privileges).toEqual([name])
      expect(Reflect.get({}, 'polluted')).toBeUndefined()
    },
  )
})

describe('setPrivileges', () => {
  it.each<[string, Parameters<Session['setPrivileges']>[0], string[]]>([
    ['one name', 'audit', ['audit']],
    ['names between commas', 'audit, browse', ['audit', 'browse']],
    ['an array', ['audit', 'browse'], ['audit', 'browse']],
    ['settings with text', { privileges: 'audit, browse' }, ['audit', 'browse']],
    ['settings with an array', { privileges: ['audit', 'browse'] }, ['audit', 'browse']],
    ['a role', { roles: 'Clerk' }, ['seePrices', 'browse']],
    ['roles between commas', { roles: 'Clerk, Idle' }, ['seePrices', 'browse']],
    ['an array of roles', { roles: ['Idle', 'clerk'] }, ['seePrices', 'browse']],
    [
      'all at once',
      { privileges: 'audit', roles: 'Clerk', userName: 'ann' },
      ['audit', 'seePrices', 'browse'],
    ],
    ['nothing', {}, []],
    ['empty text', '', []],
    ['an empty array', [], []],
  ])('P2: accepts %s and returns true', async (_, input, expected) => {
    const { run, client } = openShop()

    await run(({ session }) => {
      expect(session.setPrivileges(input)).toBe(true)
      expect(session.getPrivileges()).toEqual(expected)
    })

    expect((await me(client)).privileges).toEqual(expected)
  })

  it('P2: adds to what the session has', async () => {
    const { run, client } = openShop()
    await run(({ session }) => session.setPrivileges('browse'))
    await run(({ session }) => session.setPrivileges({ roles: 'Clerk' }))

    await run(({ session }) => {
      session.setPrivileges('audit')

      expect(session.getPrivileges()).toEqual(['browse', 'audit', 'seePrices'])
    })

    expect((await me(client)).privileges.toSorted()).toEqual(['audit', 'browse', 'seePrices'])
  })

  it('P2: keeps the user name when none is given', async () => {
    const { run, client } = openShop()
    await run(({ session }) => session.setPrivileges({ userName: 'ann' }))

    await run(({ session }) => session.setPrivileges('browse'))

    expect(await me(client)).toMatchObject({ userName: 'ann', privileges: ['browse'] })
  })

  it.each<[string, unknown]>([
    ['nothing', undefined],
    ['null', null],
    ['a number', 1],
    ['true', true],
    ['a function', () => 'audit'],
    ['a Set', new Set(['audit'])],
    ['a number in an array', ['audit', 1]],
    ['a comma in an array', ['audit, browse']],
    ['a comma in the privileges', { privileges: ['audit,browse'] }],
    ['a comma in the roles', { roles: ['Clerk,Manager'] }],
    ['an unknown setting', { role: 'Manager' }],
    ['a user name that is not text', { privileges: 'audit', userName: 7 }],
  ])('P2: refuses %s and grants nothing', async (_, input) => {
    const { run } = openShop()

    await run(({ session }) => {
      expect(() => call(session, 'setPrivileges', input)).toThrow(TypeError)
      expect(session.getPrivileges()).toEqual([])
      expect(session.userName).toBe('')
    })
  })

  it('P2: stores nothing for what the session already has', async () => {
    const { run, store } = openShop()
    await run(({ session }) => session.setPrivileges({ roles: 'Clerk', userName: 'ann' }))
    const before = store.calls.length

    await run(({ session }) => session.setPrivileges({ roles: 'CLERK', userName: 'ann' }))

    expect(store.calls.slice(before)).toEqual(['load'])
  })

  it('P3: leaves out what the roles file does not declare, with one warning per name', async () => {
    const warnings = catchWarnings()
    const { run, client } = openShop()

    await run(({ session }) => {
      expect(session.setPrivileges(['brows', 'audit', 'brows'])).toBe(true)
      session.setPrivileges({ privileges: 'brows', roles: 'Managr', userName: 'ann' })
    })
    await run(({ session }) => session.setPrivileges({ privileges: 'brows, Manager' }))

    expect((await me(client)).privileges).toEqual(['audit'])
    expect(warnings).toEqual([
      'the privilege "brows" is not declared and was not granted: the roles file lacks it',
      'the role "Managr" is not declared and was not granted: the roles file lacks it',
      'the privilege "Manager" is not declared and was not granted: the roles file lacks it',
    ])
  })

  it('H1: escapes an undeclared name that would control a terminal', async () => {
    const warnings = catchWarnings()
    const { run } = openShop()

    await run(({ session }) => session.setPrivileges(['a\u007F\u009B31m\u202Eb\u200D\u2028c']))

    expect(warnings).toEqual([
      String.raw`the privilege "a\u{7f}\u{9b}31m\u{202e}b\u{200d}\u{2028}c" is not declared and was ` +
        'not granted: the roles file lacks it',
    ])
  })

  it('P3: shows an undeclared name escaped and cut', async () => {
    const warnings = catchWarnings()
    const { run } = openShop()

    await run(({ session }) => session.setPrivileges([`a\n\u001B[31m${'x'.repeat(100)}`]))

    expect(warnings[0]).toContain('"a\\n\\u001b[31m')
    expect(warnings[0]).not.toMatch(/\p{Cc}|x{64}/u)
  })

  it('P3: treats every privilege name as declared without a roles file, and no role', async () => {
    const warnings = catchWarnings()
    const { run, client } = openShop({})

    await run(({ session }) => {
      session.setPrivileges({ privileges: 'Anything at all, ünïcode 🍵', roles: 'Manager' })
    })

    expect((await me(client)).privileges).toEqual(['Anything at all', 'ünïcode 🍵'])
    expect(warnings).toEqual([
      'the role "Manager" is not declared and was not granted: ' +
        'there are no roles without a roles file',
    ])
  })
})

describe('getPrivileges', () => {
  it('P4: returns everything in the declared spelling, expanded, without duplicates', async () => {
    const { run } = openShop()

    await run(({ session }) => {
      session.setPrivileges({ privileges: 'EDITSTOCK, browse, WebADMIN', roles: 'manager, CLERK' })

      expect(session.getPrivileges()).toEqual([
        'editStock',
        'seePrices',
        'browse',
        'WebAdmin',
        'audit',
      ])
    })
  })

  it('P4: returns a new array at each call, which changes nothing', async () => {
    const { run } = openShop()

    await run(({ session }) => {
      session.setPrivileges('browse')
      const privileges = session.getPrivileges()
      privileges.push('WebAdmin')

      expect(session.getPrivileges()).not.toBe(privileges)
      expect(session.getPrivileges()).toEqual(['browse'])
      expect(session.hasPrivilege('WebAdmin')).toBe(false)
    })
  })

  it('P4: is empty for a guest', async () => {
    const { run } = openShop()

    await run(({ session }) => expect(session.getPrivileges()).toEqual([]))
  })
})

describe('clearPrivileges', () => {
  it('P5: takes back privileges, roles and user name; id, storage and timeout stay', async () => {
    const { run, client } = openShop()
    await run(({ session }) => {
      session.setPrivileges({ privileges: 'browse', roles: 'Manager', userName: 'ann' })
      session.storage.cart = ['tea']
      session.idleTimeout = 90
    })
    const { id } = await me(client)

    await run(({ session }) => {
      expect(session.clearPrivileges()).toBe(true)
      expect(session.userName).toBe('')
      expect(session.isGuest()).toBe(true)
      expect(session.hasPrivilege('browse')).toBe(false)
    })

    expect(await me(client)).toMatchObject({
      ...guestView,
      id,
      isNew: false,
      idleTimeout: 90,
      storage: exactly({ cart: ['tea'] }),
    })
  })

  it('P5: returns true and stores nothing for a guest', async () => {
    const { run, store } = openShop()

    const response = await run(({ session }) => expect(session.clearPrivileges()).toBe(true))

    expect(store.calls).toEqual([])
    expect(setCookies(response)).toEqual([])
  })

  it('P5: takes back what the same request has granted', async () => {
    const { run, client } = openShop()

    await run(({ session }) => {
      session.storage.a = 1
      session.setPrivileges({ privileges: 'browse', userName: 'ann' })
      session.clearPrivileges()
    })

    expect(await me(client)).toMatchObject({
      ...guestView,
      isNew: false,
      storage: exactly({ a: 1 }),
    })
  })

  it('P5: keeps what is granted after it', async () => {
    const { run, client } = openShop()
    await run(({ session }) => session.setPrivileges({ roles: 'Manager', userName: 'ann' }))

    await run(({ session }) => {
      session.clearPrivileges()
      session.setPrivileges('browse')
    })

    expect(await me(client)).toMatchObject({ userName: '', privileges: ['browse'] })
  })
})

describe('isGuest', () => {
  it('P6: is true without any privilege, signed in or not', async () => {
    const { run } = openShop()

    await run(({ session }) => {
      expect(session.isGuest()).toBe(true)
      session.setPrivileges({ userName: 'ann', roles: 'Idle' })
      expect(session.isGuest()).toBe(true)
      session.setPrivileges('browse')
      expect(session.isGuest()).toBe(false)
    })
  })
})

describe('types without privileges', () => {
  it.each<[string, SessionsOptions]>([
    ['no type has any', { roles, privilegedTypes: [] }],
    ['only another type has some', { roles, type: 'web', privilegedTypes: ['rest'] }],
    ['only web sessions have some', { roles, type: 'rest', privilegedTypes: ['web'] }],
  ])('P7: grants, holds and clears nothing when %s', async (_, options) => {
    const { run, store } = openShop(options)

    const response = await run(({ session }) => {
      expect(session.setPrivileges({ roles: 'Manager', userName: 'ann' })).toBe(false)
      expect(session.setPrivileges('browse')).toBe(false)
      expect(session.clearPrivileges()).toBe(false)
      expect(session.hasPrivilege('browse')).toBe(false)
      expect(session.getPrivileges()).toEqual([])
      expect(session.isGuest()).toBe(true)
      expect(session.userName).toBe('')
      expect(session.promote('browse')).toBe(0)
      expect(session.hasPrivilege('browse')).toBe(false)
    })

    expect(store.calls).toEqual([])
    expect(setCookies(response)).toEqual([])
  })

  it('P7: still refuses a malformed grant', async () => {
    const { run } = openShop({ roles, privilegedTypes: [] })

    await run(({ session }) => {
      expect(() => session.setPrivileges(['a,b'])).toThrow(TypeError)
    })
  })

  it('P7: gives privileges to both web and rest by default', async () => {
    const { run } = openShop({ roles, type: 'rest' })

    await run(({ session }) => {
      expect(session.setPrivileges('browse')).toBe(true)
      expect(session.hasPrivilege('browse')).toBe(true)
    })
  })

  it('P7: hides what a session was granted before its type lost privileges', async () => {
    const before = openShop()
    const after = openShop({ roles, privilegedTypes: [], store: before.store })
    await before.run(({ session }) => session.setPrivileges({ roles: 'Manager', userName: 'ann' }))
    const cookie = await sentCookie(before)

    await after.run(
      ({ session }) => {
        expect(session.isNew).toBe(false)
        expect(session.isGuest()).toBe(true)
        expect(session.hasPrivilege('editStock')).toBe(false)
        expect(session.getPrivileges()).toEqual([])
      },
      { get: (path) => after.visit(path, cookie) },
    )
  })
})

describe('a changed roles file', () => {
  it('P9: takes effect for a session that is stored', async () => {
    const before = openShop()
    const after = openShop({
      store: before.store,
      roles: {
        privileges: [{ privilege: 'SEEPRICES' }, { privilege: 'sell', includes: ['SEEPRICES'] }],
        roles: [{ role: 'Manager', privileges: ['sell'] }],
      },
    })
    await before.run(({ session }) => {
      session.setPrivileges({ privileges: 'seePrices, audit', roles: 'Manager', userName: 'ann' })
    })
    const cookie = await sentCookie(before)

    expect((await before.visit('/me', cookie)).body.privileges).toEqual([
      'seePrices',
      'browse',
      'audit',
      'editStock',
    ])
    expect((await after.visit('/me', cookie)).body).toMatchObject({
      userName: 'ann',
      privileges: ['SEEPRICES', 'sell'],
    })
  })

  it('P9: gives back what a name gave once the file declares it again', async () => {
    const before = openShop()
    const without = openShop({ store: before.store, roles: { privileges: [] } })
    await before.run(({ session }) => session.setPrivileges({ roles: 'Clerk' }))
    const cookie = await sentCookie(before)

    expect((await without.visit('/me', cookie)).body).toMatchObject({ isGuest: true })
    expect((await before.visit('/me', cookie)).body.privileges).toEqual(['seePrices', 'browse'])
  })
})

/** The cookie that the shop's browser sends. */
async function sentCookie({ run }: Shop): Promise<string> {
  let cookie = ''
  await run(({ req }) => {
    cookie = req.headers.cookie ?? ''
  })
  return cookie
}
