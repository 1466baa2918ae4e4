import type { SessionsOptions } from 'koa-user-sessions'
import { describe, expect, it } from 'vitest'

import { cookieOf, storeKinds } from '../support/apps.ts'
import { makeBearerApp, tokens } from '../support/bearer-app.ts'
import { decode } from '../support/tokens.ts'

/** The tolerance for a duration that was rounded, and counted from another second. */
function isJustBelow(limit: number): (found: number) => boolean {
  return (found) => found <= limit && found >= limit - 5
}

const inSeconds = async (options: SessionsOptions): Promise<number> => {
  const { token } = await makeBearerApp(options).open()
  const { exp, iat } = decode(token, 1)
  return Number(exp) - Number(iat)
}

describe('open()', () => {
  it('M7: returns the session and its token', async () => {
    const { sessions, events } = makeBearerApp()

    const { session, token } = await sessions.open({ userName: 'ann', applicationId: 'cli' })

    const { id } = session
    expect(session).toMatchObject({
      type: 'remote',
      userName: 'ann',
      isNew: false,
      idleTimeout: 60,
    })
    expect(decode(token, 1)).toMatchObject({ sub: 'ann', sid: id, client_id: 'cli' })
    expect(events).toEqual([
      { name: 'session:created', event: { id, userName: 'ann' } },
      { name: 'session:signedIn', event: { id, userName: 'ann' } },
    ])
    session.storage['cart'] = ['tea']
    await session.save()
    expect(await sessions.storage(id)).toEqual({ cart: ['tea'] })
  })

  it.each<[string, unknown]>([
    ['nothing', undefined],
    ['null', null],
    ['text', 'ann'],
    ['no user', { userName: undefined }],
    ['an empty user', { userName: '' }],
    ['a long user', { userName: 'x'.repeat(257) }],
    ['a user that is not text', { userName: ['ann'] }],
    ['no application', { applicationId: undefined }],
    ['an empty application', { applicationId: '' }],
    ['a long application', { applicationId: 'x'.repeat(65) }],
    ['an application with a line break', { applicationId: 'a\nb' }],
    ['an application that is not text', { applicationId: 7 }],
    ['an unknown name', { password: 'x' }],
    ['invalid privileges', { privileges: 7 }],
    ['privileges with a comma in an array', { privileges: ['a,b'] }],
    ['invalid roles', { roles: {} }],
    ['an idle timeout as text', { idleTimeout: '60' }],
    ['an idle timeout of NaN', { idleTimeout: Number.NaN }],
    ['an endless idle timeout', { idleTimeout: Infinity }],
    ['an idle timeout above a year', { idleTimeout: 525_601 }],
    ['a client of null', { client: null }],
  ])('M7: refuses %s, and stores nothing', async (_, input) => {
    const { sessions, store } = makeBearerApp()
    const isObject = typeof input === 'object' && input !== null
    const given = isObject ? { userName: 'ann', applicationId: 'cli', ...input } : input

    // @ts-expect-error as JavaScript code may pass it
    const opening: Promise<unknown> = sessions.open(given)

    await expect(opening).rejects.toThrow(TypeError)
    expect(store.calls).toEqual([])
  })

  it('M7: cleans and shortens what the client says about itself, and drops what it may not say', async () => {
    const { sessions, app } = makeBearerApp({
      applications: { cli: { name: 'Shop CLI', client: 'desktop', official: true } },
    })
    app.silent = true
    const client = {
      machineName: ' a\u202Eb\u0000c\r\nd ',
      systemUserName: 'x'.repeat(1000),
      appVersion: '2.4',
      deviceModel: 'MacBook Air',
      platform: 'macOS',
      systemVersion: '15',
      persistentID: 'device-7',
      ip: '::ffff:203.0.113.7',
      appName: 'Evil',
      isOfficialApp: true,
      country: 'XX',
    }

    const { session } = await sessions.open({ userName: 'ann', applicationId: 'cli', client })
    const [listed] = await sessions.list('ann')

    expect(await sessions.info(session.id)).toEqual(session.info)
    expect(session.info).toMatchObject({
      type: 'remote',
      userName: 'ann',
      machineName: 'abc d',
      systemUserName: 'x'.repeat(64),
      IPAddress: '203.0.113.7',
      hostType: 'mac',
      state: 'active',
      ID: session.id,
      persistentID: 'device-7',
    })
    expect(listed).toMatchObject({
      appId: 'cli',
      appName: 'Shop CLI',
      isOfficialApp: true,
      appVersion: '2.4',
      deviceModel: 'MacBook Air',
      platform: 'macOS',
      systemVersion: '15',
      country: '',
    })
  })

  it('M7: takes no application name that is missing from the options', async () => {
    const { sessions } = makeBearerApp()
    const client: object = { appName: 'Shop', isOfficialApp: true }

    await sessions.open({ userName: 'ann', applicationId: 'cli', client })

    expect(await sessions.list('ann')).toEqual([
      expect.objectContaining({ appId: 'cli', appName: '', isOfficialApp: false }),
    ])
  })

  it.each([
    ['Windows', 'windows'],
    ['windows', 'windows'],
    ['macOS', 'mac'],
    ['Linux', 'linux'],
    ['iOS', 'ios'],
    ['iPadOS', 'ios'],
    ['Android', 'android'],
    ['Haiku', 'other'],
    ['constructor', 'other'],
    ['', 'other'],
    [undefined, 'other'],
  ] as const)('S7: maps the platform %j to the host type %s', async (platform, hostType) => {
    const { sessions } = makeBearerApp()
    const client = platform === undefined ? {} : { platform, ip: 'nowhere' }

    const { session } = await sessions.open({ userName: 'ann', applicationId: 'cli', client })

    expect(session.info).toMatchObject({ hostType, IPAddress: '', persistentID: session.id })
  })

  it('S4: raises an idle timeout to the floor, and keeps a longer one', async () => {
    const testApp = makeBearerApp()
    const short = await testApp.open({ idleTimeout: 1 })
    const long = await testApp.open({ idleTimeout: 600 })

    expect((await testApp.call('/me', short.token)).body.idleTimeout).toBe(60)
    expect((await testApp.call('/me', long.token)).body.idleTimeout).toBe(600)
  })

  it('X1: makes a token that expires with the session, or after its lifetime', async () => {
    const short = { ...tokens, lifetimeSeconds: 90 }

    expect(await inSeconds({})).toSatisfy(isJustBelow(43_200 * 60))
    expect(await inSeconds({ tokens: short })).toSatisfy(isJustBelow(90))
    expect(await inSeconds({ tokens: short, absoluteTimeout: Infinity })).toSatisfy(isJustBelow(90))
    expect(await inSeconds({ absoluteTimeout: 60 })).toSatisfy(isJustBelow(3600))
  })

  it('P2: grants declared privileges when remote sessions have privileges', async () => {
    const roles = {
      privileges: [{ privilege: 'browse' }, { privilege: 'audit' }],
      roles: [{ role: 'Clerk', privileges: ['browse'] }],
    }
    const input = { privileges: ['AUDIT', 'typo'], roles: 'clerk' }
    const privileged = makeBearerApp({ roles })
    const plain = makeBearerApp({ roles, privilegedTypes: ['web'] })

    const one = await privileged.open(input)
    const other = await plain.open(input)

    const { privileges } = (await privileged.call('/me', one.token)).body
    expect(privileges.toSorted()).toEqual(['audit', 'browse'])
    expect((await plain.call('/me', other.token)).body.privileges).toEqual([])
    expect((await plain.call('/audit', other.token)).status).toBe(403)
    expect((await plain.call('/user', other.token)).status).toBe(200)
  })

  it.each(storeKinds)(
    'M6: counts together with the sessions of browsers, in a %s',
    async (_, makeStore) => {
      const maxSessions = { perUser: 2, onExceed: 'terminateOldest' } as const
      const testApp = makeBearerApp({ store: makeStore(), maxSessions })
      const cookie = cookieOf(await testApp.visit('/login?user=ann'))
      const first = await testApp.open()
      const second = await testApp.open()

      expect((await testApp.visit('/user', cookie)).status).toBe(401)
      expect((await testApp.call('/user', first.token)).status).toBe(200)
      await testApp.visit('/login?user=ann')
      expect((await testApp.call('/user', first.token)).status).toBe(401)
      expect((await testApp.call('/user', second.token)).status).toBe(200)
      expect(testApp.events.filter(({ name }) => name === 'session:ended')).toHaveLength(2)
    },
  )

  it.each(storeKinds)('M6: is refused over the limit, in a %s', async (_, makeStore) => {
    const maxSessions = { perUser: 1, onExceed: 'refuse' } as const
    const testApp = makeBearerApp({ store: makeStore(), maxSessions })
    await testApp.visit('/login?user=ann')
    const { token } = await testApp.open({ userName: 'bob' })

    await expect(testApp.open()).rejects.toMatchObject({ code: 'ERR_SESSION_LIMIT', status: 403 })
    expect((await testApp.visit('/login?user=bob')).status).toBe(403)
    expect((await testApp.call('/user', token)).status).toBe(200)
    expect(await testApp.sessions.list('ann')).toHaveLength(1)
  })

  it('F1: rejects when the store fails', async () => {
    const testApp = makeBearerApp()
    testApp.store.faults.set('create', 'rejects')

    await expect(testApp.open()).rejects.toMatchObject({ code: 'ERR_SESSION_STORE', status: 503 })
    expect(testApp.events.map(({ name }) => name)).toEqual(['session:storeError'])
  })
})
