import * as fc from 'fast-check'
import type { ClientDescription } from 'koa-user-sessions'
import { unknownClient } from 'koa-user-sessions/store'
import { describe, expect, it } from 'vitest'

import { clientTexts } from '../../src/client/description.ts'
import { sessionTypes } from '../../src/store/record.ts'
import type { SessionRecord } from '../../src/store/record.ts'
import {
  encodeActivity,
  decodeSession,
  encodeSession,
  partsOf,
} from '../../src/store/session-text.ts'
import { maxRevision } from '../../src/store/stored-session.ts'
import type { StoredSession } from '../../src/store/stored-session.ts'
import { awkwardTexts, newHash, plain } from './contract-parts.ts'

const id = '5f0c1c0e-7d3b-4a53-9d5a-3f6d1f0a7b11'
const createdAt = 1_763_000_000_000
const hash = 'a'.repeat(43)
const otherHash = `${'B-_9'.repeat(10)}xyz`

const guest: StoredSession = {
  record: {
    id,
    type: 'web',
    createdAt,
    signedInAt: 0,
    endsAt: Infinity,
    generation: 0,
    idleTimeoutMs: 3_600_000,
    userName: '',
    privileges: [],
    roles: [],
    ip: '',
    client: unknownClient,
    storage: new Map(),
  },
  activeAt: createdAt,
  isPostponed: false,
  secrets: [{ hash, madeAt: createdAt, isJoined: false, rotatedAt: 0 }],
  otps: [],
  revision: 0,
}

const user = having(
  {
    ...guest,
    activeAt: createdAt + 60_000,
    isPostponed: true,
    secrets: [
      { hash, madeAt: createdAt, isJoined: false, rotatedAt: createdAt + 35 },
      { hash: otherHash, madeAt: createdAt + 36, isJoined: true, rotatedAt: 0 },
    ],
    otps: [{ hash, goodUntil: createdAt + 1296 }],
    revision: 35,
  },
  {
    signedInAt: createdAt + 1,
    endsAt: createdAt + 2_592_000_000,
    userName: 'ann',
    privileges: ['browse', 'audit'],
    roles: ['Clerk'],
    ip: '2001:db8::1',
    client: { ...unknownClient, appName: 'Firefox', persistentID: 'x', isOfficialApp: true },
    storage: new Map([
      ['cart', '["tea"]'],
      ['n', '1'],
    ]),
  },
)

const instant = fc.integer({ min: 0, max: 36 ** 9 - 1 })
const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 30 }),
  // Lone surrogates, line breaks, and the characters of the format itself.
  fc.array(fc.integer({ min: 0, max: 0xff_ff }), { maxLength: 8 }).map(fromUnits),
  fc.constantFrom(...awkwardTexts.map(([, awkward]) => awkward)),
  fc.constantFrom('\n', '\t', '\tuann', '\npWebAdmin\t1', '\tp', '2a', '\\', '\\n', '\\u000a', '"'),
)
const hashes = fc
  .base64String({ minLength: 43, maxLength: 60 })
  .map((base64) =>
    base64.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', 'A').slice(0, 43),
  )
const later = fc.integer({ min: 0, max: 2 ** 40 })

/** Anything that a store may keep. */
const anySession: fc.Arbitrary<StoredSession> = fc
  .record({
    type: fc.constantFrom(...sessionTypes),
    created: fc.integer({ min: 1, max: 2 ** 41 }),
    activeAt: instant,
    signedIn: fc.option(later),
    ends: fc.option(later),
    idleTimeoutMs: fc.oneof(fc.integer({ min: 1, max: 2 ** 45 }), fc.constant(Infinity)),
    userName: text,
    privileges: fc.array(text, { maxLength: 4 }),
    roles: fc.array(text, { maxLength: 4 }),
    ip: text,
    texts: fc.array(text, { maxLength: clientTexts.length }),
    isOfficialApp: fc.boolean(),
    storage: fc.array(fc.tuple(text, fc.json()), { maxLength: 5 }),
    isPostponed: fc.boolean(),
    secrets: fc.array(fc.tuple(hashes, later, fc.option(later)), { maxLength: 3 }),
    joined: fc.array(fc.tuple(hashes, later, fc.option(later)), { maxLength: 3 }),
    otps: fc.array(fc.tuple(hashes, later), { maxLength: 32 }),
    revision: fc.integer({ min: 0, max: maxRevision }),
    generation: fc.integer({ min: 0, max: 2 ** 40 }),
  })
  .map(({ created, signedIn, ends, texts, isOfficialApp, storage, secrets, joined, ...parts }) => {
    const { type, generation, idleTimeoutMs, userName, privileges, roles, ip, ...others } = parts
    const { otps, activeAt, isPostponed, revision } = others
    const known = Object.fromEntries(clientTexts.map((name, index) => [name, texts[index] ?? '']))
    const secretOf =
      (isJoined: boolean) =>
      ([one, made, rotated]: (typeof secrets)[number]) => ({
        hash: one,
        madeAt: created + made,
        isJoined,
        rotatedAt: rotated === null ? 0 : created + rotated,
      })
    return {
      record: {
        id,
        type,
        createdAt: created,
        signedInAt: signedIn === null ? 0 : created + signedIn,
        endsAt: ends === null ? Infinity : created + ends,
        generation,
        idleTimeoutMs,
        userName,
        privileges,
        roles,
        ip,
        client: { ...unknownClient, ...known, isOfficialApp },
        storage: new Map(storage),
      },
      activeAt,
      isPostponed,
      secrets: [...secrets.map(secretOf(false)), ...joined.map(secretOf(true))],
      otps: otps.map(([one, left]) => ({ hash: one, goodUntil: created + left })),
      revision,
    }
  })

describe('the text of a session', () => {
  it('T2: follows the format, for a guest', () => {
    const body = `mhwsoi68\ti255s0\ts${hash}0`

    expect(encodeSession(guest)).toBe(`2a0mhwsoi680000\tw${checkOf('000w', body)}${body}`)
  })

  it('T2: follows the format, for a user with everything', () => {
    const items = [
      'mhwsoi68',
      'i255s0',
      'n1',
      'e16v7k00',
      'uann',
      'a2001:db8::1',
      'AFirefox',
      'Kx',
      'L1',
      `s${hash}0-z`,
      `j${otherHash}10`,
      'pbrowse',
      'paudit',
      'rClerk',
      `o${hash}100`,
    ]
    const body = items.join('\t')

    expect(encodeSession(user)).toBe(
      `2p0mhwspsgw00z2\tw${checkOf('00zw', body)}${body}\ncart\t["tea"]\nn\t1`,
    )
  })

  it('T2: reads back as the session that it was made from', () => {
    fc.assert(
      fc.property(anySession, (session) => {
        const encoded = encodeSession(session)

        expect(read(encoded)).toEqual(withPlainStorage(session))
        // What Redis keeps is UTF-8.
        expect(Buffer.from(encoded).toString()).toBe(encoded)
      }),
      { numRuns: 500 },
    )
  })

  it('H1: has one line for the head and one for each name, whatever the texts', () => {
    fc.assert(
      fc.property(anySession, (session) => {
        const lines = encodeSession(session).split('\n')

        expect(lines).toHaveLength(1 + session.record.storage.size)
        for (const line of lines.slice(1)) expect(line.split('\t')).toHaveLength(2)
        expect(lines.join('')).not.toMatch(/[\r\0]/)
      }),
      { numRuns: 300 },
    )
  })

  it('L4: has state and activity at the bytes that a refresh writes', () => {
    fc.assert(
      fc.property(anySession, instant, fc.boolean(), (session, activeAt, isPostponed) => {
        const bytes = Buffer.from(encodeSession(session))
        const active = encodeActivity({ activeAt, isPostponed })

        bytes.write(active, 1)

        expect(active).toHaveLength(10)
        expect(read(bytes.toString())).toEqual(
          withPlainStorage({ ...session, activeAt, isPostponed }),
        )
        expect(bytes.toString('latin1', 11, 14)).toBe(partsOf(session).revision)
      }),
      { numRuns: 300 },
    )
  })

  it('T2: keeps 32 one-time tokens and 8 secrets', () => {
    const otps = Array.from({ length: 32 }, (_, index) => ({
      hash: newHash(),
      goodUntil: createdAt + index,
    }))
    const secrets = Array.from({ length: 8 }, (_, index) => ({
      hash: newHash(),
      madeAt: createdAt + index,
      isJoined: index > 0,
      rotatedAt: 0,
    }))
    const session = { ...guest, otps, secrets }

    expect(read(encodeSession(session))).toEqual(session)
  })

  it.each(sessionTypes)('T2: keeps the type %s', (type) => {
    expect(read(encodeSession(having(guest, { type })))?.record.type).toBe(type)
  })

  it('M8: keeps the absence of an idle timeout and of an absolute end', () => {
    const endless = having(guest, { idleTimeoutMs: Infinity, endsAt: Infinity })

    expect(encodeSession(endless)).not.toMatch(/\t[ie]/)
    expect(read(encodeSession(endless))).toEqual(endless)
  })

  it('L5: reads an end beyond all dates as none', () => {
    const session = having(guest, { endsAt: 9e15 })

    expect(read(encodeSession(session))?.record.endsAt).toBe(Infinity)
  })

  it('L4: rounds no idle timeout down, and no instant to before the creation', () => {
    const session = having(guest, { idleTimeoutMs: 0.5, signedInAt: createdAt - 5 })

    expect(read(encodeSession(session))?.record).toMatchObject({
      idleTimeoutMs: 1,
      signedInAt: createdAt,
    })
  })

  it('T2: reads each text of a client on its own, and an official app by its mark alone', () => {
    expect(clientTexts).toHaveLength(11)
    const clients = clientTexts.flatMap((name) => [
      { ...unknownClient, [name]: '1' },
      { ...unknownClient, [name]: '1', isOfficialApp: true },
    ])

    const known = clients.map((client) => read(encodeSession(having(guest, { client }))))

    expect(known.map((session) => session?.record.client)).toEqual(clients)
    expect(new Set(clients.map((client) => encodeSession(having(guest, { client })))).size).toBe(22)
  })

  it('T2: contains nothing about an unknown client', () => {
    expect(read(encodeSession(guest))?.record.client).toBe(unknownClient)
    expect(encodeSession(guest)).not.toMatch(/\t[A-L]/)
  })

  it('H1: returns one frozen client for one text, which no request can change', () => {
    const appName = `App ${newHash()}`
    const session = having(guest, { client: { ...unknownClient, appName } })

    const [one, other] = [read(encodeSession(session)), read(encodeSession(session))]

    expect(one?.record.client).toBe(other?.record.client)
    expect(Object.isFrozen(one?.record.client)).toBe(true)
    expect(() =>
      Reflect.apply(Object.assign, undefined, [one!.record.client, { appName: '' }]),
    ).toThrow(TypeError)
  })

  it('H1: follows changes to a client object by its app', () => {
    const client: ClientDescription = { ...unknownClient, appName: 'One' }
    const session = having(guest, { client })
    encodeSession(session)

    Object.assign(client, { appName: 'Other' })

    expect(read(encodeSession(session))?.record.client.appName).toBe('Other')
  })

  it('K1: keeps apart more clients than it caches', () => {
    const names = Array.from({ length: 2500 }, (_, index) => `App ${index}`)

    const sessions = names.map((appName) =>
      read(encodeSession(having(guest, { client: { ...unknownClient, appName } }))),
    )

    expect(sessions.map((session) => session?.record.client.appName)).toEqual(names)
  })
})

describe('a damaged text of a session', () => {
  const good = encodeSession(user)
  // After the type and the checksum.
  const body = good.slice(good.indexOf('\t') + 5, good.indexOf('\n'))

  it.each([
    ['nothing', ''],
    ['a version alone', '2'],
    ['a state alone', '2a'],
    ['an earlier version', `1${good.slice(1)}`],
    ['a later version', `3${good.slice(1)}`],
    ['a version of two digits', `2${good}`],
    ['an unknown state', `2x${good.slice(2)}`],
    ['a word', 'marker'],
    ['a long word', 'x'.repeat(10_000)],
    ['JSON', '{"cookie":{"maxAge":3600000},"passport":{"user":"eve"}}'],
    ['many line breaks', '\n'.repeat(1000)],
    ['many TABs', '\t'.repeat(1000)],
    ['a head that begins right', '2a0mhwsoi680000\tw'],
    ['a blank before it', ` ${good}`],
    ['a line break before it', `\n${good}`],
    ['a byte order mark before it', `\uFEFF${good}`],
    ['capitals', good.toUpperCase()],
    ['its lines the other way round', good.split('\n').toReversed().join('\n')],
    ['no number of keys', good.replace('00z2\t', '00z\t')],
    ['a negative number of keys', good.replace('00z2\t', '00z-2\t')],
    ['a broken number of keys', good.replace('00z2\t', '00z2.5\t')],
    ['a number of keys with an exponent', good.replace('00z2\t', '00z1e3\t')],
    ['an unknown type', good.replace('\tw', '\tx')],
    ['another type', good.replace('\tw', '\tm')],
    ['another revision', good.replace('00z2\t', '00y2\t')],
    ['no activity', `2p${' '.repeat(9)}${good.slice(11)}`],
    ['an activity with a sign', `2p-${good.slice(3)}`],
    ['a head that is cut', good.slice(0, 100)],
    ['a check of capitals', good.replace(/\tw.../, '\twABC')],
  ])('F6: %s reads as unreadable', (_, damaged) => {
    expect(read(damaged)).toBeUndefined()
  })

  it.each([
    ['no creation', body.replace('mhwsoi68', '')],
    ['a creation that is not a number', body.replace('mhwsoi68', 'MHX!')],
    ['a creation beyond all dates', body.replace('mhwsoi68', 'z'.repeat(11))],
    ['an idle timeout that is not a number', body.replace('i255s0', 'i-5')],
    ['an idle timeout that is infinite', body.replace('i255s0', `i${'z'.repeat(300)}`)],
    ['an idle timeout of nothing', body.replace('i255s0', 'i')],
    ['an end that is not a number', body.replace('e16v7k00', 'e1.5')],
    ['an end beyond all dates', body.replace('e16v7k00', `e${'z'.repeat(11)}`)],
    ['an end that is infinite', body.replace('e16v7k00', `e${'z'.repeat(300)}`)],
    ['a sign-in beyond all dates', body.replace('\tn1', `\tn${'z'.repeat(11)}`)],
    ['a user name with a broken escape', body.replace('uann', String.raw`ua\u12`)],
    ['a user name that ends in a backslash', body.replace('uann', 'uann\\')],
    ['a user name with a quote and an escape', body.replace('uann', String.raw`ua"\n`)],
    ['a client with a broken escape', body.replace('AFirefox', String.raw`A\x`)],
    ['a privilege with a broken escape', body.replace('pbrowse', String.raw`p\x`)],
    ['a role with a broken escape', body.replace('rClerk', String.raw`r\x`)],
    ['a secret without its instant', body.replace(`s${hash}0-z`, `s${hash}`)],
    ['a secret that is too short', body.replace(`s${hash}0-z`, `s${hash.slice(9)}0-z`)],
    ['a secret rotated at no instant', body.replace('0-z', '0-')],
    ['a one-time token for ever', body.replace(`o${hash}100`, `o${hash}`)],
    ['an unknown tag', `${body}\tz1`],
    ['an empty item', `${body}\t`],
    ['a tag of capitals beyond L', body.replace('AFirefox', 'MFirefox')],
    ['two user names', body.replace('uann', 'uann\tueve')],
    ['two idle timeouts', body.replace('i255s0', 'i1\ti255s0')],
    ['two absolute ends', body.replace('e16v7k00', 'e16v7k00\te16v7k00')],
    ['two addresses', body.replace('a2001:db8::1', 'a1\ta2')],
    ['two names of an app', body.replace('AFirefox', 'AFirefox\tASafari')],
    ['a user name behind the privileges', body.replace('rClerk', 'ueve\trClerk')],
    ['a privilege before a secret', body.replace(`\ts${hash}`, `\tpWebAdmin\ts${hash}`)],
    ['a privilege behind a role', body.replace('rClerk', 'rClerk\tpWebAdmin')],
    ['a role behind a one-time token', `${body}\trManager`],
    ['a secret behind a joined one', body.replace('\tpbrowse', `\ts${hash}0\tpbrowse`)],
  ])('F6: a head with %s reads as unreadable, though its checksum is right', (_, damaged) => {
    expect(damaged).not.toBe(body)
    const right = textOf(body)
    const wrong = textOf(damaged)

    expect(read(right)?.record.userName).toBe('ann')
    expect(read(wrong)).toBeUndefined()
  })

  it('F6: notices each change of a character in the head, except in state, activity and keys', () => {
    const headEnd = good.indexOf('\n')
    const unnoticed = new Set<number>()
    for (let at = 0; at < headEnd; at++) {
      for (const other of ['0', 'z', 'A', '-', '"', '\\', '\t']) {
        if (other === good[at]) continue
        if (read(good.slice(0, at) + other + good.slice(at + 1))) unnoticed.add(at)
      }
    }

    // Version and state, nine digits of activity, three of the revision, and the number of keys.
    expect([...unnoticed].filter((at) => at < 2 || (at > 10 && at !== 14))).toEqual([])
  })

  it('F6: reads a head without its entries, as a list does', () => {
    const head = good.slice(0, good.indexOf('\n'))

    const session = decodeSession(id, head)

    expect({ ...session?.record, storage: undefined }).toEqual({
      ...user.record,
      storage: undefined,
    })
  })

  it('F6, T6: never reads an entry as a part of the head', () => {
    const names = ['uadmin', '\tuadmin', '\npWebAdmin', 'p', 's', '2a', '', '\t', 'n', '__proto__']
    const storage = new Map(names.map((name) => [name, JSON.stringify(`\n${name}\tuadmin`)]))

    const session = read(encodeSession(having(guest, { storage })))

    expect(session).toEqual({ ...guest, record: { ...guest.record, storage } })
    expect(Reflect.get({}, 'admin')).toBeUndefined()
  })
})

/** The text of `user` with another head. */
function textOf(head: string): string {
  return `2p0mhwspsgw00z2\tw${checkOf('00zw', head)}${head}\ncart\t["tea"]\nn\t1`
}

function fromUnits(units: readonly number[]): string {
  return String.fromCharCode(...units)
}

function having(session: StoredSession, parts: Partial<SessionRecord>): StoredSession {
  return { ...session, record: { ...session.record, ...parts } }
}

/** With its storage as a `Map`, which can be compared. */
function withPlainStorage(session: StoredSession): StoredSession {
  return { ...session, record: plain(session.record) }
}

function read(encoded: string): StoredSession | undefined {
  const session = decodeSession(id, encoded)
  return session && withPlainStorage(session)
}

/** FNV-1a of 32 bits, modulo 36³. */
function checkOf(start: string, head: string): string {
  let sum = 0x81_1c_9d_c5
  for (let index = 0; index < start.length + head.length; index++) {
    sum = Math.imul(sum ^ (start + head).charCodeAt(index), 0x0100_0193)
  }
  return ((sum >>> 0) % 46_656).toString(36).padStart(3, '0')
}
