import Router from '@koa/router'
import Koa from 'koa'
import type { Context, Middleware } from 'koa'
import { requirePrivilege, requireUser, session, SessionGuestError } from 'koa-user-sessions'
import type { GuardOptions, RolesFile, SessionsOptions } from 'koa-user-sessions'
import request from 'supertest'
import type { Response } from 'supertest'
import { describe, expect, it, vi } from 'vitest'

import { cookieOf, makeApp } from '../support/apps.ts'
import type { TestApp } from '../support/apps.ts'

const roles: RolesFile = {
  privileges: [
    { privilege: 'browse' },
    { privilege: 'editStock', includes: ['browse'] },
    { privilege: 'audit' },
    { privilege: 'WebAdmin', includes: ['editStock', 'audit'] },
  ],
  roles: [
    { role: 'Clerk', privileges: ['browse'] },
    { role: 'Admin', privileges: ['WebAdmin'] },
  ],
}

/** The callers by name. */
const callers = {
  guest: () => {},
  stored: ({ session }) => void (session.storage.a = 1),
  named: ({ session }) => session.setPrivileges({ userName: 'ann' }),
  other: ({ session }) => session.setPrivileges('browse'),
  otherRole: ({ session }) => session.setPrivileges({ roles: 'Clerk', userName: 'ann' }),
  direct: ({ session }) => session.setPrivileges('audit'),
  directNamed: ({ session }) => session.setPrivileges({ privileges: 'AUDIT', userName: 'ann' }),
  included: ({ session }) => session.setPrivileges('WebAdmin'),
  byRole: ({ session }) => session.setPrivileges({ roles: 'Admin' }),
  cleared: ({ session }) => {
    session.setPrivileges({ roles: 'Admin', userName: 'ann' })
    session.clearPrivileges()
  },
  promoted: ({ session }) => session.promote('audit'),
  promotedToMore: ({ session }) => session.promote('WebAdmin'),
  promotedNamed: ({ session }) => {
    session.setPrivileges({ userName: 'ann' })
    session.promote('audit')
  },
  demoted: ({ session }) => session.demote(session.promote('audit')),
} satisfies Record<string, (ctx: Context) => unknown>

type Caller = keyof typeof callers

interface GuardedApp extends TestApp {
  /** Stands for the guarded handler. */
  readonly handler: ReturnType<typeof vi.fn<() => void>>
}

/** An app whose `/guarded` runs these guards, then the handler, for the caller that the query names. */
function makeGuarded(
  guards: readonly Middleware[],
  options: SessionsOptions = { roles },
): GuardedApp {
  const testApp = makeApp({}, options)
  const handler = vi.fn<() => void>()
  const { app } = testApp
  app.use((ctx, next) => {
    const name = String(ctx.query['as'] ?? 'guest')
    const [, caller] = Object.entries(callers).find(([key]) => key === name) ?? []
    caller?.(ctx)
    return next()
  })
  for (const guard of guards) app.use(guard)
  app.use((ctx) => {
    handler()
    ctx.body = 'inside'
  })
  return { ...testApp, handler }
}

/** Expects the status for each caller, and that the handler has run accordingly. */
async function statusFor(guards: readonly Middleware[], caller: Caller): Promise<number> {
  const { visit, handler } = makeGuarded(guards)

  const { status, text } = await visit(`/guarded?as=${caller}`)

  expect(handler).toHaveBeenCalledTimes(status === 200 ? 1 : 0)
  expect(text === 'inside').toBe(status === 200)
  return status
}

describe('requirePrivilege', () => {
  it.each<[Caller, number]>([
    ['guest', 401],
    ['stored', 401],
    ['cleared', 401],
    ['demoted', 401],
    ['named', 403],
    ['other', 403],
    ['otherRole', 403],
    ['direct', 200],
    ['directNamed', 200],
    ['included', 200],
    ['byRole', 200],
    ['promoted', 200],
    ['promotedToMore', 200],
    ['promotedNamed', 200],
  ])('G1: gives a caller who is %s the status %d', async (caller, status) => {
    expect(await statusFor([requirePrivilege('audit')], caller)).toBe(status)
    expect(await statusFor([requirePrivilege('Audit')], caller)).toBe(status)
    expect(await statusFor([requirePrivilege(['audit'])], caller)).toBe(status)
  })

  it.each<[Caller, number]>([
    ['guest', 401],
    ['named', 403],
    ['other', 200],
    ['otherRole', 200],
    ['direct', 200],
    ['included', 200],
    ['byRole', 200],
    ['promoted', 200],
  ])('G1: accepts any one name of an array: %s gets %d', async (caller, status) => {
    expect(await statusFor([requirePrivilege(['audit', 'browse'])], caller)).toBe(status)
    expect(await statusFor([requirePrivilege(['browse', 'AUDIT', 'WebAdmin'])], caller)).toBe(
      status,
    )
  })

  it.each<[Caller, number]>([
    ['guest', 401],
    ['named', 403],
    ['other', 403],
    ['direct', 403],
    ['promoted', 401],
    ['included', 200],
    ['byRole', 200],
    ['promotedToMore', 200],
  ])('G1: requires both names in two guards in a row: %s gets %d', async (caller, status) => {
    const both = [requirePrivilege('browse'), requirePrivilege('audit')]

    expect(await statusFor(both, caller)).toBe(status)
    expect(await statusFor(both.toReversed(), caller)).toBe(status)
  })

  it('G1: runs the rest once, and waits for it', async () => {
    const guard = requirePrivilege('audit')
    const steps: string[] = []
    const { visit } = makeGuarded([
      guard,
      async (_ctx, next) => {
        steps.push('in')
        await next()
        steps.push('out')
      },
      guard,
    ])

    const { status } = await visit('/guarded?as=direct')

    expect(status).toBe(200)
    expect(steps).toEqual(['in', 'out'])
  })

  it('G1: passes on what the handler throws', async () => {
    const { visit, handler } = makeGuarded([requirePrivilege('audit')])
    handler.mockImplementation(() => {
      throw Object.assign(new Error('sold out'), { status: 409, expose: true })
    })

    const { status, text } = await visit('/guarded?as=direct')

    expect([status, text]).toEqual([409, 'sold out'])
  })

  it('G1: does not keep the given array, so that later changes have no effect', async () => {
    const names = ['audit']
    const guard = requirePrivilege(names)
    names.push('browse')

    expect(await statusFor([guard], 'other')).toBe(403)
  })

  it('G1: sees the privileges of the stored session', async () => {
    const { visit, handler } = makeGuarded([requirePrivilege('audit')])
    const cookie = cookieOf(await visit('/guarded?as=byRole'))

    expect((await visit('/guarded', cookie)).status).toBe(200)
    expect((await visit('/guarded')).status).toBe(401)
    expect(handler).toHaveBeenCalledTimes(2)
  })

  it('P8, G1: treats __proto__ as a name like any other, which no session holds', async () => {
    const { visit } = makeGuarded([requirePrivilege(['__proto__', 'constructor', 'toString'])], {})

    expect((await visit('/guarded?as=guest')).status).toBe(401)
    expect((await visit('/guarded?as=included')).status).toBe(403)
  })
})

describe('requireUser', () => {
  it.each<[Caller, number]>([
    ['guest', 401],
    ['stored', 401],
    ['cleared', 401],
    ['demoted', 401],
    ['promoted', 401],
    ['named', 200],
    ['other', 200],
    ['otherRole', 200],
    ['direct', 200],
    ['byRole', 200],
    ['promotedNamed', 200],
  ])('G2: gives a caller who is %s the status %d', async (caller, status) => {
    expect(await statusFor([requireUser()], caller)).toBe(status)
  })
})

describe('a refusal', () => {
  it('G3: is a 401 for a guest, with a challenge that opens no password box', async () => {
    for (const guard of [requirePrivilege('audit'), requireUser()]) {
      const { visit, errors } = makeGuarded([guard])

      const response = await visit('/guarded')

      expect(response.status).toBe(401)
      expect(response.text).toBe('sign in first')
      expect(response.headers['www-authenticate']).toBe('Cookie realm="session"')
      expect(response.headers['vary']).toBe('Cookie')
      expect(errors).toEqual([
        expect.objectContaining({ status: 401, code: 'ERR_SESSION_GUEST', expose: true }),
      ])
    }
  })

  it('G3: is a 403 for a user without the privilege, and names it to the app', async () => {
    const { visit, errors } = makeGuarded([requirePrivilege(['audit', 'WebAdmin'])])

    const response = await visit('/guarded?as=named')

    expect(response.status).toBe(403)
    expect(response.text).toBe('not allowed: a privilege is missing')
    expect(response.headers).not.toHaveProperty('www-authenticate')
    expect(errors).toEqual([
      expect.objectContaining({
        status: 403,
        code: 'ERR_SESSION_PRIVILEGE',
        expose: true,
        privileges: ['audit', 'WebAdmin'],
      }),
    ])
  })

  it("G3: is rendered by the app's own error middleware", async () => {
    const app = new Koa()
    app.use(async (ctx, next) => {
      try {
        await next()
      } catch (error) {
        if (!(error instanceof SessionGuestError)) throw error
        ctx.status = error.status
        ctx.body = { code: error.code }
      }
    })
    app.use(session())
    app.use(requirePrivilege('audit'))

    const response = await request(app.callback()).get('/')

    expect(response.status).toBe(401)
    expect(response.body).toEqual({ code: 'ERR_SESSION_GUEST' })
  })

  it('G3: commits what the session has changed before', async () => {
    const { visit } = makeGuarded([requirePrivilege('audit')])

    const cookie = cookieOf(await visit('/guarded?as=named'))

    expect((await visit('/me', cookie)).body.userName).toBe('ann')
  })

  it('G3: becomes the response of onDenied, and the handler does not run', async () => {
    const denied: unknown[] = []
    const onDenied: GuardOptions['onDenied'] = async (ctx, error) => {
      await Promise.resolve()
      denied.push(error.code)
      ctx.redirect('/sign-in')
    }
    for (const guard of [requirePrivilege('audit', { onDenied }), requireUser({ onDenied })]) {
      const { visit, handler, errors } = makeGuarded([guard])

      const response: Response = await visit('/guarded')

      expect(response.status).toBe(302)
      expect(response.headers['location']).toBe('/sign-in')
      expect(handler).not.toHaveBeenCalled()
      expect(errors).toEqual([])
    }
    expect(denied).toEqual(['ERR_SESSION_GUEST', 'ERR_SESSION_GUEST'])
  })

  it('G3: goes to onDenied with the reason, and becomes the error that onDenied throws', async () => {
    const guard = requirePrivilege('audit', {
      onDenied: (ctx, error) => ctx.throw(404, error.code),
    })
    const { visit, handler } = makeGuarded([guard])

    const response = await visit('/guarded?as=other')

    expect([response.status, response.text]).toEqual([404, 'ERR_SESSION_PRIVILEGE'])
    expect(handler).not.toHaveBeenCalled()
  })

  it('G3: skips the handler even when onDenied does nothing', async () => {
    const { visit, handler } = makeGuarded([requirePrivilege('audit', { onDenied: () => {} })])

    expect((await visit('/guarded')).status).toBe(404)
    expect(handler).not.toHaveBeenCalled()
  })

  it('G3: does not call onDenied when the session may pass', async () => {
    const onDenied = vi.fn<() => void>()
    const { visit } = makeGuarded([requirePrivilege('audit', { onDenied })])

    expect((await visit('/guarded?as=direct')).status).toBe(200)
    expect(onDenied).not.toHaveBeenCalled()
  })
})

describe('a guard that cannot decide', () => {
  it.each<[string, unknown]>([
    ['nothing', undefined],
    ['null', null],
    ['an empty name', ''],
    ['a blank name', ' '],
    ['a name with spaces around', ' audit'],
    ['two names in one text', 'audit, browse'],
    ['a number', 1],
    ['an object', { privilege: 'audit' }],
    ['an empty array', []],
    ['an array with an empty name', ['audit', '']],
    ['an array with undefined', ['audit', undefined]],
    ['an array in an array', [['audit']]],
    ['a name with a comma in an array', ['audit,browse']],
  ])('G4: throws at creation for %s', (_, privilege: unknown) => {
    expect(() => Reflect.apply(requirePrivilege, undefined, [privilege])).toThrow(
      expect.objectContaining({ code: 'ERR_SESSION_PRIVILEGE_UNKNOWN', status: 500 }),
    )
  })

  it.each<[string, unknown]>([
    ['null', null],
    ['a function in place of options', () => {}],
    ['an option that is not known', { onDeny: () => {} }],
    ['onDenied that is not a function', { onDenied: '/sign-in' }],
    ['onDenied that is null', { onDenied: null }],
  ])('G4: throws at creation with %s', (_, options: unknown) => {
    const refused = expect.objectContaining({ code: 'ERR_SESSION_OPTION' })

    expect(() => Reflect.apply(requirePrivilege, undefined, ['audit', options])).toThrow(refused)
    expect(() => Reflect.apply(requireUser, undefined, [options])).toThrow(refused)
  })

  it.each([['typo'], [['audit', 'typo']], [['typo', 'audit']]])(
    'G4: answers 500 for %j, which the roles do not declare',
    async (names) => {
      for (const caller of ['guest', 'byRole', 'direct']) {
        const { visit, handler, errors } = makeGuarded([requirePrivilege(names)])

        const response = await visit(`/guarded?as=${caller}`)

        expect(response.status).toBe(500)
        expect(response.text).toBe('Internal Server Error')
        expect(handler).not.toHaveBeenCalled()
        expect(errors).toEqual([
          expect.objectContaining({
            code: 'ERR_SESSION_PRIVILEGE_UNKNOWN',
            message: 'the roles file does not declare "typo"',
          }),
        ])
      }
    },
  )

  it('G4: does not call onDenied for a name that is not declared', async () => {
    const onDenied = vi.fn<() => void>()
    const { visit } = makeGuarded([requirePrivilege('typo', { onDenied })])

    expect((await visit('/guarded')).status).toBe(500)
    expect(onDenied).not.toHaveBeenCalled()
  })

  it('G4: accepts any name without roles', async () => {
    const { visit } = makeGuarded([requirePrivilege('typo')], {})

    expect((await visit('/guarded')).status).toBe(401)
    expect((await visit('/guarded?as=direct')).status).toBe(403)
  })

  it.each([
    ['requirePrivilege', requirePrivilege('audit')],
    ['requireUser', requireUser()],
    ['one with onDenied', requireUser({ onDenied: (ctx) => ctx.redirect('/sign-in') })],
  ])('G4: answers 500 without session(), and names the remedy: %s', async (_, guard) => {
    const handler = vi.fn<() => void>()
    const errors: unknown[] = []
    const app = new Koa()
    app.on('error', (error) => errors.push(error))
    app.use(guard)
    app.use(handler)

    const response = await request(app.callback()).get('/')

    expect(response.status).toBe(500)
    expect(handler).not.toHaveBeenCalled()
    expect(errors).toEqual([
      expect.objectContaining({
        code: 'ERR_SESSION_NOT_MOUNTED',
        message: expect.stringContaining('mount session() with app.use() before the guard'),
      }),
    ])
  })

  it.each(['fail', 'guest'] as const)(
    'G4: lets no request pass while the store fails, with onStoreError "%s"',
    async (onStoreError) => {
      for (const guard of [requirePrivilege('audit'), requireUser()]) {
        const testApp = makeGuarded([guard], { roles, onStoreError })
        const cookie = cookieOf(await testApp.visit('/guarded?as=byRole'))
        testApp.handler.mockClear()
        testApp.store.faults.set('load', 'rejects')

        const response = await testApp.visit('/guarded', cookie)

        expect(response.status).toBe(503)
        expect(testApp.handler).not.toHaveBeenCalled()
      }
    },
  )

  it('G4: answers 503 with Retry-After while the store fails, and does not call onDenied', async () => {
    const onDenied = vi.fn<() => void>()
    const testApp = makeGuarded([requireUser({ onDenied })])
    const cookie = cookieOf(await testApp.visit('/guarded?as=byRole'))
    testApp.store.faults.set('load', 'rejects')

    const response = await testApp.visit('/guarded', cookie)

    expect(response.status).toBe(503)
    expect(response.headers['retry-after']).toBe('1')
    expect(onDenied).not.toHaveBeenCalled()
  })
})

describe('a guard in a router', () => {
  it('G1: has a name for debug output and stack traces', () => {
    expect(requirePrivilege('audit').name).toBe('requirePrivilege')
    expect(requirePrivilege(['audit'], { onDenied: () => {} }).name).toBe('requirePrivilege')
    expect(requireUser().name).toBe('requireUser')
  })

  it('G1: applies to its route, its method and its parameters only', async () => {
    const router = new Router()
    router.get('/open', answer)
    router.get('/stock/:item', requirePrivilege('audit'), answer)
    router.post('/stock/:item', answer)
    const { visit, app } = makeRouted(router)
    const cookie = cookieOf(await visit('/login?privileges=audit'))

    for (const path of [
      '/stock/tea',
      '/stock/tea/',
      '/stock/a%2Fb',
      '/STOCK/tea',
      '/stock/%2e%2e',
    ]) {
      expect((await visit(path)).status, path).toBe(401)
      expect((await visit(path, cookie)).status, path).toBe(200)
    }
    expect((await visit('/open')).status).toBe(200)
    expect((await request(app.callback()).head('/stock/tea')).status).toBe(401)
    expect((await request(app.callback()).post('/stock/tea')).status).toBe(200)
  })

  it('G1: applies to everything nested under router.use, with parameters in the prefix', async () => {
    const rooms = new Router()
    rooms.get('/', answer)
    rooms.get('/:room', requirePrivilege('audit'), answer)
    const houses = new Router({ prefix: '/houses/:house' })
    houses.use(requireUser())
    houses.get('/', answer)
    houses.use('/rooms', rooms.routes())
    const { visit } = makeRouted(houses)
    const named = cookieOf(await visit('/login?privileges='))
    const auditor = cookieOf(await visit('/login?privileges=audit'))

    const statuses = async (path: string): Promise<number[]> => {
      const responses = [await visit(path), await visit(path, named), await visit(path, auditor)]
      return responses.map(({ status }) => status)
    }

    expect(await statuses('/houses/1')).toEqual([401, 200, 200])
    expect(await statuses('/houses/1/rooms')).toEqual([401, 200, 200])
    expect(await statuses('/houses/1/rooms/2')).toEqual([401, 403, 200])
  })

  it('G1: works with session() on the router itself', async () => {
    const router = new Router()
    router.use(session({ roles }))
    router.get('/in', ({ session }) => void session.setPrivileges('audit'))
    router.get('/guarded', requirePrivilege('audit'), answer)
    const app = new Koa()
    app.use(router.routes())
    const agent = request.agent(app.callback())

    expect((await agent.get('/guarded')).status).toBe(401)
    await agent.get('/in')
    expect((await agent.get('/guarded')).status).toBe(200)
  })
})

function answer(ctx: { body: unknown }): void {
  ctx.body = 'inside'
}

function makeRouted(router: Router): TestApp {
  const testApp = makeApp({}, { roles })
  testApp.app.use(router.routes())
  testApp.app.use(router.allowedMethods())
  return testApp
}
