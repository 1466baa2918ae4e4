import { timeToLiveMs } from '../../core/expiry.ts'
import type { GrantChanges } from '../../core/grants.ts'
import {
  decodeRecord,
  encodeChanges,
  encodeDraft,
  escapeText,
  storageField,
} from '../../core/record.ts'
import type { SessionRecord, SessionSummary } from '../../core/record.ts'
import type { SessionCredential } from '../../core/secret.ts'
import { SessionStoreError } from '../../errors.ts'
import type {
  CommitOutcome,
  CreateOutcome,
  LoadOutcome,
  LockOutcome,
  NewSession,
  SessionCommit,
  SessionLock,
  StorePolicy,
} from '../session-store.ts'
import type { Fence } from './fence.ts'
import { sessionKey } from './keys.ts'
import { linesOf, ownerOf, timeOf } from './replies.ts'
import type { RunOptions, RunScript } from './script.ts'
import { addOTP } from './scripts/add-otp.ts'
import { commitSession } from './scripts/commit-session.ts'
import { createSession } from './scripts/create-session.ts'
import { describeSession } from './scripts/describe-session.ts'
import { destroySession } from './scripts/destroy-session.ts'
import { extendLock } from './scripts/extend-lock.ts'
import { grantSession } from './scripts/grant-session.ts'
import { loadSession } from './scripts/load-session.ts'
import { lockSession } from './scripts/lock-session.ts'
import { readSession } from './scripts/read-session.ts'
import { redeemOTP } from './scripts/redeem-otp.ts'
import { touchSession } from './scripts/touch-session.ts'
import type { Turn } from './turn.ts'

/** What a commit has come to. */
export interface Committed {
  readonly outcome: CommitOutcome
  /** After a sign-in, the session's idle timeout, whatever the request took it for. */
  readonly idleTimeoutMs?: number
}

/** What a touch has met. */
export interface TouchedSession {
  readonly now: number
  readonly refreshed: boolean
  readonly idleTimeoutMs: number
  readonly signedInAt: number
  readonly userName: string
}

/** The hashes of the sessions: what their scripts take and answer, in terms of the store contract. */
export class SessionHashes {
  readonly #run: RunScript
  readonly #prefix: string
  readonly #fence: Fence
  readonly #turn: Turn

  /**
   * @param prefix Of all keys.
   * @param turn Of the client that `run` asks.
   */
  constructor(run: RunScript, prefix: string, fence: Fence, turn: Turn) {
    this.#turn = turn
    this.#run = run
    this.#prefix = prefix
    this.#fence = fence
  }

  async create(
    session: NewSession,
    policy: StorePolicy,
    options?: RunOptions,
  ): Promise<CreateOutcome> {
    const { credential, draft, signsIn } = session
    const { absoluteTimeoutMs } = policy.expiry
    const reply = await this.#fence.run(
      createSession,
      {
        keys: this.#keys(credential.id),
        args: {
          untilMs: '',
          timeToLiveMs:
            draft.idleTimeoutMs === Infinity
              ? ''
              : timeToLiveMs(draft.idleTimeoutMs, policy.expiry),
          absoluteTimeoutMs: Number.isFinite(absoluteTimeoutMs) ? absoluteTimeoutMs : '',
          signsIn: signsIn ? 1 : 0,
          maxKeys: policy.limits.storageKeys,
          maxBytes: policy.limits.storageBytes,
        },
        rest: [...encodeDraft(draft), ...secretField(credential)],
      },
      options,
    )
    if (reply === 0) return { status: 'exists' }
    if (reply === -1) return { status: 'tooLarge' }
    const now = timeOf(reply)
    this.#fence.note(this.#keys(credential.id), now)
    return { status: 'created', now }
  }

  async load(
    { id, secretHash }: SessionCredential,
    policy: StorePolicy,
    isActivity: boolean,
  ): Promise<LoadOutcome | undefined> {
    const keys = this.#keys(id)
    // Requests come in together where there are many.
    await this.#turn.end()
    const reply = await this.#run(loadSession, {
      keys,
      args: {
        secretHash,
        refreshMs: policy.expiry.refreshMs,
        isActivity: isActivity ? 1 : 0,
      },
    })
    if (reply === 0) return undefined
    if (reply === -1) return { status: 'renewed' }
    if (typeof reply !== 'string') return { status: 'unreadable' }
    const now = Number.parseInt(reply, 10)
    this.#fence.note(keys, now)
    const record = decodeRecord(id, reply, 2)
    if (!record) return { status: 'unreadable' }
    return { status: 'live', record, now, refreshed: reply.charAt(reply.indexOf('\n') + 1) === '1' }
  }

  async commit(
    { id, secretHash }: SessionCredential,
    commit: SessionCommit,
    policy: StorePolicy,
    options?: RunOptions,
  ): Promise<Committed> {
    const { grants, storage, idleTimeoutMs } = commit
    const set = encodeChanges({
      ...(idleTimeoutMs !== undefined && { idleTimeoutMs }),
      ...(grants?.userName !== undefined && { userName: grants.userName }),
      ...(grants && { privileges: grants.privileges, roles: grants.roles }),
      ...(storage && { storage: storage.set }),
    })
    if (commit.postpones) set.push('z', '1')
    const removed = storage?.removed ?? []
    const reply = await this.#fence.run(
      commitSession,
      {
        keys: this.#keys(id),
        args: {
          untilMs: '',
          secretHash,
          maxKeys: policy.limits.storageKeys,
          maxBytes: policy.limits.storageBytes,
          timeToLiveMs:
            idleTimeoutMs === undefined ? '' : timeToLiveMs(idleTimeoutMs, policy.expiry),
          removedCount: removed.length || '',
          lockToken: commit.lock?.token ?? '',
          leaseMs: commit.lock?.leaseMs || '',
          newSecretHash: commit.newSecretHash ?? '',
          asksFor: commit.asksFor ?? '',
          clears: grants?.clears ? 1 : '',
          userName: commit.asksFor === 'rights' ? escapeText(commit.userName) : '',
          absoluteTimeoutMs: grants?.signsIn ? absoluteText(policy) : '',
        },
        rest: [...set, ...removed.map(storageField)],
      },
      options,
    )
    if (reply === 0) return { outcome: { status: 'ended' } }
    if (reply === 1) return { outcome: { status: 'renewed' } }
    if (reply === 2) return { outcome: { status: 'tooLarge' } }
    if (reply === 3) return { outcome: { status: 'unlocked' } }
    if (typeof reply === 'string') {
      const record = decodeRecord(id, reply, 1)
      if (!record) throw new SessionStoreError('Redis answered something unexpected')
      const outcome = { status: 'committed', now: Number.parseInt(reply, 10), record } as const
      return { outcome, idleTimeoutMs: record.idleTimeoutMs }
    }
    if (Array.isArray(reply)) {
      const [time, timeout]: unknown[] = reply
      return { outcome: { status: 'committed', now: timeOf(time) }, idleTimeoutMs: Number(timeout) }
    }
    const now = timeOf(reply)
    return { outcome: now < 0 ? { status: 'merged', now: -now } : { status: 'committed', now } }
  }

  async touch(
    { id, secretHash }: SessionCredential,
    { expiry: { refreshMs } }: StorePolicy,
  ): Promise<TouchedSession | undefined> {
    const reply = await this.#run(touchSession, {
      keys: this.#keys(id),
      args: { secretHash, refreshMs },
    })
    if (reply === 0) return undefined
    const [now, refreshed, idleTimeoutMs, signedInAt, userName = ''] = linesOf(reply)
    return {
      now: Number(now),
      refreshed: refreshed === '1',
      idleTimeoutMs: Number(idleTimeoutMs),
      signedInAt: Number(signedInAt),
      userName: ownerOf(userName),
    }
  }

  async lock(
    { id, secretHash }: SessionCredential,
    { token, leaseMs }: SessionLock,
  ): Promise<LockOutcome | undefined> {
    const reply = await this.#run(lockSession, {
      keys: this.#keys(id),
      args: { secretHash, token, leaseMs },
    })
    if (reply === -1) return { status: 'busy' }
    if (typeof reply !== 'string') return undefined
    const record = decodeRecord(id, reply, 1)
    return record && { status: 'locked', record, now: Number.parseInt(reply, 10) }
  }

  async extendLock(id: string, { token, leaseMs }: SessionLock): Promise<boolean> {
    return (await this.#run(extendLock, { keys: this.#keys(id), args: { token, leaseMs } })) === 1
  }

  async addOTP(
    { id, secretHash }: SessionCredential,
    otpHash: string,
    lifespanMs: number,
    { timeoutMs }: StorePolicy,
  ): Promise<boolean> {
    const args = { untilMs: '', secretHash, otpHash, lifespanMs }
    return (await this.#fence.run(addOTP, { keys: this.#keys(id), args }, within(timeoutMs))) === 1
  }

  async redeemOTP(
    { id, secretHash: otpHash }: SessionCredential,
    newSecretHash: string,
    { expiry: { refreshMs }, timeoutMs }: StorePolicy,
  ): Promise<Extract<LoadOutcome, { status: 'live' }> | undefined> {
    const args = { untilMs: '', otpHash, newSecretHash, refreshMs }
    const call = { keys: this.#keys(id), args }
    const reply = await this.#fence.run(redeemOTP, call, within(timeoutMs))
    if (typeof reply !== 'string') return undefined
    const record = decodeRecord(id, reply, 2)
    return record && { status: 'live', record, now: Number.parseInt(reply, 10), refreshed: true }
  }

  async read(id: string): Promise<SessionRecord | undefined> {
    const reply = await this.#run(readSession, { keys: this.#keys(id), args: {} })
    return typeof reply === 'string' ? decodeRecord(id, reply) : undefined
  }

  /**
   * @returns `undefined` when there is no live session, `'unreadable'` when there may be one, of a
   *   later version.
   */
  async describe(
    id: string,
    { expiry: { refreshMs } }: StorePolicy,
  ): Promise<SessionSummary | 'unreadable' | undefined> {
    const reply = await this.#run(describeSession, { keys: this.#keys(id), args: { refreshMs } })
    if (reply === 0) return undefined
    if (reply === -2) return 'unreadable'
    const [now, activeAt, isPostponed] = linesOf(reply)
    const record = decodeRecord(id, String(reply), 3)
    if (!record) return 'unreadable'
    const { privileges: _privileges, roles: _roles, storage: _storage, ...summary } = record
    return {
      ...summary,
      now: Number(now),
      activeAt: Math.max(Number(activeAt), record.createdAt),
      isPostponed: isPostponed === '1',
    }
  }

  async grant(
    id: string,
    userName: string,
    grants: GrantChanges,
    { timeoutMs }: StorePolicy,
  ): Promise<boolean> {
    const { clears, privileges, roles } = grants
    const name = grants.userName === undefined ? {} : { userName: grants.userName }
    const call = {
      keys: this.#keys(id),
      args: { untilMs: '', userName: escapeText(userName), clears: clears ? 1 : 0 },
      rest: encodeChanges({ ...name, privileges, roles }),
    }
    return (await this.#fence.run(grantSession, call, within(timeoutMs))) === 1
  }

  /**
   * Ends a session.
   *
   * @param userName Whose it must be; anybody's when `undefined`.
   * @returns Whose it was; `undefined` when nothing has ended.
   */
  async destroy(id: string, userName: string | undefined): Promise<string | undefined> {
    const reply = await this.#run(destroySession, {
      keys: this.#keys(id),
      args: { isOwned: userName === undefined ? 0 : 1, userName: escapeText(userName ?? '') },
    })
    if (reply === 0) return undefined
    if (typeof reply !== 'string') {
      throw new SessionStoreError('Redis answered something unexpected')
    }
    return ownerOf(reply)
  }

  #keys(id: string): { readonly session: string } {
    return { session: sessionKey(this.#prefix, id) }
  }
}

/** For a caller that waits for so long from now on. */
function within(timeoutMs: number): RunOptions {
  return { until: performance.now() + timeoutMs }
}

/** A caller that is trusted needs none. */
function secretField({ secretHash }: SessionCredential): readonly string[] {
  return secretHash === '' ? [] : [`k:${secretHash}`, '0']
}

/** What the commit script takes for a sign-in. */
function absoluteText({ expiry }: StorePolicy): string | number {
  return Number.isFinite(expiry.absoluteTimeoutMs) ? expiry.absoluteTimeoutMs : 'none'
}
