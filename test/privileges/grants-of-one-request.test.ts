import { EventEmitter, once } from 'node:events'

import { describe, expect, it } from 'vitest'

import { call, openShop } from '../support/privileged-shop.ts'

describe('promote and demote', () => {
  it('P11: lends a privilege and what it includes, and takes it back', async () => {
    const { run } = openShop()

    await run(({ session }) => {
      const loan = session.promote('SEEPRICES')

      expect(loan).toBeGreaterThan(0)
      expect(session.hasPrivilege('seePrices')).toBe(true)
      expect(session.hasPrivilege('browse')).toBe(true)
      expect(session.hasPrivilege('audit')).toBe(false)

      session.demote(loan)
      expect(session.hasPrivilege('seePrices')).toBe(false)
      expect(session.hasPrivilege('browse')).toBe(false)
    })
  })

  it('P11: returns increasing ids, and 0 for a name that is already lent or undeclared', async () => {
    const { run } = openShop()

    await run(({ session }) => {
      const first = session.promote('browse')
      const second = session.promote('audit')

      expect(second).toBeGreaterThan(first)
      expect(session.promote('Browse')).toBe(0)
      expect(session.promote('nope')).toBe(0)
      expect(session.promote('')).toBe(0)
      expect(session.promote('Manager')).toBe(0)
      expect(session.promote('__proto__')).toBe(0)
      expect(call(session, 'promote', ['audit'])).toBe(0)

      session.demote(second)
      expect(session.promote('audit')).toBeGreaterThan(second)
    })
  })

  it('P11: lends every name without a roles file', async () => {
    const { run } = openShop({})

    await run(({ session }) => {
      expect(session.promote('anything')).toBeGreaterThan(0)
      expect(session.hasPrivilege('Anything')).toBe(true)
    })
  })

  it.each([0, -1, 99, Number.NaN, '1', undefined])(
    'P11: ignores the unknown id %j in demote()',
    async (id) => {
      const { run } = openShop()

      await run(({ session }) => {
        session.promote('browse')

        expect(call(session, 'demote', id)).toBeUndefined()
        expect(session.hasPrivilege('browse')).toBe(true)
      })
    },
  )

  it('P11: keeps what is held or lent otherwise when a loan ends', async () => {
    const { run } = openShop()

    await run(({ session }) => {
      session.setPrivileges('browse')
      const one = session.promote('seePrices')
      const two = session.promote('browse')

      session.demote(two)
      expect(session.hasPrivilege('browse')).toBe(true)
      session.demote(one)
      expect(session.hasPrivilege('browse')).toBe(true)
      expect(session.hasPrivilege('seePrices')).toBe(false)
    })
  })

  it('P11: shows loans in hasPrivilege only', async () => {
    const { run } = openShop()

    await run(({ session }) => {
      session.promote('WebAdmin')

      expect(session.getPrivileges()).toEqual([])
      expect(session.isGuest()).toBe(true)
      expect(JSON.stringify(session)).not.toContain('WebAdmin')
    })
  })

  it('P11: is never stored, and gone in the next request', async () => {
    const { run, store } = openShop()
    await run(({ session }) => session.setPrivileges('browse'))
    const before = store.calls.length

    await run(({ session }) => session.promote('WebAdmin'))

    expect(store.calls.slice(before)).toEqual(['load'])
    await run(({ session }) => {
      expect(session.hasPrivilege('WebAdmin')).toBe(false)
      expect(session.getPrivileges()).toEqual(['browse'])
    })
  })

  it('P11: is invisible to a parallel request of the same session', async () => {
    const { run } = openShop()
    await run(({ session }) => session.setPrivileges('browse'))
    const steps = new EventEmitter()
    const lent = once(steps, 'lent')
    const seen = once(steps, 'seen')

    const one = run(async ({ session }) => {
      session.promote('WebAdmin')
      steps.emit('lent')
      await seen
      expect(session.hasPrivilege('WebAdmin')).toBe(true)
    })
    await lent
    await run(({ session }) => {
      expect(session.hasPrivilege('browse')).toBe(true)
      expect(session.hasPrivilege('WebAdmin')).toBe(false)
    })
    steps.emit('seen')
    await one
  })

  it('P11: keeps the loan over save and reload', async () => {
    const { run } = openShop()

    await run(async ({ session }) => {
      session.promote('audit')
      await session.save()
      expect(session.hasPrivilege('audit')).toBe(true)
      await session.reload()
      expect(session.hasPrivilege('audit')).toBe(true)
    })
  })

  it('P11: ends the loan when another user signs in, or the session ends', async () => {
    const { run } = openShop()
    await run(({ session }) => session.setPrivileges({ userName: 'ann' }))

    await run((ctx) => {
      ctx.session.promote('audit')
      ctx.session.setPrivileges({ userName: 'bob' })
      expect(ctx.session.hasPrivilege('audit')).toBe(false)

      ctx.session.promote('audit')
      ctx.session = null
      expect(ctx.session.hasPrivilege('audit')).toBe(false)
    })
  })
})
