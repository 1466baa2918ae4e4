import type { GrantChanges } from '../core/grants.ts'
import type { SessionRecord, SessionSummary } from '../core/record.ts'
import type { SessionCredential } from '../core/secret.ts'
import { SessionStoreError } from '../errors.ts'
import { Breaker } from './breaker.ts'
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

/** A method of a store that can fail. */
export type StoreOperation = Exclude<keyof SessionStore, 'close'>

// What is asked for to see whether the store answers: an id that no session has.
const nobody = 'ffffffff-ffff-4fff-bfff-ffffffffffff'

/**
 * Gives every call of another store a deadline, whatever that store waits for, and turns whatever
 * it rejects with into a `SessionStoreError`. An answer after the deadline is dropped. A store that
 * has not answered several times in a row is left alone until it answers again.
 */
export class DeadlineStore implements SessionStore {
  readonly #store: SessionStore
  readonly #timeoutMs: number
  readonly #onError: (operation: StoreOperation, error: SessionStoreError) => void
  readonly #breaker: Breaker

  constructor(
    store: SessionStore,
    timeoutMs: number,
    onError: (operation: StoreOperation, error: SessionStoreError) => void,
  ) {
    this.#store = store
    this.#timeoutMs = timeoutMs
    this.#onError = onError
    this.#breaker = new Breaker(() => store.read(nobody), timeoutMs)
  }

  create(session: NewSession, policy: StorePolicy): Promise<CreateOutcome> {
    return this.#within('create', () => this.#store.create(session, policy))
  }

  load(
    credential: SessionCredential,
    policy: StorePolicy,
    isActivity: boolean,
  ): Promise<LoadOutcome | undefined> {
    return this.#within('load', () => this.#store.load(credential, policy, isActivity))
  }

  commit(
    credential: SessionCredential,
    commit: SessionCommit,
    policy: StorePolicy,
  ): Promise<CommitOutcome> {
    return this.#within('commit', () => this.#store.commit(credential, commit, policy))
  }

  touch(credential: SessionCredential, policy: StorePolicy): Promise<number | undefined> {
    return this.#within('touch', () => this.#store.touch(credential, policy))
  }

  lock(credential: SessionCredential, lock: SessionLock): Promise<LockOutcome | undefined> {
    return this.#within('lock', () => this.#store.lock(credential, lock))
  }

  extendLock(id: string, lock: SessionLock): Promise<boolean> {
    return this.#within('extendLock', () => this.#store.extendLock(id, lock))
  }

  unlock(id: string, token: string): Promise<boolean> {
    return this.#within('unlock', () => this.#store.unlock(id, token))
  }

  addOTP(credential: SessionCredential, otpHash: string, lifespanMs: number): Promise<boolean> {
    return this.#within('addOTP', () => this.#store.addOTP(credential, otpHash, lifespanMs))
  }

  redeemOTP(
    otp: SessionCredential,
    newSecretHash: string,
    policy: StorePolicy,
  ): ReturnType<SessionStore['redeemOTP']> {
    return this.#within('redeemOTP', () => this.#store.redeemOTP(otp, newSecretHash, policy))
  }

  read(id: string): Promise<SessionRecord | undefined> {
    return this.#within('read', () => this.#store.read(id))
  }

  describe(id: string, policy: StorePolicy): Promise<SessionSummary | undefined> {
    return this.#within('describe', () => this.#store.describe(id, policy))
  }

  list(userName: string, policy: StorePolicy): Promise<readonly SessionSummary[]> {
    return this.#within('list', () => this.#store.list(userName, policy))
  }

  grant(id: string, userName: string, grants: GrantChanges): Promise<boolean> {
    return this.#within('grant', () => this.#store.grant(id, userName, grants))
  }

  destroy(id: string, userName?: string): Promise<boolean> {
    return this.#within('destroy', () => this.#store.destroy(id, userName))
  }

  destroyAll(userName: string, exceptId?: string): Promise<readonly string[]> {
    return this.#within('destroyAll', () => this.#store.destroyAll(userName, exceptId))
  }

  close(): Promise<void> {
    this.#breaker.close()
    return this.#store.close()
  }

  async #within<T>(operation: StoreOperation, call: () => Promise<T>): Promise<T> {
    if (this.#breaker.isOpen) {
      const error = new SessionStoreError('the session store does not answer')
      this.#onError(operation, error)
      throw error
    }
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => {
        this.#breaker.timedOut()
        reject(new SessionStoreError(`the session store did not answer in ${this.#timeoutMs} ms`))
      }, this.#timeoutMs)
    })
    try {
      const answer = await Promise.race([call(), late])
      this.#breaker.answered()
      return answer
    } catch (reason) {
      const error =
        reason instanceof SessionStoreError
          ? reason
          : new SessionStoreError('the session store failed', { cause: reason })
      this.#onError(operation, error)
      throw error
    } finally {
      clearTimeout(timer)
    }
  }
}
