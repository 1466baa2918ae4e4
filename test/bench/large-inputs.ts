// The largest inputs that do not come in headers: values for storage, tokens, lists, roles files.

import { Redis } from 'ioredis'
import { Sessions } from 'koa-user-sessions'
import type { RolesFile, Session } from 'koa-user-sessions'

import { resolveOptions } from '../../src/options/option-table.ts'
import { startRedisServer } from '../support/redis-server.ts'
import { makeKey, tokensWith } from '../support/tokens.ts'

/** One input. */
export interface LargeInput {
  readonly what: string
  /**
   * Whether it must cost an app next to nothing, whoever sends it; otherwise it is what an app
   * stores, lists or is configured with, and can keep small with its limits.
   */
  readonly isClients: boolean
  readonly run: () => unknown
}

/** All of them, on a private Redis. */
export interface LargeInputs {
  readonly inputs: readonly LargeInput[]
  readonly stop: () => Promise<void>
}

// The default limit, minus the name of the value.
const limitBytes = 262_144 - 64
const userSessions = 1000

const bodyBytes = 1_000_000
const smallArrays = `[${'[1],'.repeat(bodyBytes / 4)}1]`

/** What storage refuses at sight, by kind. */
const refusedAtOnce: readonly (readonly [what: string, value: unknown])[] = [
  ['arrays 10 000 deep', nested(10_000)],
  ['objects 5 000 deep', JSON.parse(`${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}`)],
  ['an array of 10 million holes', Object.assign([], { length: 10_000_000 })],
  ['a text of 16 MB', 'x'.repeat(16_000_000)],
  ['an array of a million numbers', Array.from({ length: 1_000_000 }, () => 1)],
  ['2 000 names of prototypes', JSON.parse(`[${'{"constructor":1},'.repeat(2000)}1]`)],
]

/** What it must walk through up to its limit, from a body of 1 MB that an app stores unchanged. */
const refusedLater: readonly (readonly [what: string, value: unknown])[] = [
  ['an object of 65 000 names', named(65_000, '')],
  ['250 000 small arrays', JSON.parse(smallArrays)],
  ['children shared at each of 30 levels', shared(30)],
]

/** The same within the default limits. */
const allowed: readonly (readonly [what: string, value: unknown])[] = [
  ['one text', 'x'.repeat(limitBytes - 2)],
  ['one text of quotes', '"'.repeat(limitBytes / 2 - 1)],
  ['one text of control characters', '\u0001'.repeat(Math.floor(limitBytes / 6) - 1)],
  ['an array of digits', Array.from({ length: limitBytes / 2 - 1 }, () => 1)],
  ['an array of empty objects', Array.from({ length: Math.floor(limitBytes / 3) - 1 }, () => ({}))],
  ['an object of many names', named(17_000, '')],
  ['arrays 32 deep, many times', Array.from({ length: 3900 }, () => nested(31))],
]

/** Creates them. Stop it afterwards. */
export async function makeLargeInputs(): Promise<LargeInputs> {
  const server = await startRedisServer()
  const redis = new Redis(server.url)
  const options = {
    redis,
    tokens: tokensWith(makeKey('HS256')),
    privilegedTypes: ['web', 'rest', 'remote'],
  } as const
  const sessions = new Sessions<Record<string, unknown>>(options)
  const { session } = await sessions.open({ userName: 'ann', applicationId: 'cli' })
  const { session: full } = await sessions.open({ userName: 'bob', applicationId: 'cli' })
  const { session: many, token } = await sessions.open({ userName: 'cid', applicationId: 'cli' })
  for (let index = 1; index < userSessions; index++) {
    await sessions.open({ userName: 'cid', applicationId: 'cli' })
  }
  for (let index = 0; index < 256; index++) full.storage[`key${index}`] = 'x'.repeat(1000)
  await full.save()
  const head = token.slice(0, token.indexOf('.'))
  const filler = 'A'.repeat(1_000_000)
  const roles = largeRoles()

  const inputs: LargeInput[] = [
    ...refusedAtOnce.map(([what, value]) => ({
      what: `refused by storage: ${what}`,
      isClients: true,
      run: () => refuses(session, value),
    })),
    ...[`${head}.${filler}.AA`, `${filler}.e30.AA`, filler, '.'.repeat(1_000_000)].map(
      (text, index) => ({
        what: `a token of 1 MB, ${index + 1}`,
        isClients: true,
        run: () => sessions.run(text, () => {}).catch(() => undefined),
      }),
    ),
    {
      what: 'to compare: JSON.parse of a body of 1 MB, 250 000 small arrays',
      isClients: false,
      run: () => JSON.parse(smallArrays),
    },
    ...refusedLater.map(([what, value]) => ({
      what: `refused by storage: ${what}`,
      isClients: false,
      run: () => refuses(session, value),
    })),
    ...allowed.map(([what, value]) => ({
      what: `256 KB of storage in one value, changed and read: ${what}`,
      isClients: false,
      run: async () => {
        session.storage['value'] = value
        await session.save()
        await session.reload()
        if (session.storage['value'] === undefined) throw new Error('the value is lost')
      },
    })),
    {
      what: '256 KB of storage in 256 values, one changed and all read',
      isClients: false,
      run: async () => {
        full.storage['key7'] = `${Math.random()}${'x'.repeat(900)}`
        await full.save()
        await full.reload()
        if (Object.values(full.storage).length !== 256) throw new Error('values are lost')
      },
    },
    {
      what: `a list of ${userSessions} sessions of one user`,
      isClients: false,
      run: async () => {
        const { length } = await sessions.list('cid', { current: many })
        if (length !== userSessions) throw new Error(`the list has ${length}`)
      },
    },
    {
      what: `privileges given to ${userSessions} sessions of one user`,
      isClients: false,
      run: () => sessions.setPrivileges('cid', { privileges: 'browse' }),
    },
    {
      what: 'a roles file of 5 000 privileges and 1 000 roles, at the start',
      isClients: false,
      run: () => resolveOptions({ roles }),
    },
    {
      what: 'a roles file that is wrong everywhere, at the start',
      isClients: false,
      run: () => {
        try {
          resolveOptions({ roles: { privileges: [...roles.privileges, ...roles.privileges] } })
        } catch {
          return
        }
        throw new Error('the roles file was accepted')
      },
    },
  ]
  const stop = async (): Promise<void> => {
    redis.disconnect()
    await sessions.close()
    await server.stop()
  }
  return { inputs, stop }
}

function refuses(session: Session<Record<string, unknown>>, value: unknown): void {
  try {
    session.storage['value'] = value
  } catch {
    return
  }
  throw new Error('the value was accepted')
}

function nested(depth: number): unknown {
  return JSON.parse('['.repeat(depth) + ']'.repeat(depth))
}

function named(count: number, value: unknown): unknown {
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`name${index}`, value]))
}

/** Small in memory, and 2 to that power as JSON. */
function shared(levels: number): unknown {
  let value: unknown = 'x'
  for (let level = 0; level < levels; level++) value = [value, value]
  return value
}

function largeRoles(): RolesFile {
  const names = Array.from({ length: 5000 }, (_, index) => `privilege${index}`)
  return {
    privileges: names.map((privilege, index) => ({
      privilege,
      // Chains of a hundred.
      includes: index % 100 === 0 ? [] : [names[index - 1]!],
    })),
    roles: Array.from({ length: 1000 }, (_, index) => ({
      role: `role${index}`,
      privileges: names.slice(index, index + 50),
    })),
  }
}
