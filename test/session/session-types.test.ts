import { hostname } from 'node:os'

import { requirePrivilege, requireUser } from 'koa-user-sessions'
import type { Session, SessionsOptions, SessionType } from 'koa-user-sessions'
import supertest from 'supertest'
import { describe, expect, it } from 'vitest'

import { read } from '../store/contract-parts.ts'
import { cookieOf, makeApp, setCookies } from '../support/apps.ts'
import type { Handler, TestApp } from '../support/apps.ts'
import { makeKey, tokensWith } from '../support/tokens.ts'

const tokens = tokensWith(makeKey('HS256'))

type Kind = SessionType | 'nested'

const audit = requirePrivilege('audit')
const user = requireUser()
const guards: Readonly<Record<string, Handler>> = {
  '/audit': (ctx) => audit(ctx, async () => {}),
  '/user': (ctx) => user(ctx, async () => {}),
}

/** The result of a function on a session of this kind, in a request if it needs one. */
async function inSession<T>(
  kind: Kind,
  options: SessionsOptions,
  look: (session: Session) => T,
  applicationId = 'cli',
): Promise<T> {
  const seen: T[] = []
  const all = { tokens, ...options, ...(kind === 'rest' && { type: kind }) }
  const testApp = makeApp({ '/look': ({ session }) => void seen.push(look(session)) }, all)
  const { sessions, visit, app } = testApp
  const ask = (token: string) =>
    supertest(app.callback()).get('/look').set('Authorization', `Bearer ${token}`)

  if (kind === 'storedProcedure') seen.push(look(await sessions.storedProcedure()))
  else if (kind === 'web' || kind === 'rest') {
    const response = await visit('/login?privileges=')
    await visit('/look', setCookies(response).length > 0 ? cookieOf(response) : undefined)
  } else {
    const { session, token } = await sessions.open({ userName: 'ann', applicationId })
    await ask(kind === 'remote' ? token : await session.createNestedToken({ userName: 'bob' }))
  }
  if (testApp.errors.length > 0) throw testApp.errors[0]
  return seen[0]!
}

/** The calls that P7 restricts. */
function tryPrivileges(session: Session): readonly unknown[] {
  return [
    session.setPrivileges('browse'),
    session.hasPrivilege('browse'),
    session.getPrivileges(),
    session.isGuest(),
    session.promote('audit') > 0,
    session.hasPrivilege('audit'),
    session.clearPrivileges(),
    session.isGuest(),
  ]
}

const has = [true, true, ['browse'], false, true, true, true, true]
const hasNot = [false, false, [], true, false, false, false, true]

const kindsOf = (session: Session): boolean[] => [
  session.isWebClient(),
  session.isDesktopClient(),
  session.isNotWebOrDesktopClient(),
]

const tokenOf = ({ token, applicationId }: Session): unknown => ({
  applicationId,
  sub: token?.sub,
  isFrozen: token !== null && Object.isFrozen(token) && Object.isFrozen(token.act ?? token),
})

const statusOf = async (testApp: TestApp, path: string, token: string): Promise<number> =>
  (await supertest(testApp.app.callback()).get(path).set('Authorization', `Bearer ${token}`)).status

describe('the types of sessions', () => {
  const four = ['web', 'rest', 'remote', 'storedProcedure'] as const

  it.each<[SessionType, SessionsOptions, readonly unknown[]]>([
    ['web', {}, has],
    ['rest', {}, has],
    ['remote', {}, hasNot],
    ['storedProcedure', {}, hasNot],
    ['web', { privilegedTypes: ['web', 'rest', 'remote'] }, has],
    ['rest', { privilegedTypes: ['web', 'rest', 'remote'] }, has],
    ['remote', { privilegedTypes: ['web', 'rest', 'remote'] }, has],
    ['storedProcedure', { privilegedTypes: ['web', 'rest', 'remote'] }, hasNot],
    ['storedProcedure', { privilegedTypes: ['storedProcedure'] }, has],
    ['web', { privilegedTypes: ['remote'] }, hasNot],
    ['rest', { privilegedTypes: [] }, hasNot],
    ['remote', { privilegedTypes: [] }, hasNot],
  ])('P7: have privileges as the options say: %s with %j', async (type, options, expected) => {
    expect(await inSession(type, options, tryPrivileges)).toEqual(expected)
    expect(await inSession(type, options, (session) => session.type)).toBe(type)
  })

  it.each([{}, { privilegedTypes: [] }, { privilegedTypes: ['web', 'remote'] }] as const)(
    'P7: do not matter to nested contexts, which have what was granted: %j',
    async (options) => {
      const testApp = makeApp({}, { tokens, ...options })
      const { session } = await testApp.sessions.open({ userName: 'ann', applicationId: 'cli' })
      const input = { userName: 'bob', privileges: 'browse' }
      const token = await session.createNestedToken(input)

      const seen = await testApp.sessions.run(token, (nested) => [
        nested.hasPrivilege('browse'),
        nested.getPrivileges(),
        nested.isGuest(),
        nested.promote('audit') > 0,
        nested.hasPrivilege('audit'),
      ])

      expect(seen).toEqual([true, ['browse'], false, true, true])
    },
  )

  it('P7: give no privileges in open() when remote sessions have none', async () => {
    const testApp = makeApp({}, { tokens })
    const input = { userName: 'ann', applicationId: 'cli', privileges: 'audit' }
    const { session } = await testApp.sessions.open(input)

    expect(session.isGuest()).toBe(true)
    expect(await read(testApp.store, session.id)).toMatchObject({ privileges: [], roles: [] })
    expect(await testApp.sessions.setPrivileges('ann', 'audit')).toBe(0)
    await session.reload()
    expect(session.isGuest()).toBe(true)
  })

  it.each<[Kind, string, unknown]>([
    ['web', '', 'web'],
    ['rest', '', 'web'],
    ['remote', 'site', 'web'],
    ['remote', 'desk', 'desktop'],
    ['remote', 'cli', 'other'],
    ['remote', 'unknown', 'other'],
    ['remote', 'constructor', 'other'],
    ['nested', 'desk', 'desktop'],
    ['storedProcedure', '', 'other'],
  ])('K3: have one kind of client: %s of "%s" is %s', async (kind, applicationId, expected) => {
    const applications = {
      site: { name: 'Site', client: 'web' },
      desk: { name: 'Desk', client: 'desktop' },
      cli: { name: 'CLI', client: 'other' },
    } as const
    const seen = await inSession(kind, { applications }, kindsOf, applicationId || 'cli')

    expect(seen).toEqual(['web', 'desktop', 'other'].map((one) => one === expected))
  })

  it.each(four)('K5: know their user, their server and its code: %s', async (type) => {
    const options = { instanceName: 'shop-1', serverCode: 'S7' }
    const userName = type === 'storedProcedure' ? 'system' : 'ann'

    expect(
      await inSession(type, options, ({ user: one, instanceName, serverCode }) => ({
        user: one,
        instanceName,
        serverCode,
      })),
    ).toEqual({ user: { name: userName }, instanceName: 'shop-1', serverCode: 'S7' })
    expect(await inSession(type, {}, (one) => [one.instanceName, one.serverCode])).toEqual([
      hostname(),
      '',
    ])
  })

  it('K5: have a frozen token if they came with one', async () => {
    expect(await inSession('remote', {}, tokenOf)).toEqual({
      applicationId: 'cli',
      sub: 'ann',
      isFrozen: true,
    })
    expect(await inSession('nested', {}, tokenOf)).toEqual({
      applicationId: null,
      sub: 'bob',
      isFrozen: true,
    })
    for (const type of ['web', 'rest', 'storedProcedure'] as const) {
      expect(await inSession(type, {}, tokenOf)).toEqual({
        applicationId: null,
        sub: undefined,
        isFrozen: false,
      })
      expect(await inSession(type, {}, ({ token }) => token)).toBeNull()
    }
  })

  it('K5: have read-only names', async () => {
    const tried = await inSession('remote', {}, (session) =>
      ['user', 'token', 'applicationId', 'instanceName', 'serverCode', 'actor'].map((name) => {
        try {
          return Reflect.set(session, name, 'x')
        } catch (error) {
          return error instanceof TypeError
        }
      }),
    )

    expect(tried).toEqual([true, true, true, true, true, true])
    expect(await inSession('remote', {}, ({ userName }) => userName)).toBe('ann')
  })

  it('K5: have no token after leaving their session', async () => {
    const testApp = makeApp(
      {
        '/leave': (ctx) => {
          ctx.session = null
          ctx.body = [ctx.session.token, ctx.session.applicationId, ctx.session.userName]
        },
      },
      { tokens },
    )
    const { token } = await testApp.sessions.open({ userName: 'ann', applicationId: 'cli' })
    const asked = supertest(testApp.app.callback()).get('/leave')

    expect((await asked.set('Authorization', `Bearer ${token}`)).body).toEqual([null, null, ''])
  })
})

describe('guards for bearer callers', () => {
  it.each<[SessionsOptions, string | undefined, number]>([
    [{}, undefined, 403],
    [{}, 'audit', 403],
    [{ privilegedTypes: ['remote'] }, undefined, 403],
    [{ privilegedTypes: ['remote'] }, 'browse', 403],
    [{ privilegedTypes: ['remote'] }, 'audit', 200],
  ])('G1: with %j and the grant %s answer %d', async (options, privileges, status) => {
    const testApp = makeApp(guards, { tokens, ...options })
    const granted = privileges === undefined ? {} : { privileges }
    const input = { userName: 'ann', applicationId: 'cli', ...granted }
    const { token } = await testApp.sessions.open(input)

    expect(await statusOf(testApp, '/audit', token)).toBe(status)
  })

  it('G2: let remote sessions through as long as they live', async () => {
    const testApp = makeApp(guards, { tokens })
    const { session, token } = await testApp.sessions.open({
      userName: 'ann',
      applicationId: 'cli',
    })

    expect(await statusOf(testApp, '/user', token)).toBe(200)
    await testApp.sessions.terminate(session.id)
    expect(await statusOf(testApp, '/user', token)).toBe(401)
    expect(await statusOf(testApp, '/audit', token)).toBe(401)
  })
})
