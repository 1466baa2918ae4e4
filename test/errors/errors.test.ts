import Koa from 'koa'
import * as entry from 'koa-user-sessions'
import {
  SessionCrossSiteError,
  SessionEndedError,
  SessionError,
  SessionGuestError,
  SessionHeadersSentError,
  SessionLimitError,
  SessionLockTimeoutError,
  SessionNotMountedError,
  SessionOptionError,
  SessionPrivilegeError,
  SessionPrivilegeUnknownError,
  SessionRolesError,
  SessionStoreError,
  SessionTokenError,
  StorageKeyError,
  StorageSizeError,
  StorageValueError,
} from 'koa-user-sessions'
import type { ErrorHeaders, SessionErrorCode } from 'koa-user-sessions'
import supertest from 'supertest'
import { describe, expect, it } from 'vitest'

import * as errors from '../../src/errors/errors.ts'

/** What is promised about the error with a code. */
interface Promised {
  readonly error: Error
  readonly name: string
  /** The HTTP status; `undefined` if the error never occurs in a request. */
  readonly status: number | undefined
  readonly expose: boolean
  readonly headers?: ErrorHeaders
}

const cookieChallenge = { 'WWW-Authenticate': 'Cookie realm="session"' }
const problems = [{ path: '$.roles', problem: 'must be an array' }]

// A record, so that the compiler demands each code that is added.
const promised: Record<SessionErrorCode, Promised> = {
  ERR_SESSION_OPTION: {
    error: new SessionOptionError('"type" option must be one of "web", "rest"'),
    name: 'SessionOptionError',
    status: undefined,
    expose: false,
  },
  ERR_SESSION_ROLES: {
    error: new SessionRolesError('roles.json', problems),
    name: 'SessionRolesError',
    status: 500,
    expose: false,
  },
  ERR_SESSION_GUEST: {
    error: new SessionGuestError(),
    name: 'SessionGuestError',
    status: 401,
    expose: true,
    headers: cookieChallenge,
  },
  ERR_SESSION_PRIVILEGE: {
    error: new SessionPrivilegeError(['WebAdmin']),
    name: 'SessionPrivilegeError',
    status: 403,
    expose: true,
  },
  ERR_SESSION_PRIVILEGE_UNKNOWN: {
    error: new SessionPrivilegeUnknownError('the roles file does not declare "nope"'),
    name: 'SessionPrivilegeUnknownError',
    status: 500,
    expose: false,
  },
  ERR_SESSION_NOT_MOUNTED: {
    error: new SessionNotMountedError(),
    name: 'SessionNotMountedError',
    status: 500,
    expose: false,
  },
  ERR_SESSION_CROSS_SITE: {
    error: new SessionCrossSiteError(),
    name: 'SessionCrossSiteError',
    status: 403,
    expose: true,
  },
  ERR_SESSION_ENDED: {
    error: new SessionEndedError(),
    name: 'SessionEndedError',
    status: 401,
    expose: true,
    headers: cookieChallenge,
  },
  ERR_SESSION_STORE: {
    error: new SessionStoreError('the session store failed'),
    name: 'SessionStoreError',
    status: 503,
    expose: false,
    headers: { 'Retry-After': '1' },
  },
  ERR_SESSION_STORAGE_VALUE: {
    error: new StorageValueError('storage.a[0]', 'is a bigint, which JSON cannot hold'),
    name: 'StorageValueError',
    status: 500,
    expose: false,
  },
  ERR_SESSION_STORAGE_KEY: {
    error: new StorageKeyError('storage.a', 'takes no name "constructor"'),
    name: 'StorageKeyError',
    status: 500,
    expose: false,
  },
  ERR_SESSION_STORAGE_SIZE: {
    error: new StorageSizeError('storage would pass its limits of 10 bytes and 2 keys'),
    name: 'StorageSizeError',
    status: 500,
    expose: false,
  },
  ERR_SESSION_LOCK_TIMEOUT: {
    error: new SessionLockTimeoutError('the turn did not come'),
    name: 'SessionLockTimeoutError',
    status: 503,
    expose: false,
    headers: { 'Retry-After': '1' },
  },
  ERR_SESSION_TOKEN: {
    error: new SessionTokenError('invalid_token'),
    name: 'SessionTokenError',
    status: 401,
    expose: true,
    headers: { 'WWW-Authenticate': 'Bearer realm="session", error="invalid_token"' },
  },
  ERR_SESSION_LIMIT: {
    error: new SessionLimitError(),
    name: 'SessionLimitError',
    status: 403,
    expose: true,
  },
  ERR_SESSION_HEADERS_SENT: {
    error: new SessionHeadersSentError(),
    name: 'SessionHeadersSentError',
    status: 500,
    expose: false,
  },
}

const codes = Object.keys(promised)
const all = Object.entries(promised)

describe('every error', () => {
  it.each(all)(
    '§8: has the code %s, a status, and a flag for showing its message',
    (code, given) => {
      const { error, name, status, expose, headers } = given

      expect(error).toMatchObject({ code, name, ...(status !== undefined && { status }) })
      expect(Reflect.get(error, 'expose') ?? false).toBe(expose)
      expect(Reflect.get(error, 'headers')).toEqual(headers)
      expect(error).toBeInstanceOf(Error)
      expect(error.constructor.name).toBe(name)
      expect(String(error)).toBe(`${name}: ${error.message}`)
      expect(error.stack).toContain(`${name}: `)
    },
  )

  it.each(all.filter(([code]) => code !== 'ERR_SESSION_OPTION'))(
    '§8: is a SessionError: %s',
    (_, { error }) => {
      expect(error).toBeInstanceOf(SessionError)
      expect(error).not.toBeInstanceOf(TypeError)
    },
  )

  it('§8: is a TypeError for misuse of an option', () => {
    const { error } = promised.ERR_SESSION_OPTION

    expect(error).toBeInstanceOf(TypeError)
    expect(error).not.toBeInstanceOf(SessionError)
    expect('status' in error).toBe(false)
  })

  it('§8: is exported, and has a code of its own', () => {
    const names = Object.values(promised).map(({ name }) => name)
    const exported = Object.keys(entry).filter((name) => name.endsWith('Error'))

    expect(exported.toSorted()).toEqual([...names, 'SessionError'].toSorted())
    expect(
      Object.keys(errors)
        .filter((name) => name.endsWith('Error'))
        .toSorted(),
    ).toEqual(exported.toSorted())
    expect(new Set(codes).size).toBe(16)
  })

  it.each(all)('§8: has a message in one clause: %s', (code, { error }) => {
    const [first = ''] = error.message.split('\n')

    expect(first).not.toMatch(/\.$/)
    expect(first, code).toMatch(/^["a-z]/)
  })
})

describe('what errors carry', () => {
  it('R2: lists the problems of a roles file, and repeats them in the message', () => {
    const error = new SessionRolesError('roles.json', [
      ...problems,
      { path: '$.privileges[1]', problem: 'must be an object' },
    ])

    expect(error.problems).toHaveLength(2)
    expect(error.message).toBe(
      'roles.json cannot be used:\n' +
        '  $.roles: must be an array\n' +
        '  $.privileges[1]: must be an object',
    )
  })

  it('G1: names the privileges of which one was required, but not to the client', () => {
    const error = new SessionPrivilegeError(['WebAdmin', 'audit'])

    expect(error.privileges).toEqual(['WebAdmin', 'audit'])
    expect(error.message).not.toContain('WebAdmin')
  })

  it('T5: names the path of a value', () => {
    expect(new StorageValueError('storage.a[0]', 'is NaN').path).toBe('storage.a[0]')
    expect(new StorageValueError('storage.a[0]', 'is NaN').message).toBe('storage.a[0] is NaN')
    expect(new StorageKeyError('storage.a', 'takes no name "x"').path).toBe('storage.a')
  })

  it('F1: keeps the error of the store as its cause', () => {
    const cause = new Error('ECONNREFUSED')

    expect(new SessionStoreError('the session store failed', { cause }).cause).toBe(cause)
    expect('cause' in new SessionStoreError('the session store failed')).toBe(false)
  })

  it('L7: has its own headers, so that one response cannot change the next', () => {
    const error = new SessionGuestError()
    error.headers['Set-Cookie'] = 'a=b'

    expect(new SessionGuestError().headers).toEqual(cookieChallenge)
    expect(new SessionStoreError('x').headers).not.toBe(new SessionStoreError('x').headers)
  })
})

describe('the response of Koa', () => {
  const statusTexts: Readonly<Record<number, string>> = {
    500: 'Internal Server Error',
    503: 'Service Unavailable',
  }

  it.each(all)('G3: has the status and the headers of %s', async (_, given) => {
    const app = new Koa()
    app.silent = true
    app.use(() => {
      throw given.error
    })

    const response = await supertest(app.callback()).get('/')

    const status = given.status ?? 500
    expect(response.status).toBe(status)
    expect(response.text).toBe(given.expose ? given.error.message : statusTexts[status])
    expect(response.headers['www-authenticate']).toBe(given.headers?.['WWW-Authenticate'])
    expect(response.headers['retry-after']).toBe(given.headers?.['Retry-After'])
  })

  it('X2: has a challenge with every 401', () => {
    const without = all.filter(
      ([, { status, headers }]) => status === 401 && !headers?.['WWW-Authenticate'],
    )

    expect(without).toEqual([])
  })
})
