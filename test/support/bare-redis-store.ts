import type { Redis } from 'ioredis'
import { RedisStore } from 'koa-user-sessions'
import type { SessionStore } from 'koa-user-sessions'
import type {
  GrantChanges,
  NewSession,
  RecordDraft,
  SessionCommit,
  SessionCredential,
  StorageChanges,
  StorePolicy,
} from 'koa-user-sessions/store'

import { newSecret, newSessionId } from '../../src/cookie/cookie.ts'
import { sessionKey } from '../../src/store/redis/keys.ts'
import { draftOf } from '../store/contract-parts.ts'
import { lastingRedis, uniquePrefix } from './redis-client.ts'

export const minute = 60_000

export const policy: StorePolicy = {
  expiry: { refreshMs: minute, absoluteTimeoutMs: 120 * minute },
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

export function grantsOf(...privileges: readonly string[]): GrantChanges {
  return { clears: false, userName: undefined, privileges, roles: [], signsIn: false }
}

/** A store on the shared server. */
export function makeStore(): {
  readonly store: RedisStore
  readonly prefix: string
  readonly keyOf: (credential: SessionCredential) => string
} {
  const prefix = uniquePrefix()
  return {
    store: new RedisStore(redis, { prefix }),
    prefix,
    keyOf: ({ id }) => sessionKey(prefix, id),
  }
}

export function newSession(parts: Partial<RecordDraft> = {}): NewSession {
  const id = newSessionId()
  return {
    credential: { id, secretHash: newSecret(id).secretHash },
    draft: draftOf(parts),
    signsIn: false,
  }
}

export async function created(
  store: SessionStore,
  parts: Partial<RecordDraft> = {},
): Promise<SessionCredential> {
  const session = newSession(parts)
  const outcome = await store.create(session, policy)
  if (outcome.status !== 'created') throw new Error(`not created but ${outcome.status}`)
  return session.credential
}

export function storageOf(
  set: Readonly<Record<string, string>>,
  removed: readonly string[] = [],
): StorageChanges {
  return { set: new Map(Object.entries(set)), removed }
}

export function signIn(): SessionCommit {
  return {
    ...emptyCommit,
    grants: { clears: false, userName: 'ann', privileges: ['a'], roles: [], signsIn: true },
    userName: 'ann',
    newSecretHash: newSecret(newSessionId()).secretHash,
    asksFor: 'rights',
  }
}

export async function dumpOf(key: string, client: Redis = redis): Promise<Buffer | null> {
  return client.dumpBuffer(key)
}

export function isJustUnder(limit: number): (ms: number) => boolean {
  return (ms) => ms <= limit && ms > limit - 10_000
}

export async function storageIn(
  store: SessionStore,
  credential: SessionCredential,
): Promise<ReadonlyMap<string, string>> {
  const outcome = await store.load(credential, policy, false)
  if (outcome?.status !== 'live') throw new Error('no live session')
  return outcome.record.storage
}
