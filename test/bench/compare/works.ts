// Who is compared, and at what.

/** A session's content. */
export interface Size {
  readonly name: string
  readonly keys: number
  /** Of each value, as JSON. */
  readonly bytes: number
  /** Of each round. */
  readonly requests: number
}

/** A server process. */
export interface Contestant {
  readonly name: string
  readonly title: string
  readonly script: string
  readonly args?: readonly string[]
  /** Whether it has a Redis of its own. */
  readonly hasRedis: boolean
  /** Whether it has sessions at all. */
  readonly hasSessions: boolean
}

/** One kind of request to one contestant. */
export interface Lane {
  readonly contestant: Contestant
  /** Names it within the work; the contestant's own name where that is enough. */
  readonly name: string
  readonly title: string
  readonly path: string
  /** How the request says which session it belongs to. */
  readonly carrier: 'cookie' | 'token' | 'none'
}

/** What all contestants that can do it are asked for. */
export interface Work {
  readonly name: string
  readonly title: string
  readonly sizes: readonly Size[]
  readonly lanes: readonly Lane[]
}

const sizes = {
  one: { name: '1 key, 100 B', keys: 1, bytes: 90, requests: 1000 },
  twenty: { name: '20 keys, 1 KB', keys: 20, bytes: 44, requests: 1000 },
  hundred: { name: '100 keys, 10 KB', keys: 100, bytes: 94, requests: 600 },
  large: { name: '100 keys, 200 KB', keys: 100, bytes: 1990, requests: 80 },
} satisfies Record<string, Size>

const allSizes = Object.values(sizes)
const noSize: Size = { name: 'no session', keys: 1, bytes: 90, requests: 4000 }

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
const ours: Contestant = {
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
    sizes: [noSize],
    lanes: [koa, ...withSessions].map((one) => laneOf(one, '/page', 'none')),
  },
  {
    name: 'asked-guest',
    title: 'guest: a page that asks who it is',
    sizes: [noSize],
    lanes: [koa, ...withSessions].map((one) => laneOf(one, '/read', 'none')),
  },
  {
    name: 'guarded',
    title: 'guarded route, 1 000 declared privileges',
    sizes: allSizes,
    lanes: [
      laneOf(guardedOurs, '/read', 'cookie', { name: 'unguarded', title: 'ours, not guarded' }),
      laneOf(guardedOurs, '/guarded', 'cookie', { name: 'guarded', title: 'ours, guarded' }),
    ],
  },
  {
    name: 'login',
    title: 'login of a visitor, who gets a session of this size',
    sizes: allSizes,
    lanes: withSessions.map((one) => laneOf(one, '/login', 'none')),
  },
  {
    name: 'bearer',
    title: 'read-only request by a bearer token (HS256)',
    sizes: allSizes,
    lanes: [
      laneOf(tokenOurs, '/read', 'cookie', { name: 'cookie', title: 'ours, cookie' }),
      laneOf(tokenOurs, '/read', 'token', { name: 'token', title: 'ours, bearer token' }),
    ],
  },
]

const quickWorks: Readonly<
  Record<string, { readonly sizes: readonly Size[]; readonly lanes: readonly string[] }>
> = {
  read: {
    sizes: [sizes.one, sizes.twenty, sizes.hundred],
    lanes: ['floor', 'ours', 'koa-session'],
  },
  change: { sizes: [sizes.twenty, sizes.hundred], lanes: ['ours', 'koa-session'] },
  guest: { sizes: [noSize], lanes: ['koa', 'ours'] },
}

/** All names by which works can be chosen. */
export const workNames: readonly string[] = works.map(({ name }) => name)

/** All names by which contestants can be chosen. */
export const contestantNames: readonly string[] = [koa, ...withSessions].map(({ name }) => name)

/**
 * The works to do.
 *
 * @param only Names of works and contestants; all of a kind where none is named.
 * @param isQuick Only what the guarded ratios need.
 * @param keys Only sessions of so many keys.
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
      const quick = isQuick ? quickWorks[name] : undefined
      return {
        name,
        title,
        lanes: lanes.filter(
          (lane) =>
            isChosen(lane.contestant.name, contestantNames) &&
            (!quick || quick.lanes.includes(lane.name)),
        ),
        sizes: (quick?.sizes ?? all).filter(
          (size) => keys === undefined || size === noSize || size.keys === keys,
        ),
      }
    })
    .filter(({ lanes }) => lanes.length > 0)
}
