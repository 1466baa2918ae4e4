import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'

import { trustedCredential, type SessionCredential } from '../cookie/cookie.ts'
import { SessionLockTimeoutError } from '../errors/errors.ts'
import type { SessionLock, SessionStore, StorePolicy } from '../store/session-store.ts'
import type { LoadedSession } from './session-state.ts'

// The lock of a dead holder is free after the lease. A live holder extends it three times as often.
const leaseMs = 3000
const extendEveryMs = 1000
// So many blocks of one process run in a row before another process gets its turn.
const maxTurns = 32
const maxPollMs = 25

/** The blocks of this process that wait for the lock of one session. */
interface LockQueue {
  /** The token by which this process holds or claims the lock. */
  token: string
  /** How many blocks have run with the token. */
  turns: number
  readonly waiting: ((handed?: LoadedSession) => void)[]
}

/** How a held lock goes back to the store, or on to the next block. */
interface Handover {
  /** Whether the next block of this process can take over the lock. */
  readonly isPassedOn: () => boolean
  readonly unlock: () => Promise<unknown>
  /** Starts the next block, with the same token or a new one. */
  readonly next: (keepsToken: boolean, handed?: LoadedSession) => void
}

/** The lock of a session, held for one block. */
export class HeldLock {
  /** The session at the time when the lock was taken, or handed on by the block before. */
  readonly session: LoadedSession
  readonly #token: string
  readonly #handover: Handover
  /** `'unknown'` after a failed commit: by then another holder may have the lock. */
  #status: 'held' | 'released' | 'unknown' = 'held'
  /** The session for the next block of this process, which then needs no read. */
  #handed: LoadedSession | undefined

  constructor(session: LoadedSession, token: string, handover: Handover) {
    this.session = session
    this.#token = token
    this.#handover = handover
  }

  /**
   * Returns the claim for a commit. The last commit of a block releases the lock, unless the next
   * block of this process takes it over.
   */
  claim(isLast: boolean): SessionLock {
    return { token: this.#token, leaseMs: isLast && !this.#handover.isPassedOn() ? 0 : leaseMs }
  }

  /** Records that a commit has released the lock. */
  released(): void {
    this.#status = 'released'
  }

  /** Records that a commit failed. */
  mayBeLost(): void {
    this.#status = 'unknown'
  }

  /** Hands the session on to the next block of this process. */
  handOn(session: LoadedSession): void {
    this.#handed = session
  }

  /** Ends the block. */
  async end(): Promise<void> {
    // A lock that may still be held is released too, so that a late commit is refused.
    if (this.#status === 'unknown' || (this.#status === 'held' && !this.#handover.isPassedOn())) {
      try {
        await this.#handover.unlock()
        this.#status = 'released'
      } catch {
        // The block is done. The lock ends with its lease.
        this.#status = 'unknown'
      }
    }
    this.#handover.next(this.#status === 'held', this.#handed)
  }
}

/**
 * The locks of this process. Blocks on one session queue here in order, and only the first one asks
 * the store.
 */
export class Locks {
  readonly #store: SessionStore
  readonly #policy: StorePolicy
  readonly #timeoutMs: number
  readonly #queues = new Map<string, LockQueue>()

  /** @param timeoutMs How long a block waits for its turn. */
  constructor(store: SessionStore, policy: StorePolicy, timeoutMs: number) {
    this.#store = store
    this.#policy = policy
    this.#timeoutMs = timeoutMs
  }

  /**
   * Waits for the lock of a session. Returns `undefined` when the session has ended, and throws
   * `SessionLockTimeoutError` when the turn did not come in time.
   */
  async acquire(credential: SessionCredential): Promise<HeldLock | undefined> {
    const { id, secretHash, generation } = credential
    const until = performance.now() + this.#timeoutMs
    const { queue, handed } = await this.#queue(id, until)
    try {
      const isHanded =
        handed?.credential.secretHash === secretHash && handed.credential.generation === generation
      const session = isHanded ? handed : await this.#ask(credential, queue, until)
      if (!session) {
        // The block before may have kept the lock for this one, whose secret is out of date.
        const isKept = queue.turns > 0 && queue.waiting.length === 0
        if (isKept) await this.#extend(id, { token: queue.token, leaseMs: 0 })
        this.#next(id, queue)
        return undefined
      }
      queue.turns++
      return this.#held(id, queue, session)
    } catch (error) {
      // The store may have locked with this token, so it is not used again.
      startAnew(queue)
      this.#next(id, queue)
      throw error
    }
  }

  /** Waits until no other block of this process uses the session. */
  async #queue(
    id: string,
    until: number,
  ): Promise<{ readonly queue: LockQueue; readonly handed?: LoadedSession | undefined }> {
    const present = this.#queues.get(id)
    if (!present) {
      const queue: LockQueue = { token: randomUUID(), turns: 0, waiting: [] }
      this.#queues.set(id, queue)
      return { queue }
    }
    const handed = await new Promise<LoadedSession | undefined>((resolve, reject) => {
      const turn = (session?: LoadedSession): void => {
        clearTimeout(timer)
        resolve(session)
      }
      const timer = setTimeout(() => {
        present.waiting.splice(present.waiting.indexOf(turn), 1)
        reject(timedOut())
      }, until - performance.now())
      present.waiting.push(turn)
    })
    return { queue: present, handed }
  }

  async #ask(
    credential: SessionCredential,
    { token }: LockQueue,
    until: number,
  ): Promise<LoadedSession | undefined> {
    for (let asked = 1; ; asked++) {
      const outcome = await this.#store.lock(credential, { token, leaseMs })
      if (outcome?.status === 'locked') return { ...outcome, credential }
      if (!outcome) return undefined
      // Random, so that waiting processes do not ask in step.
      const pollMs = Math.min(2 * asked, maxPollMs) * (0.75 + Math.random() / 2)
      if (performance.now() + pollMs > until) throw timedOut()
      await delay(pollMs)
    }
  }

  #held(id: string, queue: LockQueue, session: LoadedSession): HeldLock {
    const { token } = queue
    const timer = setInterval(() => {
      // A failure shows when the block commits.
      this.#extend(id, { token, leaseMs }).catch(() => undefined)
    }, extendEveryMs)
    timer.unref()
    return new HeldLock(session, token, {
      isPassedOn: () => queue.waiting.length > 0 && queue.turns < maxTurns,
      unlock: () => this.#extend(id, { token, leaseMs: 0 }),
      next: (keepsToken, handed) => {
        clearInterval(timer)
        if (!keepsToken) startAnew(queue)
        this.#next(id, queue, keepsToken ? handed : undefined)
      },
    })
  }

  #extend(id: string, lock: SessionLock): Promise<unknown> {
    return this.#store.commit(trustedCredential(id), { lock }, this.#policy)
  }

  #next(id: string, queue: LockQueue, handed?: LoadedSession): void {
    const turn = queue.waiting.shift()
    if (turn) turn(handed)
    else this.#queues.delete(id)
  }
}

/** Makes later claims those of a new holder. */
function startAnew(queue: LockQueue): void {
  queue.token = randomUUID()
  queue.turns = 0
}

function timedOut(): SessionLockTimeoutError {
  return new SessionLockTimeoutError('the turn to use the session did not come in time')
}
