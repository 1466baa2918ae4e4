import type { Carrier } from './carrier/carrier.ts'
import type { GrantChanges } from './core/grants.ts'
import { newSecret } from './core/secret.ts'
import type { NewSecret } from './core/secret.ts'
import { SessionState } from './core/session-state.ts'
import type { SessionHost } from './core/session.ts'
import {
  SessionEndedError,
  SessionHeadersSentError,
  SessionStoreError,
  StorageSizeError,
} from './errors.ts'
import type { SessionEndReason } from './events.ts'
import type { Services } from './services.ts'
import type { CommitOutcome } from './store/session-store.ts'

/** How a unit of work starts. */
export interface UnitStart {
  readonly state: SessionState
  /** Takes the cookie to the client. */
  readonly carrier: Carrier
  /** Why nothing can be changed; `undefined` when it can. */
  readonly refusal?: Error | undefined
}

/** Who wants a commit: the app, which learns what became of it, or the end of the request. */
type Caller = 'app' | 'request'

/**
 * What one request does to one session, and how that gets into the store: as one create or one
 * commit, and on to another session where the first one is gone. Calls are carried out one by one.
 */
export class UnitOfWork implements SessionHost {
  readonly #services: Services
  readonly #carrier: Carrier
  readonly #refusal: Error | undefined
  #state: SessionState
  #queue: Promise<void> = Promise.resolve()
  /** Whether a commit has found the session gone; the end of the request need not ask again. */
  #isGone = false

  constructor(services: Services, { state, carrier, refusal }: UnitStart) {
    this.#services = services
    this.#state = state
    this.#carrier = carrier
    this.#refusal = refusal
  }

  get state(): SessionState {
    return this.#state
  }

  /** Commits what is left at the end of the request. */
  finish(): Promise<void> {
    return this.#inTurn(() => this.#commit('request'))
  }

  save(): Promise<void> {
    return this.#inTurn(() => this.#commit('app'))
  }

  regenerate(): Promise<void> {
    return this.#inTurn(async () => {
      const before = this.#state.credential
      // What the app has changed may renew the secret by itself.
      if (this.#state.isNew || this.#state.grants.changes) await this.#commit('app')
      if (this.#state.credential === before) await this.#update('app', 'secret')
    })
  }

  reload(): Promise<void> {
    return this.#inTurn(async () => {
      const { credential, origin, loans, replaces } = this.#openState()
      const { store, rules, policy } = this.#services
      if (credential === undefined) {
        this.#state = new SessionState(rules, origin, { loans, replaces })
        return
      }
      const outcome = await store.load(credential, policy, false)
      if (outcome?.status !== 'live') throw this.#gone(credential.id)
      const { record, now } = outcome
      this.#state = new SessionState(rules, { ...origin, now }, { record, credential, loans })
    })
  }

  touch(): Promise<void> {
    return this.#inTurn(async () => {
      const state = this.#openState()
      if (state.credential === undefined) return
      const now = await this.#services.store.touch(state.credential, this.#services.policy)
      if (now === undefined) throw this.#gone(state.id)
      state.activeAt = now
    })
  }

  destroy(): Promise<void> {
    const refusal = this.#refusal
    if (refusal instanceof SessionStoreError) return this.#inTurn(() => Promise.reject(refusal))
    // At once, so that nothing after this call still sees the session.
    const ids = this.abandon()
    return this.#inTurn(async () => {
      await Promise.all(ids.map((id) => this.#end(id, 'destroyed')))
      if (ids.length > 0 && this.#carrier.canSet) this.#carrier.clear()
    })
  }

  /** Lets go of the session; it holds nothing from now on. Answers which stored ones must end. */
  abandon(): readonly string[] {
    const { storedIds } = this.#state
    if (!this.#state.isEnded) this.#state = this.#state.ended()
    return storedIds
  }

  switchUser(): void {
    const { origin, storedIds: replaces } = this.#state
    this.#state = new SessionState(this.#services.rules, origin, { replaces })
    this.#isGone = false
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#queue.then(work)
    this.#queue = turn.catch(() => undefined)
    return turn
  }

  #openState(): SessionState {
    if (this.#state.isEnded) throw new SessionEndedError()
    return this.#state
  }

  async #commit(caller: Caller): Promise<void> {
    if (this.#openState().isNew) await this.#create(caller)
    else await this.#update(caller)
  }

  /** Stores a session that the store does not have, and ends those whose place it takes. */
  async #create(caller: Caller): Promise<void> {
    const state = this.#state
    const { replaces } = state
    const creates = caller === 'app' || state.isTouched
    if (!creates && replaces.length === 0) return
    if (creates && this.#refusal) throw this.#refusal
    if (creates && !this.#carrier.canSet) throw new SessionHeadersSentError()

    const ends = replaces.map((id) => this.#end(id, creates ? 'replaced' : 'destroyed'))
    await Promise.all([creates ? this.#store(state) : undefined, ...ends])
    state.replaces = []
    if (!creates && this.#carrier.canSet) this.#carrier.clear()
  }

  async #store(state: SessionState): Promise<void> {
    const { store, policy, events } = this.#services
    const storage = state.storage.changes()
    const draft = state.draft()
    const grants = state.grants.takeChanges()
    const signsIn = grants?.signsIn ?? false
    const secret = newSecret(state.id)
    const credential = { id: state.id, secretHash: secret.secretHash }
    try {
      const outcome = await store.create({ credential, draft, signsIn }, policy)
      if (outcome.status === 'exists') throw new SessionStoreError('the session id is taken')
      if (outcome.status === 'tooLarge') throw this.#tooLarge()
      state.committed({ storage, idleTimeoutMs: draft.idleTimeoutMs })
      state.credential = credential
      state.createdAt = outcome.now
      state.activeAt = outcome.now
      state.endsAt = outcome.now + policy.expiry.absoluteTimeoutMs
    } catch (error) {
      state.grants.restoreChanges(grants)
      throw error
    }
    this.#give(secret, state)
    const { id } = state
    const { userName } = draft
    events.emit('session:created', { id, userName })
    if (signsIn) events.emit('session:signedIn', { id, userName })
  }

  /** Changes a session that the store has. */
  async #update(caller: Caller, wants?: 'secret'): Promise<void> {
    const state = this.#state
    const { credential } = state
    const changes = state.changes()
    if (credential === undefined || (!changes && caller === 'request')) return
    if (this.#isGone && caller === 'request' && !changes?.grants?.signsIn) return

    const { storage, grants, idleTimeoutMs } = changes ?? {}
    const asksFor = gainsRights(grants) ? 'rights' : wants
    const renews = asksFor !== undefined || grants?.userName !== undefined
    if (renews && !this.#carrier.canSet) throw new SessionHeadersSentError()
    const secret = renews ? newSecret(state.id) : undefined
    const { store, policy } = this.#services
    state.grants.takeChanges()
    let outcome: CommitOutcome
    try {
      const { userName } = state.grants.granted
      outcome = await store.commit(
        credential,
        { storage, idleTimeoutMs, grants, userName, newSecretHash: secret?.secretHash, asksFor },
        policy,
      )
      if (outcome.status === 'tooLarge') throw this.#tooLarge()
    } catch (error) {
      state.grants.restoreChanges(grants)
      throw error
    }
    if (outcome.status === 'committed' || outcome.status === 'merged') {
      state.committed({ storage, idleTimeoutMs })
      if (grants?.signsIn) state.endsAt = outcome.now + policy.expiry.absoluteTimeoutMs
      if (secret && outcome.status === 'committed') this.#renewed(state, secret, grants)
      return
    }
    await this.#notStored(outcome.status, caller, grants)
  }

  /** What becomes of changes to a session that has gone, or that the cookie no longer opens. */
  async #notStored(
    status: 'ended' | 'renewed',
    caller: Caller,
    grants: GrantChanges | undefined,
  ): Promise<void> {
    const state = this.#state
    const movesOn = status === 'ended' ? grants?.signsIn : gainsRights(grants)
    if (grants && movesOn) {
      if (status === 'ended') this.#gone(state.id)
      this.#state = state.successor(status === 'ended' ? 'changes' : 'storage', grants)
      this.#isGone = false
      await this.#create('request')
      return
    }
    state.grants.restoreChanges(grants)
    const error = status === 'ended' ? this.#gone(state.id) : new SessionEndedError()
    if (caller === 'app') throw error
  }

  #renewed(state: SessionState, secret: NewSecret, grants: GrantChanges | undefined): void {
    state.credential = { id: state.id, secretHash: secret.secretHash }
    this.#give(secret, state)
    const { id } = state
    const { events } = this.#services
    events.emit('session:rotated', { id })
    if (grants?.signsIn) {
      events.emit('session:signedIn', { id, userName: state.grants.granted.userName })
    }
  }

  #give(secret: NewSecret, state: SessionState): void {
    this.#carrier.set(secret.value, state.endsAt - state.activeAt)
  }

  async #end(id: string, reason: SessionEndReason): Promise<void> {
    const { store, events } = this.#services
    if (await store.destroy(id)) events.emit('session:ended', { id, reason })
  }

  #gone(id: string): SessionEndedError {
    if (!this.#isGone) this.#services.events.emit('session:ended', { id, reason: 'gone' })
    this.#isGone = true
    return new SessionEndedError()
  }

  #tooLarge(): StorageSizeError {
    const { storageBytes, storageKeys } = this.#services.policy.limits
    return new StorageSizeError(
      `storage would pass its limits of ${storageBytes} bytes and ${storageKeys} keys`,
    )
  }
}

function gainsRights(grants: GrantChanges | undefined): boolean {
  if (!grants) return false
  return Boolean(grants.userName) || grants.privileges.length > 0 || grants.roles.length > 0
}
