import { timeToLiveMs } from '../core/expiry.ts'
import {
  decodeRecord,
  encodeChanges,
  encodeDraft,
  escapeText,
  storageField,
} from '../core/record.ts'
import type { SessionRecord } from '../core/record.ts'
import type { SessionCredential } from '../core/secret.ts'
import { SessionOptionError, SessionStoreError } from '../errors.ts'
import type { RedisClient } from './redis/client.ts'
import { sessionKey } from './redis/keys.ts'
import { runScript } from './redis/script.ts'
import type { Script, ScriptCall } from './redis/script.ts'
import { commitSession } from './redis/scripts/commit-session.ts'
import { createSession } from './redis/scripts/create-session.ts'
import { destroySession } from './redis/scripts/destroy-session.ts'
import { extendLock } from './redis/scripts/extend-lock.ts'
import { loadSession } from './redis/scripts/load-session.ts'
import { lockSession } from './redis/scripts/lock-session.ts'
import { readSession } from './redis/scripts/read-session.ts'
import { touchSession } from './redis/scripts/touch-session.ts'
import { lockTurnMs, renewedMemoryMs } from './session-store.ts'
import type {
  CommitOutcome,
  CreateOutcome,
  LoadOutcome,
  LockOutcome,
  NewSession,
  SessionCommit,
  SessionLock,
  SessionStore,
  StorePolicy,
} from './session-store.ts'

/** Options of a {@link RedisStore}. */
export interface RedisStoreOptions {
  /**
   * What the key of every session starts with. One per app: apps that share it share their
   * sessions. Text without braces.
   *
   * @default 'sess:'
   */
  readonly prefix?: string
}

/**
 * Keeps sessions in Redis 6.2 or later, alone or as a Cluster: one hash each, expired by Redis
 * itself.
 *
 * The client stays the app's: this store opens no connection and closes none.
 */
export class RedisStore implements SessionStore {
  readonly #redis: RedisClient
  readonly #prefix: string

  /**
   * @throws {SessionOptionError} When the prefix is no text or has a brace, which would change the
   *   node that has the session.
   */
  constructor(redis: RedisClient, { prefix = 'sess:' }: RedisStoreOptions = {}) {
    if (typeof prefix !== 'string' || /[{}]/.test(prefix)) {
      throw new SessionOptionError('"prefix" option must be text without braces')
    }
    this.#redis = redis
    this.#prefix = prefix
  }

  async create(session: NewSession, policy: StorePolicy): Promise<CreateOutcome> {
    const { credential, draft, signsIn } = session
    const { absoluteTimeoutMs } = policy.expiry
    const reply = await this.#run(createSession, {
      keys: { session: sessionKey(this.#prefix, credential.id) },
      args: {
        timeToLiveMs: timeToLiveMs(draft.idleTimeoutMs, policy.expiry),
        absoluteTimeoutMs: Number.isFinite(absoluteTimeoutMs) ? absoluteTimeoutMs : '',
        signsIn: signsIn ? 1 : 0,
        maxKeys: policy.limits.storageKeys,
        maxBytes: policy.limits.storageBytes,
      },
      rest: [...encodeDraft(draft), `secret:${credential.secretHash}`, '0'],
    })
    if (reply === 0) return { status: 'exists' }
    if (reply === -1) return { status: 'tooLarge' }
    return { status: 'created', now: timeOf(reply) }
  }

  async load(
    { id, secretHash }: SessionCredential,
    policy: StorePolicy,
    isActivity: boolean,
  ): Promise<LoadOutcome | undefined> {
    const reply = await this.#run(loadSession, {
      keys: { session: sessionKey(this.#prefix, id) },
      args: {
        secretHash,
        refreshMs: policy.expiry.refreshMs,
        isActivity: isActivity ? 1 : 0,
        renewedMemoryMs,
      },
    })
    if (reply === 0) return undefined
    if (reply === -1) return { status: 'renewed' }
    if (typeof reply !== 'string') return { status: 'unreadable' }
    const lines = reply.split('\n')
    const record = decodeRecord(id, lines, 2)
    if (!record) return { status: 'unreadable' }
    return { status: 'live', record, now: Number(lines[0]), refreshed: lines[1] === '1' }
  }

  async commit(
    { id, secretHash }: SessionCredential,
    commit: SessionCommit,
    policy: StorePolicy,
  ): Promise<CommitOutcome> {
    const { grants, storage, idleTimeoutMs } = commit
    const set = encodeChanges({
      ...(idleTimeoutMs !== undefined && { idleTimeoutMs }),
      ...(grants?.userName !== undefined && { userName: grants.userName }),
      ...(grants && { privileges: grants.privileges, roles: grants.roles }),
      ...(storage && { storage: storage.set }),
    })
    const reply = await this.#run(commitSession, {
      keys: { session: sessionKey(this.#prefix, id) },
      args: {
        secretHash,
        newSecretHash: commit.newSecretHash ?? '',
        asksFor: commit.asksFor ?? '',
        clears: grants?.clears ? 1 : 0,
        userName: escapeText(commit.userName),
        absoluteTimeoutMs: grants?.signsIn ? absoluteText(policy) : '',
        timeToLiveMs: idleTimeoutMs === undefined ? '' : timeToLiveMs(idleTimeoutMs, policy.expiry),
        maxKeys: policy.limits.storageKeys,
        maxBytes: policy.limits.storageBytes,
        renewedMemoryMs,
        lockToken: commit.lock?.token ?? '',
        leaseMs: commit.lock?.leaseMs ?? 0,
        setCount: set.length,
      },
      rest: [...set, ...(storage?.removed ?? []).map(storageField)],
    })
    if (reply === 0) return { status: 'ended' }
    if (reply === 1) return { status: 'renewed' }
    if (reply === 2) return { status: 'tooLarge' }
    if (reply === 3) return { status: 'unlocked' }
    if (typeof reply === 'string') {
      const lines = reply.split('\n')
      const record = decodeRecord(id, lines, 1)
      if (!record) throw new SessionStoreError('Redis answered something unexpected')
      return { status: 'committed', now: Number(lines[0]), record }
    }
    const time = timeOf(reply)
    return time < 0 ? { status: 'merged', now: -time } : { status: 'committed', now: time }
  }

  async touch(
    { id, secretHash }: SessionCredential,
    policy: StorePolicy,
  ): Promise<number | undefined> {
    const reply = await this.#run(touchSession, {
      keys: { session: sessionKey(this.#prefix, id) },
      args: { secretHash, refreshMs: policy.expiry.refreshMs },
    })
    return reply === 0 ? undefined : timeOf(reply)
  }

  async lock(
    { id, secretHash }: SessionCredential,
    { token, leaseMs }: SessionLock,
  ): Promise<LockOutcome | undefined> {
    const reply = await this.#run(lockSession, {
      keys: { session: sessionKey(this.#prefix, id) },
      args: { secretHash, token, leaseMs, turnMs: lockTurnMs },
    })
    if (reply === -1) return { status: 'busy' }
    if (typeof reply !== 'string') return undefined
    const lines = reply.split('\n')
    const record = decodeRecord(id, lines, 1)
    return record && { status: 'locked', record, now: Number(lines[0]) }
  }

  async extendLock(id: string, { token, leaseMs }: SessionLock): Promise<boolean> {
    const session = sessionKey(this.#prefix, id)
    return (await this.#run(extendLock, { keys: { session }, args: { token, leaseMs } })) === 1
  }

  unlock(id: string, token: string): Promise<boolean> {
    return this.extendLock(id, { token, leaseMs: 0 })
  }

  async read(id: string): Promise<SessionRecord | undefined> {
    const session = sessionKey(this.#prefix, id)
    const reply = await this.#run(readSession, { keys: { session }, args: {} })
    return typeof reply === 'string' ? decodeRecord(id, reply.split('\n')) : undefined
  }

  async destroy(id: string): Promise<boolean> {
    const session = sessionKey(this.#prefix, id)
    return (await this.#run(destroySession, { keys: { session }, args: {} })) === 1
  }

  async close(): Promise<void> {
    // The client is the app's.
  }

  async #run<Key extends string, Arg extends string>(
    script: Script<Key, Arg>,
    call: ScriptCall<Key, Arg>,
  ): Promise<unknown> {
    try {
      return await runScript(this.#redis, script, call)
    } catch (error) {
      throw new SessionStoreError(`Redis failed: ${reasonOf(error)}`)
    }
  }
}

/** What the commit script takes for a sign-in. */
function absoluteText({ expiry }: StorePolicy): string | number {
  return Number.isFinite(expiry.absoluteTimeoutMs) ? expiry.absoluteTimeoutMs : 'none'
}

function timeOf(reply: unknown): number {
  if (typeof reply !== 'number') throw new SessionStoreError('Redis answered something unexpected')
  return reply
}

/**
 * What may be told of an error. An error of ioredis has the arguments of its command, stored data
 * among them, and Redis' text can quote them: of a reply only the code is safe, such as
 * `READONLY`.
 */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown reason'
  if (error.name !== 'ReplyError') return error.message
  return /^[A-Z]{2,}/.exec(error.message)?.[0] ?? 'an error reply'
}
