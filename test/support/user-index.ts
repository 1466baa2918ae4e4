import type { Redis } from 'ioredis'
import { RedisStore } from 'koa-user-sessions'
import type { RedisClient, SessionStore } from 'koa-user-sessions'
import type {
  NewSession,
  RecordDraft,
  SessionCommit,
  SessionCredential,
  StorePolicy,
} from 'koa-user-sessions/store'

import { newSecret, newSessionId } from '../../src/cookie/cookie.ts'
import { RedisConnection } from '../../src/store/redis/connection.ts'
import { longId, sessionKey, shortId, userSessionsKey } from '../../src/store/redis/keys.ts'
import { UserIndex } from '../../src/store/redis/user-index.ts'
import { draftOf } from '../store/contract-parts.ts'
import { lastingRedis, uniquePrefix } from './redis-client.ts'

export const minute = 60_000
export const year = 525_600 * minute

export const policy: StorePolicy = {
  expiry: { refreshMs: minute, absoluteTimeoutMs: Infinity },
  limits: { storageBytes: 262_144, storageKeys: 256 },
  maxSessions: undefined,
  timeoutMs: 1000,
}

export const emptyCommit: SessionCommit = {
  storage: undefined,
  idleTimeoutMs: undefined,
  grants: undefined,
  userName: '',
  newSecretHash: undefined,
  asksFor: undefined,
}

export const redis = lastingRedis()

export interface Setup {
  readonly store: RedisStore
  /** Direct access to the index. */
  readonly users: UserIndex
  readonly prefix: string
  readonly keyOf: (id: string) => string
  readonly indexKeyOf: (userName: string) => string
  /** The ids in a user's index, the first sign-in first. */
  readonly indexOf: (userName: string) => Promise<readonly string[]>
  readonly scoreOf: (userName: string, id: string) => Promise<number>
}

export function setUp(client: RedisClient = redis, direct: Redis = redis): Setup {
  const prefix = uniquePrefix()
  const indexKeyOf = (userName: string): string => userSessionsKey(prefix, userName)
  return {
    store: new RedisStore(client, { prefix }),
    users: new UserIndex(new RedisConnection(direct), prefix),
    prefix,
    keyOf: (id) => sessionKey(prefix, id),
    indexKeyOf,
    indexOf: async (userName) =>
      (await direct.zrange(indexKeyOf(userName), '0', '-1')).map((id) => longId(id) ?? id),
    scoreOf: async (userName, id) => Number(await direct.zscore(indexKeyOf(userName), shortId(id))),
  }
}

export function newSession(parts: Partial<RecordDraft> = {}): NewSession {
  const id = newSessionId()
  return {
    credential: { id, secretHash: newSecret(id).secretHash },
    draft: draftOf(parts),
    signsIn: parts.userName !== undefined && parts.userName !== '',
  }
}

/** A new session of a user. */
export async function signedIn(store: SessionStore, userName: string): Promise<SessionCredential> {
  const session = newSession({ userName })
  const { status } = await store.create(session, policy)
  if (status !== 'created') throw new Error(`not created but ${status}`)
  return session.credential
}

/** Signs a user in with an existing session. */
export async function signIn(
  store: SessionStore,
  credential: SessionCredential,
  userName: string,
  parts: Partial<SessionCommit> = {},
): Promise<SessionCredential> {
  const commit = { ...signInCommit(userName), ...parts }
  const { status } = await store.commit(credential, commit, policy)
  if (status !== 'committed') throw new Error(`not committed but ${status}`)
  return { ...credential, secretHash: commit.newSecretHash! }
}

export function signInCommit(userName: string): SessionCommit {
  return {
    ...emptyCommit,
    grants: { clears: true, userName, privileges: ['a'], roles: [], signsIn: true },
    userName,
    newSecretHash: newSecret(newSessionId()).secretHash,
    asksFor: 'rights',
  }
}

/** The ids that a store lists. */
export async function idsOf(store: SessionStore, userName: string): Promise<readonly string[]> {
  return (await store.list(userName, policy)).map(({ id }) => id)
}

export async function setOf(ids: Promise<readonly string[]>): Promise<ReadonlySet<string>> {
  return new Set(await ids)
}

export async function inTurn<T>(count: number, make: () => Promise<T>): Promise<T[]> {
  const made: T[] = []
  for (let index = 0; index < count; index++) made.push(await make())
  return made
}

export function range(length: number): number[] {
  return Array.from({ length }, (_, index) => index)
}
