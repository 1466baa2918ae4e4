import { trustedCredential } from '../cookie/cookie.ts'
import { SessionStoreError } from '../errors/errors.ts'
import { Breaker } from './breaker.ts'
import type { SessionStore, StoreOperation, StorePolicy } from './session-store.ts'
import { storeChannels, tracedCall } from './store-call.ts'

interface Subject {
  readonly id?: string
  /** Whether the call is about all sessions of a user, which may be on another server. */
  readonly isUsers?: boolean
}

type Result<Name extends StoreOperation> = Awaited<ReturnType<SessionStore[Name]>>

type Operations = {
  readonly [Name in StoreOperation]: (
    ...args: Parameters<SessionStore[Name]>
  ) => Promise<Result<Name>>
}

/** What a call of each operation is about. */
const subjectOf: {
  readonly [Name in StoreOperation]: (...args: Parameters<SessionStore[Name]>) => Subject
} = {
  create: ({ credential, draft }) => ({ id: credential.id, isUsers: draft.userName !== '' }),
  load: ({ id }) => ({ id }),
  commit: ({ id }, { grants }) => ({ id, isUsers: Boolean(grants?.userName) }),
  lock: ({ id }) => ({ id }),
  list: () => ({ isUsers: true }),
  destroy: (id) => ({ id }),
}

export const storeOperations: readonly string[] = Object.keys(subjectOf)

// A probe without a session reads this id, which is never assigned.
const nobody = 'ffffffff-ffff-4fff-bfff-ffffffffffff'
// A probe only reads, so none of these values matters.
const probePolicy: StorePolicy = {
  expiry: { refreshMs: 0, absoluteTimeoutMs: Infinity },
  limits: { storageBytes: 1, storageKeys: 1 },
  timeoutMs: Infinity,
  maxSessions: undefined,
}

/**
 * Gives every call of a store a deadline, even if that store never settles, and turns every
 * rejection into a `SessionStoreError`. Drops results after the deadline. Leaves a server alone
 * that has repeatedly not answered, until it answers again.
 */
export class DeadlineStore implements SessionStore {
  readonly #store: SessionStore
  readonly #operations: Operations
  readonly #timeoutMs: number
  readonly #onError: (operation: StoreOperation, error: SessionStoreError) => void
  // By `nodeOf`, for servers that have not answered.
  readonly #breakers = new Map<string, Breaker>()
  #isClosed = false

  constructor(
    store: SessionStore,
    timeoutMs: number,
    onError: (operation: StoreOperation, error: SessionStoreError) => void,
  ) {
    this.#store = store
    this.#operations = store
    this.#timeoutMs = timeoutMs
    this.#onError = onError
  }

  readonly create: SessionStore['create'] = (...args) => this.#call('create', args)
  readonly load: SessionStore['load'] = (...args) => this.#call('load', args)
  readonly commit: SessionStore['commit'] = (...args) => this.#call('commit', args)
  readonly lock: SessionStore['lock'] = (...args) => this.#call('lock', args)
  readonly list: SessionStore['list'] = (...args) => this.#call('list', args)
  readonly destroy: SessionStore['destroy'] = (...args) => this.#call('destroy', args)

  close(): Promise<void> {
    this.#isClosed = true
    for (const breaker of this.#breakers.values()) breaker.close()
    return this.#store.close()
  }

  #call<Name extends StoreOperation>(
    operation: Name,
    args: Parameters<SessionStore[Name]>,
  ): Promise<Result<Name>> {
    const subject = subjectOf[operation](...args)
    const call = (): Promise<Result<Name>> => this.#operations[operation](...args)
    if (!isTraced()) return this.#inTime(operation, subject, call)
    const { id } = subject
    const message = { operation, ...(id !== undefined && { id }) }
    return tracedCall(message, () => this.#inTime(operation, subject, call))
  }

  #inTime<T>(
    operation: StoreOperation,
    { id, isUsers = false }: Subject,
    call: () => Promise<T>,
  ): Promise<T> {
    const node = this.#store.nodeOf ? this.#store.nodeOf(id) : ''
    if (node !== undefined && this.#breakers.get(node)?.isOpen) {
      const error = new SessionStoreError('the session store does not answer')
      this.#onError(operation, error)
      return Promise.reject(error)
    }
    return new Promise((resolve, reject) => {
      let isOver = false
      const fail = (reason: unknown): void => {
        if (isOver) return
        isOver = true
        clearTimeout(timer)
        const error =
          reason instanceof SessionStoreError
            ? reason
            : new SessionStoreError('the session store failed', { cause: reason })
        this.#onError(operation, error)
        reject(error)
      }
      const answer = (value: T): void => {
        if (isOver) return
        isOver = true
        clearTimeout(timer)
        if (node !== undefined && this.#breakers.size > 0) this.#answered(node)
        resolve(value)
      }
      const giveUp = (): void => {
        if (isOver) return
        this.#timedOut(isUsers && this.#store.nodeOf ? this.#store.nodeOf() : node, id ?? nobody)
        fail(new SessionStoreError(`the session store did not answer in ${this.#timeoutMs} ms`))
      }
      // A reply may have arrived while this process was busy: it is read first.
      const timer = setTimeout(() => setImmediate(giveUp), this.#timeoutMs)
      try {
        Promise.resolve(call()).then(answer, fail)
      } catch (error) {
        fail(error)
      }
    })
  }

  #answered(node: string): void {
    this.#breakers.get(node)?.close()
    this.#breakers.delete(node)
  }

  #timedOut(node: string | undefined, id: string): void {
    if (this.#isClosed || node === undefined) return
    let breaker = this.#breakers.get(node)
    if (!breaker) this.#breakers.set(node, (breaker = new Breaker(this.#timeoutMs)))
    breaker.timedOut(() => this.#store.load(trustedCredential(id), probePolicy, false))
  }
}

/** Whether the calls of stores have a subscriber. */
export function isTraced(): boolean {
  const { start, end, asyncStart, asyncEnd, error } = storeChannels
  // Node 20's `TracingChannel` lacks `hasSubscribers`.
  return (
    start.hasSubscribers ||
    asyncEnd.hasSubscribers ||
    error.hasSubscribers ||
    asyncStart.hasSubscribers ||
    end.hasSubscribers
  )
}
