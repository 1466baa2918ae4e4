import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'

import { trustedCredential } from '../cookie/credential.ts'
import type { SessionCredential } from '../cookie/credential.ts'
import { SessionLockTimeoutError } from '../errors/errors.ts'
import type { SessionRecord } from '../store/record.ts'
import type { SessionLock, SessionStore, StorePolicy } from '../store/session-store.ts'

// A dead holder's lock is free after the lease. A living one extends it three times as often.
export const leaseMs = 3000
const extendEveryMs = 1000
// So many blocks of one process run in a row before another process gets its turn.
const maxTurns = 32
const maxPollMs = 25

/** The session as it was when the lock was taken, or handed on. */
export interface LockedSession {
  readonly record: SessionRecord
  /** What the store wants to be given back with a commit. */
  readonly seen?: unknown
  /** The store's time then. */
  readonly now: number
}

/** A session's lock, held for one block. */
export interface HeldLock extends LockedSession {
  readonly token: string
  /** Whether the next block of this process can take it over, so that it need not be given back. */
  readonly isPassedOn: boolean
  /**
   * Ends the block.
   *
   * @param status Whether the store has it no more, has it still, or nobody knows.
   * @param handed With `held`, the session for the next block of this process, if it comes with the
   *   same credential: it need not ask the store.
   */
  done(status: LockStatus, handed?: Handed): void
}

/** Whether the store has a lock still, has it no more, or nobody knows. */
export type LockStatus = 'held' | 'released' | 'unknown'

/** What one block hands to the next. */
export interface Handed extends LockedSession {
  /** Which is good now. */
  readonly secretHash: string
}

/** The blocks of this process that want the lock of one session. */
interface Line {
  /** Under which this process holds or asks for the lock. */
  token: string
  /** How many blocks have run under it. */
  turns: number
  readonly waiting: ((handed?: Handed) => void)[]
}

/**
 * The locks of this process: blocks on one session queue here in order, and only the first of them
 * asks the store.
 */
export class Locks {
  readonly #store: SessionStore
  readonly #policy: StorePolicy
  readonly #timeoutMs: number
  readonly #lines = new Map<string, Line>()

  /**
   * @param store Of the sessions.
   * @param policy Of the store's calls.
   * @param timeoutMs How long a block waits for its turn.
   */
  constructor(store: SessionStore, policy: StorePolicy, timeoutMs: number) {
    this.#store = store
    this.#policy = policy
    this.#timeoutMs = timeoutMs
  }

  /**
   * Gives a lock back.
   *
   * @param id The session's id.
   * @param token Who holds it.
   * @throws {SessionStoreError} When the store fails.
   */
  async unlock(id: string, token: string): Promise<void> {
    await this.#keep(id, { token, leaseMs: 0 })
  }

  /**
   * Waits for the lock of a session.
   *
   * @param credential Of the session.
   * @returns `undefined` when the session has ended.
   * @throws {SessionLockTimeoutError} When the turn has not come in time.
   * @throws {SessionStoreError} When the store fails.
   */
  async acquire(credential: SessionCredential): Promise<HeldLock | undefined> {
    const until = performance.now() + this.#timeoutMs
    const { line, handed } = await this.#queue(credential.id, until)
    try {
      const isHanded = handed?.secretHash === credential.secretHash
      const locked = isHanded ? handed : await this.#ask(credential, line, until)
      if (!locked) {
        // The block before may have kept the lock for this one, which comes with an old secret.
        const isKept = line.turns > 0 && line.waiting.length === 0
        if (isKept) await this.unlock(credential.id, line.token)
        this.#next(credential.id, line)
        return undefined
      }
      line.turns++
      return this.#held(credential.id, line, locked)
    } catch (error) {
      // Nobody knows whether the store has locked, so nobody may go on under this token.
      this.#renew(line)
      this.#next(credential.id, line)
      throw error
    }
  }

  /** Waits until this process has no other block on the session. */
  async #queue(
    id: string,
    until: number,
  ): Promise<{ readonly line: Line; readonly handed?: Handed | undefined }> {
    const present = this.#lines.get(id)
    if (!present) {
      const line: Line = { token: randomUUID(), turns: 0, waiting: [] }
      this.#lines.set(id, line)
      return { line }
    }
    const handed = await new Promise<Handed | undefined>((resolve, reject) => {
      const turn = (handed?: Handed): void => {
        clearTimeout(timer)
        resolve(handed)
      }
      const timer = setTimeout(() => {
        present.waiting.splice(present.waiting.indexOf(turn), 1)
        reject(timedOut())
      }, until - performance.now())
      present.waiting.push(turn)
    })
    return { line: present, handed }
  }

  async #ask(
    credential: SessionCredential,
    { token }: Line,
    until: number,
  ): Promise<LockedSession | undefined> {
    for (let asked = 1; ; asked++) {
      const outcome = await this.#store.lock(credential, { token, leaseMs })
      if (outcome?.status !== 'busy') return outcome
      // Not in step with others that wait.
      const pollMs = Math.min(2 * asked, maxPollMs) * (0.75 + Math.random() / 2)
      if (performance.now() + pollMs > until) throw timedOut()
      await delay(pollMs)
    }
  }

  #held(id: string, line: Line, { record, seen, now }: LockedSession): HeldLock {
    const { token } = line
    const timer = setInterval(() => {
      // A failure shows when the block is committed.
      this.#keep(id, { token, leaseMs }).catch(() => undefined)
    }, extendEveryMs)
    timer.unref()
    return {
      token,
      record,
      seen,
      now,
      get isPassedOn() {
        return line.waiting.length > 0 && line.turns < maxTurns
      },
      done: (status, handed) => {
        clearInterval(timer)
        if (status !== 'held') this.#renew(line)
        this.#next(id, line, status === 'held' ? handed : undefined)
      },
    }
  }

  #keep(id: string, lock: SessionLock): Promise<unknown> {
    return this.#store.commit(trustedCredential(id), { lock }, this.#policy)
  }

  /** What asks from now on is another holder to the store. */
  #renew(line: Line): void {
    line.token = randomUUID()
    line.turns = 0
  }

  #next(id: string, line: Line, handed?: Handed): void {
    const turn = line.waiting.shift()
    if (turn) turn(handed)
    else this.#lines.delete(id)
  }
}

function timedOut(): SessionLockTimeoutError {
  return new SessionLockTimeoutError('the turn to use the session did not come in time')
}
