// Who is compared, and in which work.

/** A session's content. */
export interface Size {
  readonly name: string
  readonly keys: number
  /** Of each value, as JSON. */
  readonly bytes: number
  /** Of one more value, an object, as JSON. */
  readonly objectBytes?: number
  /** What the floor stores for it: as many bytes as this package. */
  readonly textBytes?: number
  /** How many of them there are. The requests use them by turns. */
  readonly sessions: number
  readonly connections: number
  /** Of each round. */
  readonly requests: number
}

/** A server. */
export interface Contestant {
  readonly name: string
  readonly title: string
  readonly script: string
  readonly args?: readonly string[]
  /** How many processes it has, on one Redis; 1 by default. */
  readonly processes?: number
  /** Whether it has a Redis of its own. */
  readonly hasRedis: boolean
  /** Whether it has sessions at all. */
  readonly hasSessions: boolean
}

/** One kind of request to one contestant. */
export interface Lane {
  readonly contestant: Contestant
  /** Names it within the work; the name of the contestant when that is enough. */
  readonly name: string
  readonly title: string
  readonly path: string
  /** How the request names its session; `new` signs in, as different browsers by turns. */
  readonly carrier: 'cookie' | 'token' | 'none' | 'new'
}

/** What all capable contestants are asked to do. */
export interface Work {
  readonly name: string
  readonly title: string
  readonly sizes: readonly Size[]
  readonly lanes: readonly Lane[]
}

const usual = { sessions: 200, connections: 64, requests: 1500 }

/** The sizes used by the figures. */
export const sizes = {
  three: { ...usual, name: '3 keys, 300 B', keys: 3, bytes: 90 },
  twenty: { ...usual, name: '20 keys, 1 KB', keys: 20, bytes: 44 },
  hundred: { ...usual, name: '100 keys, 10 KB', keys: 100, bytes: 94, requests: 900 },
  large: {
    name: '100 keys, 200 KB',
    keys: 100,
    bytes: 1990,
    sessions: 32,
    connections: 16,
    requests: 80,
  },
  signIn: { ...usual, name: '20 keys of 36 B', keys: 20, bytes: 36 },
  withObject: {
    ...usual,
    name: '20 keys, 1 KB, and an object of 2 KB',
    keys: 20,
    bytes: 44,
    objectBytes: 2000,
  },
  none: { name: 'no session', keys: 1, bytes: 90, sessions: 0, connections: 64, requests: 3000 },
} as const satisfies Record<string, Size>

const allSizes = [sizes.three, sizes.twenty, sizes.hundred, sizes.large]

const koa: Contestant = {
  name: 'koa',
  title: 'bare Koa',
  script: 'koa.mjs',
  hasRedis: false,
  hasSessions: false,
}
const floor: Contestant = {
  name: 'floor',
  title: 'the floor',
  script: 'floor.mjs',
  hasRedis: true,
  hasSessions: true,
}
/** This package. */
export const ours: Contestant = {
  name: 'ours',
  title: 'ours on Redis',
  script: 'ours.mjs',
  hasRedis: true,
  hasSessions: true,
}
const inMemory: Contestant = {
  name: 'ours-memory',
  title: 'ours in memory',
  script: 'ours.mjs',
  args: ['--memory'],
  hasRedis: false,
  hasSessions: true,
}
const guardedOurs: Contestant = { ...ours, args: ['--privileges', '1000'] }
const tokenOurs: Contestant = { ...ours, args: ['--tokens'] }

const peers = ['koa-session', 'koa-generic-session', 'express-session', 'fastify-session'].map(
  (name): Contestant => ({
    name,
    title: name === 'fastify-session' ? '@fastify/session' : name,
    script: `${name}.mjs`,
    hasRedis: true,
    hasSessions: true,
  }),
)

const withSessions = [floor, ours, inMemory, ...peers]
const koaSession = peers.filter(({ name }) => name === 'koa-session')

function laneOf(
  contestant: Contestant,
  path: string,
  carrier: Lane['carrier'],
  { name, title }: Pick<Lane, 'name' | 'title'> = contestant,
): Lane {
  return { contestant, name, title, path, carrier }
}

const works: readonly Work[] = [
  {
    name: 'read',
    title: 'read-only request: the user name and one value',
    sizes: allSizes,
    lanes: [koa, ...withSessions].map((one) => laneOf(one, '/read', 'cookie')),
  },
  {
    name: 'change',
    title: 'change one key',
    sizes: allSizes,
    lanes: withSessions.map((one) => laneOf(one, '/change', 'cookie')),
  },
  {
    name: 'guest',
    title: 'guest: a page that does not look at the session',
    sizes: [sizes.none],
    lanes: [koa, ...withSessions].map((one) => laneOf(one, '/page', 'none')),
  },
  {
    name: 'asked-guest',
    title: 'guest: a page that asks who it is',
    sizes: [sizes.none],
    lanes: [koa, ...withSessions].map((one) => laneOf(one, '/read', 'none')),
  },
  {
    name: 'login',
    title: 'login of a new visitor, with a user name and a right',
    sizes: [sizes.signIn],
    lanes: withSessions.map((one) => laneOf(one, '/login', 'new')),
  },
  {
    name: 'unnamed-login',
    title: 'login of a new visitor, without a user name, with a right',
    sizes: [sizes.signIn],
    lanes: [ours, ...koaSession].map((one) => laneOf(one, '/enter', 'new')),
  },
  {
    name: 'two-processes',
    title: 'read-only request, two app processes on one Redis',
    sizes: [sizes.twenty],
    lanes: [ours, ...koaSession].map((one) => laneOf({ ...one, processes: 2 }, '/read', 'cookie')),
  },
  {
    name: 'object',
    title: 'an object is read and not changed, against nothing read',
    sizes: [sizes.withObject],
    lanes: [ours, ...koaSession].flatMap((one) => [
      laneOf(one, '/nothing', 'cookie', {
        name: `${one.name}-nothing`,
        title: `${one.title}, nothing`,
      }),
      laneOf(one, '/object', 'cookie', {
        name: `${one.name}-object`,
        title: `${one.title}, the object`,
      }),
    ]),
  },
  {
    name: 'guarded',
    title: 'guarded route, 1 000 declared privileges',
    sizes: [sizes.twenty],
    lanes: [
      laneOf(guardedOurs, '/read', 'cookie', { name: 'unguarded', title: 'ours, not guarded' }),
      laneOf(guardedOurs, '/guarded', 'cookie', { name: 'guarded', title: 'ours, guarded' }),
    ],
  },
  {
    name: 'bearer',
    title: 'read-only request by a bearer token (HS256)',
    sizes: [sizes.twenty],
    lanes: [
      laneOf(tokenOurs, '/read', 'cookie', { name: 'cookie', title: 'ours, cookie' }),
      laneOf(tokenOurs, '/read', 'token', { name: 'token', title: 'ours, bearer token' }),
    ],
  },
]

// Lanes by name; all when none is named.
const quickWorks: Readonly<Record<string, readonly string[] | undefined>> = {
  read: ['koa', 'floor', 'ours', 'ours-memory', 'koa-session'],
  change: ['ours', 'koa-session'],
  guest: ['koa', 'ours'],
  login: ['ours', 'koa-session'],
  'unnamed-login': [],
  'two-processes': [],
  object: [],
}

/** All names by which works can be chosen. */
export const workNames: readonly string[] = works.map(({ name }) => name)

/** All names by which contestants can be chosen. */
export const contestantNames: readonly string[] = [koa, ...withSessions].map(({ name }) => name)

/**
 * The works to do.
 *
 * @param only Names of works and contestants; all of a kind when none is named.
 * @param isQuick Only what the guarded ratios need.
 * @param keys Only sessions with this many keys.
 */
export function chosenWorks(
  only: readonly string[],
  isQuick: boolean,
  keys: number | undefined,
): readonly Work[] {
  const isChosen = (name: string, all: readonly string[]): boolean =>
    !only.some((one) => all.includes(one)) || only.includes(name)
  return works
    .filter(({ name }) => isChosen(name, workNames) && (!isQuick || name in quickWorks))
    .map(({ name, title, lanes, sizes: all }) => {
      const quick = isQuick ? (quickWorks[name] ?? []) : []
      return {
        name,
        title,
        lanes: lanes.filter(
          (lane) =>
            isChosen(lane.contestant.name, contestantNames) &&
            (quick.length === 0 || quick.includes(lane.name)),
        ),
        sizes: all.filter(
          (size) => keys === undefined || size === sizes.none || size.keys === keys,
        ),
      }
    })
    .filter(({ lanes, sizes: left }) => lanes.length > 0 && left.length > 0)
}
