/**
 * The parts that the tests of the store contract share.
 *
 * @module
 */

import { randomBytes, randomUUID } from 'node:crypto'

import { unknownClient } from 'koa-user-sessions/store'
import type {
  CommitOutcome,
  GrantChanges,
  NewSession,
  RecordDraft,
  SessionCommit,
  SessionCredential,
  SessionLock,
  SessionRecord,
  SessionStore,
  SessionSummary,
  StorageChanges,
  StorageLimits,
  StorePolicy,
} from 'koa-user-sessions/store'

import type { StoreHarness, TestRunner } from './store-contract.d.ts'

export type { StoreHarness }

/** Like `TestRunner`, but with types for the cases of a table. */
export interface Runner extends Pick<TestRunner, 'describe' | 'expect'> {
  readonly it: {
    (name: string, run: () => Promise<void>): unknown
    readonly each: {
      <T extends readonly [unknown] | readonly unknown[]>(
        cases: readonly T[],
      ): (
        name: string,
        run: (...values: { -readonly [K in keyof T]: T[K] }) => Promise<void>,
      ) => unknown
      <T>(cases: readonly T[]): (name: string, run: (value: T) => Promise<void>) => unknown
    }
  }
}

export const second = 1000
export const minute = 60 * second

export const policy = {
  expiry: { refreshMs: minute, absoluteTimeoutMs: 30 * 24 * 60 * minute },
  limits: { storageBytes: 262_144, storageKeys: 256 },
  maxSessions: undefined,
  timeoutMs: 1000,
} satisfies StorePolicy

export const ended: CommitOutcome = { status: 'ended' }
export const unlimited = withAbsoluteTimeout(Infinity)

export const emptyCommit: SessionCommit = {
  storage: undefined,
  idleTimeoutMs: undefined,
  grants: undefined,
  userName: '',
  newSecretHash: undefined,
  asksFor: undefined,
}

export const noGrants: GrantChanges = {
  clears: false,
  userName: undefined,
  privileges: [],
  roles: [],
  signsIn: false,
}

export const signedInDraft: RecordDraft = {
  type: 'web',
  ip: '192.0.2.1',
  client: unknownClient,
  idleTimeoutMs: 60 * minute,
  userName: 'ann',
  privileges: ['browse'],
  roles: ['Clerk'],
  storage: new Map([['a', '1']]),
}

export const awkwardTexts: readonly (readonly [string, string])[] = [
  ['quotes and backslashes', String.raw`"it's" \ \n \u0041 \\`],
  ['line breaks', 'a\nb\r\nc\u2028d\n'],
  ['NUL and control characters', '\0a\u0001\u007F\t'],
  ['many scripts', 'žluťoučký 漢字 👩‍👩‍👧 \u202Eabc'],
  ['lone surrogates', '\uD800a\uDC00'],
  ['__proto__', '__proto__'],
  ['constructor', 'constructor'],
  ['hasOwnProperty', 'hasOwnProperty'],
  ['a name that a store could use itself', 'u'],
  ['a prefix that a store could use itself', 'k:s:p:r:'],
  ['braces and wildcards', '{a}:*?[b] ${c} %s {'],
]

export function withAbsoluteTimeout(absoluteTimeoutMs: number): StorePolicy {
  return { ...policy, expiry: { ...policy.expiry, absoluteTimeoutMs } }
}

export function withLimits(limits: Partial<StorageLimits>): StorePolicy {
  return { ...policy, limits: { ...policy.limits, ...limits } }
}

/** In the form of a cookie secret's SHA-256. */
export function newHash(): string {
  return randomBytes(32).toString('base64url')
}

export function newCredential(): SessionCredential {
  return { id: randomUUID(), secretHash: newHash() }
}

/** A guest, with the given changes. */
export function draftOf(parts: Partial<RecordDraft> = {}): RecordDraft {
  return {
    type: 'web',
    ip: '192.0.2.1',
    client: unknownClient,
    idleTimeoutMs: 60 * minute,
    userName: '',
    privileges: [],
    roles: [],
    storage: new Map(),
    ...parts,
  }
}

export function newSession(parts: Partial<RecordDraft> = {}): NewSession {
  return { credential: newCredential(), draft: draftOf(parts), signsIn: false }
}

/** Stores a session. Returns its credential. */
export async function created(store: SessionStore, draft = draftOf()): Promise<SessionCredential> {
  const credential = newCredential()
  const signsIn = draft.userName !== ''
  const outcome = await store.create({ credential, draft, signsIn }, policy)
  if (outcome.status !== 'created') throw new Error(`not created but ${outcome.status}`)
  return credential
}

export function changes(
  set: Readonly<Record<string, string>>,
  removed: readonly string[] = [],
): StorageChanges {
  return { set: new Map(Object.entries(set)), removed }
}

/** A commit that changes only storage. */
export function setting(
  set: Readonly<Record<string, string>>,
  removed: readonly string[] = [],
): SessionCommit {
  return { ...emptyCommit, storage: changes(set, removed) }
}

/** A commit that changes only grants. */
export function granting(grants: Partial<GrantChanges>): SessionCommit {
  return { ...emptyCommit, grants: { ...noGrants, ...grants } }
}

export function signInOf(userName: string, newSecretHash: string): SessionCommit {
  const grants = { userName, privileges: [`of ${userName}`], signsIn: true }
  return { ...granting(grants), userName, newSecretHash, asksFor: 'rights' }
}

/** A commit that changes everything that a commit can. */
export function everything(): SessionCommit & { readonly newSecretHash: string } {
  return {
    storage: changes({ x: '1', y: '2' }, ['a']),
    idleTimeoutMs: 999 * minute,
    grants: {
      clears: true,
      userName: 'eve',
      privileges: ['WebAdmin'],
      roles: ['Manager'],
      signsIn: true,
    },
    userName: 'eve',
    newSecretHash: newHash(),
    asksFor: 'rights',
  }
}

/** Rotates the secret of a session. Returns its new credential. */
export async function rotated(
  store: SessionStore,
  credential: SessionCredential,
): Promise<SessionCredential> {
  const newSecretHash = newHash()
  const commit: SessionCommit = { ...emptyCommit, newSecretHash, asksFor: 'secret' }
  const outcome = await store.commit(credential, commit, policy)
  if (outcome.status !== 'committed') throw new Error(`not rotated but ${outcome.status}`)
  return { id: credential.id, secretHash: newSecretHash }
}

/** Signs `ann` in, with the privilege `browse`. Returns the new credential. */
export async function signedIn(
  store: SessionStore,
  credential: SessionCredential,
): Promise<SessionCredential> {
  const newSecretHash = newHash()
  const commit = {
    ...granting({ userName: 'ann', privileges: ['browse'], signsIn: true }),
    userName: 'ann',
    newSecretHash,
    asksFor: 'rights',
  } as const
  const outcome = await store.commit(credential, commit, policy)
  if (outcome.status !== 'committed') throw new Error(`not signed in but ${outcome.status}`)
  return { id: credential.id, secretHash: newSecretHash }
}

/** The calls of the server by id alone. */
function trusted(id: string): SessionCredential {
  return { id, secretHash: '' }
}

/** Counts as activity. Returns the time; `undefined` without a live session. */
export async function touch(
  store: SessionStore,
  credential: SessionCredential,
  touchPolicy: StorePolicy,
): Promise<number | undefined> {
  const outcome = await store.load(credential, touchPolicy, true)
  return outcome?.status === 'live' ? outcome.now : undefined
}

/** Gives a session a one-time token. */
export async function addOTP(
  store: SessionStore,
  credential: SessionCredential,
  ...[hash, lifespanMs, otpPolicy]: [string, number, StorePolicy]
): Promise<boolean> {
  const outcome = await store.commit(credential, { newOTP: { hash, lifespanMs } }, otpPolicy)
  return outcome.status === 'committed'
}

/** Joins a session with a one-time token. */
export async function redeemOTP(
  store: SessionStore,
  otp: SessionCredential,
  newSecretHash: string,
  otpPolicy: StorePolicy,
): Promise<Extract<Loaded, { status: 'live' }> | undefined> {
  const commit = { redeemsOTP: otp.secretHash, newSecretHash }
  const outcome = await store.commit(trusted(otp.id), commit, otpPolicy)
  if (outcome.status !== 'committed' || !outcome.record) return undefined
  const { record, now } = outcome
  return {
    status: 'live',
    record: plain(record),
    now,
    activeAt: now,
    isPostponed: false,
    refreshed: true,
  }
}

/** Reads a session by its id alone. */
export async function read(store: SessionStore, id: string): Promise<SessionRecord | undefined> {
  const outcome = await store.load(trusted(id), policy, false)
  return outcome?.status === 'live' ? plain(outcome.record) : undefined
}

/** Everything about a session except its storage. */
export async function describeById(
  store: SessionStore,
  id: string,
  readPolicy: StorePolicy,
): Promise<SessionSummary | undefined> {
  const outcome = await store.load(trusted(id), readPolicy, false)
  if (outcome?.status !== 'live') return undefined
  const { storage: _storage, ...known } = outcome.record
  const { activeAt, isPostponed, now } = outcome
  return { ...known, activeAt, isPostponed, now }
}

/** Changes the grants of a session, as the server itself. */
export async function grant(
  store: SessionStore,
  id: string,
  ownedBy: string,
  ...[grants, grantPolicy]: [GrantChanges, StorePolicy]
): Promise<boolean> {
  const outcome = await store.commit(trusted(id), { grants, ownedBy }, grantPolicy)
  return outcome.status === 'committed'
}

/** Ends all sessions of a user except one. Returns the ended ones, by id. */
export async function destroyAll(
  store: SessionStore,
  userName: string,
  exceptId?: string,
): Promise<readonly string[]> {
  const sessions = await store.list(userName, policy)
  const ids = sessions.map(({ id }) => id).filter((id) => id !== exceptId)
  const areEnded = await Promise.all(ids.map((id) => store.destroy(id, userName)))
  return ids.filter((_id, index) => areEnded[index])
}

/** Restarts the lease of a lock. */
export async function extendLock(
  store: SessionStore,
  id: string,
  lock: SessionLock,
): Promise<boolean> {
  const outcome = await store.commit(trusted(id), { lock }, policy)
  return outcome.status === 'committed'
}

/** Releases a lock. */
export function unlock(store: SessionStore, id: string, token: string): Promise<boolean> {
  return extendLock(store, id, { token, leaseMs: 0 })
}

/** The same with its storage as a `Map`, which can be compared. */
export function plain(record: SessionRecord): SessionRecord {
  return { ...record, storage: new Map(record.storage) }
}

export type Loaded = Awaited<ReturnType<SessionStore['load']>>

export function liveIn(outcome: Loaded): Extract<Loaded, { status: 'live' }> {
  if (outcome?.status === 'live') return outcome
  throw new Error(`no live session: ${outcome?.status ?? 'nothing'}`)
}

export function recordIn(outcome: Loaded): SessionRecord {
  return plain(liveIn(outcome).record)
}

/** Names have no order in a store. */
export function sorted(record: SessionRecord): SessionRecord {
  return {
    ...record,
    privileges: record.privileges.toSorted(),
    roles: record.roles.toSorted(),
  }
}

/** Reads a live session without affecting it. */
export async function recordOf(
  store: SessionStore,
  credential: SessionCredential,
): Promise<SessionRecord> {
  return sorted(recordIn(await store.load(credential, policy, false)))
}

export async function storageOf(
  store: SessionStore,
  credential: SessionCredential,
): Promise<Record<string, string>> {
  const { storage } = await recordOf(store, credential)
  return Object.fromEntries(storage)
}

export async function statusOf(
  store: SessionStore,
  id: string,
  secretHash: string,
): Promise<string | undefined> {
  const outcome = await store.load({ id, secretHash }, policy, false)
  return outcome?.status
}

/** Whether a request at this moment makes the store write the time to live again. */
export async function isRefreshed(
  store: SessionStore,
  credential: SessionCredential,
): Promise<boolean> {
  return liveIn(await store.load(credential, policy, true)).refreshed
}

export function timeOf(outcome: object | undefined): number {
  if (outcome && 'now' in outcome && typeof outcome.now === 'number') return outcome.now
  throw new Error('no time in the outcome')
}

/** Changes a record against its types. */
export function tamperWith(record: SessionRecord): void {
  const { privileges, roles, storage } = record
  if (Array.isArray(privileges)) privileges.push('WebAdmin')
  if (Array.isArray(roles)) roles.push('Manager')
  if (storage instanceof Map) storage.set('a', '2').set('b', '3')
  Reflect.set(record, 'userName', 'eve')
  Reflect.set(record, 'endsAt', Infinity)
  Reflect.set(record.client, 'appName', 'Other')
}

export async function summaryOf(
  store: SessionStore,
  { id }: { readonly id: string },
): Promise<SessionSummary> {
  const summary = await describeById(store, id, policy)
  if (!summary) throw new Error('no live session')
  return summary
}

/** Whole minutes since the last activity. */
export async function idleTimeOf(
  store: SessionStore,
  credential: SessionCredential,
): Promise<number> {
  const { now, activeAt } = await summaryOf(store, credential)
  return Math.floor((now - activeAt) / minute)
}

export async function isLive(store: SessionStore, { id }: SessionCredential): Promise<boolean> {
  return (await describeById(store, id, policy)) !== undefined
}

/** Those that open a session, in the same order. */
export async function liveOf(
  store: SessionStore,
  credentials: readonly SessionCredential[],
): Promise<readonly SessionCredential[]> {
  const outcomes = await Promise.all(
    credentials.map(async (credential) => store.load(credential, policy, false)),
  )
  return credentials.filter((_, index) => outcomes[index]?.status === 'live')
}

export function idsOf(sessions: readonly { readonly id: string }[]): readonly string[] {
  return sessions.map(({ id }) => id).toSorted()
}
