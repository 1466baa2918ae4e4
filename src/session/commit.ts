import type { Carrier } from '../cookie/carrier.ts'
import { newSecret } from '../cookie/credential.ts'
import type { NewSecret } from '../cookie/credential.ts'
import {
  SessionEndedError,
  SessionHeadersSentError,
  SessionLimitError,
  SessionLockTimeoutError,
  SessionStoreError,
  StorageSizeError,
} from '../errors/errors.ts'
import type { SessionEndReason } from '../events/events.ts'
import type { GrantChanges } from '../privileges/grants.ts'
import type { CommitOutcome } from '../store/session-store.ts'
import type { Services } from './services.ts'
import type { SessionState } from './session-state.ts'
import { leaseMs } from './use-lock.ts'
import type { Handed, HeldLock, LockStatus } from './use-lock.ts'

/**
 * Who wants a commit. `save()` stores what has not changed too, and it and a block learn that the
 * session has gone; at the end of a request changes to it are dropped.
 */
export type Caller = 'save' | 'block' | 'request'

/** What is special about a commit. */
export interface CommitOptions {
  /** Asks for a new secret, whatever has changed. */
  readonly renews?: boolean
  /** Notes that the client suspends. */
  readonly postpones?: boolean
  /** The lock under which the changes were made. A commit notes what became of it. */
  readonly lock?: BlockLock | undefined
}

/** The lock of a block. */
export interface BlockLock {
  readonly held: HeldLock
  status: LockStatus
  /** For the next block of this process. */
  handed?: Handed
}

/**
 * Takes what a request has changed in a session to the store and its cookie to the client: as one
 * create or one commit, and on to another session where the first one is gone.
 */
export class Committer {
  readonly #services: Services
  readonly #carrier: Carrier
  readonly #refusal: Error | undefined
  /** Sessions that a commit has found gone. */
  readonly #gone = new Set<string>()

  /**
   * @param services Of the `Sessions`.
   * @param carrier Takes the cookie to the client.
   * @param refusal Why nothing can be stored; `undefined` when it can.
   */
  constructor(services: Services, carrier: Carrier, refusal: Error | undefined) {
    this.#services = services
    this.#carrier = carrier
    this.#refusal = refusal
  }

  /**
   * Commits what has changed.
   *
   * @param state Of the session.
   * @param caller Who wants it.
   * @param options What is special.
   * @returns The state to go on with: the same, or that of the session that the changes went into.
   */
  async commit(
    state: SessionState,
    caller: Caller,
    options: CommitOptions = {},
  ): Promise<SessionState> {
    if (!state.isNew) return this.#update(state, caller, options)
    const creates = caller === 'save' || state.isTouched
    const ends = state.replaces.length > 0 || state.leavesCarried
    if (creates || ends) await this.#create(state, creates)
    return state
  }

  /**
   * Ends a session in the store.
   *
   * @param id Of the session.
   * @param reason For the event.
   */
  async end(id: string, reason: SessionEndReason): Promise<void> {
    const { store, events } = this.#services
    if (await store.destroy(id)) events.emit('session:ended', { id, reason })
  }

  /**
   * Notes that the store has a session no more.
   *
   * @param id Of the session.
   * @returns What to tell the app.
   */
  foundGone(id: string): SessionEndedError {
    if (!this.#gone.has(id)) this.#services.events.emit('session:ended', { id, reason: 'gone' })
    this.#gone.add(id)
    return new SessionEndedError()
  }

  /** Stores a session that the store does not have, and ends those whose place it takes. */
  async #create(state: SessionState, creates: boolean): Promise<void> {
    if (creates && this.#refusal) throw this.#refusal
    if (creates && !this.#carrier.canSet) throw new SessionHeadersSentError()
    const storing = creates ? this.#store(state) : undefined
    // A sign-in that is refused ends nothing.
    if (this.#services.policy.maxSessions?.onExceed === 'refuse') await storing
    const ends = state.replaces.map((id) => this.end(id, creates ? 'replaced' : 'destroyed'))
    await Promise.all([storing, ...ends])
    state.replaces = []
    state.leavesCarried = false
    if (!creates && this.#carrier.canSet) this.#carrier.clear()
  }

  async #store(state: SessionState): Promise<void> {
    const { store, policy, events } = this.#services
    const client = await state.origin.describeClient()
    const storage = state.storage.changes()
    const draft = state.draft(client, storage)
    const grants = state.grants.takeChanges()
    const signsIn = grants?.signsIn ?? false
    const secret = newSecret(state.id)
    const credential = { id: state.id, secretHash: secret.secretHash }
    let ended: readonly string[] | undefined
    try {
      const outcome = await store.create({ credential, draft, signsIn }, policy)
      if (outcome.status === 'exists') throw new SessionStoreError('the session id is taken')
      if (outcome.status === 'tooLarge') throw this.#tooLarge()
      if (outcome.status === 'refused') throw this.#refused(state)
      state.committed({ storage, idleTimeoutMs: draft.idleTimeoutMs })
      state.credential = credential
      state.seen = outcome.seen
      state.client = draft.client
      state.createdAt = outcome.now
      state.activeAt = outcome.now
      state.endsAt = outcome.now + policy.expiry.absoluteTimeoutMs
      ended = outcome.ended
    } catch (error) {
      takeBack(state, grants, error)
      // Or each request of this client would be refused, its next sign-in too.
      if (state.isCarried && error instanceof SessionLimitError) this.#carrier.clearLegacy()
      throw error
    }
    this.#give(secret, state)
    const { id } = state
    const { userName } = draft
    events.emit('session:created', { id, userName })
    if (signsIn) events.emit('session:signedIn', { id, userName })
    this.#exceeded(ended)
  }

  /** Changes a session that the store has. */
  async #update(
    state: SessionState,
    caller: Caller,
    { renews = false, postpones = false, lock }: CommitOptions,
  ): Promise<SessionState> {
    const { credential } = state
    const changes = state.changes()
    if (credential === undefined || (!changes && caller !== 'save')) return state
    // A block or a save() has told the app already.
    const isGone = caller === 'request' && this.#gone.has(state.id)
    if (isGone && !changes?.grants?.signsIn) return state

    const { storage, grants, idleTimeoutMs } = changes ?? {}
    const asksFor = gainsRights(grants) ? 'rights' : renews ? 'secret' : undefined
    // A token stays as it is.
    const isTrusted = credential.secretHash === ''
    const takesSecret = !isTrusted && (asksFor !== undefined || grants?.userName !== undefined)
    if (takesSecret && !this.#carrier.canSet) {
      // Told, and forgotten: storage can go on being saved.
      state.grants.discard()
      throw new SessionHeadersSentError()
    }
    const secret = takesSecret ? newSecret(state.id) : undefined
    const { store, policy } = this.#services
    // The next block of this process takes it over, if there is one.
    const isReleased = caller === 'block' && !lock?.held.isPassedOn
    state.grants.takeChanges()
    let outcome: CommitOutcome
    try {
      const { userName } = state.grants.granted
      const newSecretHash = secret?.secretHash
      outcome = await store.commit(
        credential,
        {
          seen: state.seen,
          storage,
          idleTimeoutMs,
          grants,
          userName,
          newSecretHash,
          asksFor,
          postpones,
          lock: lock && { token: lock.held.token, leaseMs: isReleased ? 0 : leaseMs },
        },
        policy,
      )
      if (outcome.status === 'tooLarge') throw this.#tooLarge()
      if (outcome.status === 'refused') throw this.#refused(state)
      if (outcome.status === 'unlocked') {
        throw new SessionLockTimeoutError('the block has outlived its lock: nothing was stored')
      }
    } catch (error) {
      takeBack(state, grants, error)
      // One that may have changed hands is nobody's.
      if (lock && !isRefusal(error)) lock.status = 'unknown'
      throw error
    }
    if (outcome.status === 'ended' || outcome.status === 'renewed') {
      return this.#moveOn(state, outcome.status, caller, grants)
    }
    if (outcome.status === 'committed' || outcome.status === 'merged') state.seen = outcome.seen
    if (lock && isReleased) lock.status = 'released'
    if (lock && caller === 'block' && outcome.status === 'committed' && outcome.record) {
      const secretHash = secret?.secretHash ?? credential.secretHash
      const { record, seen, now } = outcome
      lock.handed = { record, seen, now, secretHash }
    }
    state.committed({ storage, idleTimeoutMs })
    if (grants?.signsIn) state.endsAt = outcome.now + policy.expiry.absoluteTimeoutMs
    if (secret && outcome.status === 'committed') this.#renewed(state, secret, grants)
    if (outcome.status === 'committed') this.#exceeded(outcome.ended)
    return state
  }

  /** What becomes of changes to a session that has gone, or that the cookie no longer opens. */
  async #moveOn(
    state: SessionState,
    status: 'ended' | 'renewed',
    caller: Caller,
    grants: GrantChanges | undefined,
  ): Promise<SessionState> {
    const error = status === 'ended' ? this.foundGone(state.id) : new SessionEndedError()
    const moves = status === 'ended' ? grants?.signsIn : gainsRights(grants)
    if (grants && moves) {
      const next = state.successor(status === 'ended' ? 'changes' : 'storage', grants)
      try {
        await this.#create(next, true)
      } catch (error) {
        takeBack(state, grants, error)
        throw error
      }
      return next
    }
    state.grants.restoreChanges(grants)
    if (caller !== 'request') throw error
    return state
  }

  #renewed(state: SessionState, secret: NewSecret, grants: GrantChanges | undefined): void {
    const { id } = state
    const { events } = this.#services
    state.credential = { id, secretHash: secret.secretHash }
    this.#give(secret, state)
    events.emit('session:rotated', { id })
    if (grants?.signsIn) {
      events.emit('session:signedIn', { id, userName: state.grants.granted.userName })
    }
  }

  /** Tells of sessions that ended for a sign-in. The one that signs in may be among them. */
  #exceeded(ids: readonly string[] = []): void {
    for (const id of ids) this.#services.events.emit('session:ended', { id, reason: 'exceeded' })
  }

  #give(secret: NewSecret, state: SessionState): void {
    this.#carrier.set(secret.value, state.endsAt - state.activeAt)
  }

  #refused(state: SessionState): SessionLimitError {
    const error = new SessionLimitError()
    this.#services.events.emit('session:refused', {
      ...(!state.isNew && { id: state.id }),
      userName: state.grants.granted.userName,
      code: error.code,
    })
    return error
  }

  #tooLarge(): StorageSizeError {
    const { storageBytes, storageKeys } = this.#services.policy.limits
    return new StorageSizeError(
      `storage would pass its limits of ${storageBytes} bytes and ${storageKeys} keys`,
    )
  }
}

/**
 * Takes back what could not be stored, for another try. Not a sign-in that was refused: the session
 * must not look signed in, and its storage can go on being saved.
 */
function takeBack(state: SessionState, grants: GrantChanges | undefined, error: unknown): void {
  if (error instanceof SessionLimitError) state.grants.discard()
  else state.grants.restoreChanges(grants)
}

/** Whether the store has said that it stored nothing. */
function isRefusal(error: unknown): boolean {
  return error instanceof StorageSizeError || error instanceof SessionLimitError
}

function gainsRights(grants: GrantChanges | undefined): boolean {
  if (!grants) return false
  return Boolean(grants.userName) || grants.privileges.length > 0 || grants.roles.length > 0
}
