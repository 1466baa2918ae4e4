import type { Carrier } from '../cookie/carrier.ts'
import { newSecret, parseCookieValue, trustedCredential } from '../cookie/credential.ts'
import { SessionEndedError, SessionHeadersSentError } from '../errors/errors.ts'
import type { LoadOutcome } from '../store/session-store.ts'
import { Committer } from './commit.ts'
import type { BlockLock, Caller, CommitOptions } from './commit.ts'
import { nestedClaims, otpLifespanMs } from './invitations.ts'
import { debug } from './services.ts'
import type { Services } from './services.ts'
import { SessionState } from './session-state.ts'
import type { LeftSession } from './session-state.ts'
import type { NestedTokenInput, SessionHost } from './session.ts'
import { isInBlock, runBlock } from './use-block.ts'

/** How a unit of work starts. */
export interface UnitStart {
  readonly state: SessionState
  /** Takes the cookie to the client. */
  readonly carrier: Carrier
  /** Why nothing can be changed; `undefined` when it can. */
  readonly refusal?: Error | undefined
}

/** What one request does to one session. Calls are carried out one by one. */
export class UnitOfWork implements SessionHost {
  readonly #services: Services
  readonly #carrier: Carrier
  readonly #refusal: Error | undefined
  readonly #committer: Committer
  #state: SessionState
  #queue: Promise<void> = Promise.resolve()
  /** Calls that are carried out or wait for it. */
  #turns = 0
  /** Held while a block runs. */
  #lock: BlockLock | undefined

  constructor(services: Services, { state, carrier, refusal }: UnitStart) {
    this.#services = services
    this.#state = state
    this.#carrier = carrier
    this.#refusal = refusal
    this.#committer = new Committer(services, carrier, refusal)
  }

  get state(): SessionState {
    return this.#state
  }

  /** Whether there may be anything to commit or to wait for at the end of the request. */
  get isPending(): boolean {
    return this.#turns > 0 || (!this.#state.isEnded && this.#state.mayDiffer)
  }

  /** Commits what is left at the end of the request. */
  finish(): Promise<void> {
    return this.#inTurn(async () => {
      if (!this.#state.isEnded) await this.#commit('request')
    })
  }

  save(): Promise<void> {
    return this.#inTurn(() => this.#commit('save'))
  }

  regenerate(): Promise<void> {
    return this.#inTurn(async () => {
      const before = this.#openState().credential
      // What the app has changed may renew the secret by itself.
      if (this.#state.isNew || this.#state.grants.changes) await this.#commit('save')
      if (this.#state.credential === before) await this.#commit('save', { renews: true })
    })
  }

  use<T>(block: () => T | Promise<T>): Promise<T> {
    return this.#inTurn(async () => {
      // A block within a block is part of it.
      if (isInBlock(this)) return block()
      if (this.#refusal) throw this.#refusal
      await this.#commit('block')
      // Nobody else has a session that is not stored.
      return this.#state.isNew ? this.#run(block) : this.#runLocked(block)
    })
  }

  reload(): Promise<void> {
    return this.#inTurn(async () => {
      const { credential, origin, loans, replaces, leavesCarried } = this.#openState()
      const { store, rules, policy } = this.#services
      if (credential === undefined) {
        this.#state = new SessionState(rules, origin, { loans, replaces, leavesCarried })
        return
      }
      const outcome = await store.load(credential, policy, false)
      if (outcome?.status !== 'live') throw this.#lostBy(outcome)
      const { record, seen, now } = outcome
      this.#state = new SessionState(rules, { ...origin, now }, { record, seen, credential, loans })
    })
  }

  touch(): Promise<void> {
    return this.#inTurn(async () => {
      const state = this.#openState()
      if (state.credential === undefined) return
      const { store, policy } = this.#services
      const outcome = await store.load(state.credential, policy, true)
      if (outcome?.status !== 'live') throw this.#lostBy(outcome)
      state.activeAt = outcome.now
      state.isPostponed = false
    })
  }

  postpone(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#openState().isNew) return
      await this.#commit('save', { postpones: true })
      this.#state.isPostponed = true
    })
  }

  createNestedToken(input: NestedTokenInput): Promise<string> {
    return this.#inTurn(async () => {
      const { tokens, rules } = this.#services
      if (!tokens) throw new TypeError('createNestedToken() needs the option "tokens"')
      const claims = nestedClaims(input, await this.#storedState(), rules)
      const exp = tokens.expiry(this.#state.endsAt, input.lifetime)
      if (exp === Infinity) {
        throw new TypeError('"lifetime" is needed: this session never ends by itself')
      }
      return tokens.issue({ ...claims, exp }, true)
    })
  }

  createOTP(lifespan?: number): Promise<string> {
    return this.#inTurn(async () => {
      // Nothing is stored for a call that is wrong.
      const lifespanMs = otpLifespanMs(lifespan, this.#openState())
      const state = await this.#storedState()
      const otp = newSecret(state.id)
      const { credential } = state
      const { store, policy } = this.#services
      const newOTP = { hash: otp.secretHash, lifespanMs }
      const { seen } = state
      const outcome = credential && (await store.commit(credential, { seen, newOTP }, policy))
      if (outcome?.status === 'renewed') throw new SessionEndedError()
      if (outcome?.status !== 'committed') throw this.#committer.foundGone(state.id)
      return otp.value
    })
  }

  restore(otp: string): Promise<boolean> {
    return this.#inTurn(async () => {
      if (this.#refusal) throw this.#refusal
      const presented = typeof otp === 'string' ? parseCookieValue(otp) : undefined
      if (!presented) return false
      // Before the token is used up.
      if (!this.#carrier.canSet) throw new SessionHeadersSentError()
      const { id, origin, storedIds } = this.#openState()
      const { store, policy, rules, events } = this.#services
      const secret = newSecret(presented.id)
      const outcome = await store.commit(
        trustedCredential(presented.id),
        { redeemsOTP: presented.secretHash, newSecretHash: secret.secretHash },
        policy,
      )
      if (outcome.status !== 'committed' || !outcome.record) return false
      const { record, seen, now } = outcome
      const credential = { id: record.id, secretHash: secret.secretHash }
      const joined = new SessionState(rules, { ...origin, now }, { record, seen, credential })
      this.#state = joined
      this.#carrier.set(secret.value, joined.endsAt - now)
      events.emit('session:rotated', { id: record.id })
      const left = storedIds.filter((stored) => stored !== record.id)
      // The browser has gone over, whatever becomes of what it has left.
      await Promise.allSettled(left.map((stored) => this.#committer.end(stored, 'replaced')))
      debug('the session %s was left for %s', id, record.id)
      return true
    })
  }

  destroy(): Promise<void> {
    if (this.#state.type === 'storedProcedure') {
      return Promise.reject(new TypeError('the stored-procedure session cannot be ended'))
    }
    const refusal = this.#refusal
    if (refusal) return this.#inTurn(() => Promise.reject(refusal))
    // At once, so that nothing after this call still sees the session.
    const { replaces, leavesCarried } = this.abandon()
    return this.#inTurn(async () => {
      await Promise.all(replaces.map((id) => this.#committer.end(id, 'destroyed')))
      if ((replaces.length > 0 || leavesCarried) && this.#carrier.canSet) this.#carrier.clear()
    })
  }

  /** Lets go of the session; it holds nothing from now on. Answers what must end. */
  abandon(): LeftSession {
    const { left } = this.#state
    if (!this.#state.isEnded) this.#state = this.#state.ended()
    return left
  }

  switchUser(): void {
    const { origin, left } = this.#state
    this.#state = new SessionState(this.#services.rules, origin, left)
  }

  /** One call after the other; calls from inside a block belong to the block's turn. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (isInBlock(this)) return work()
    const turn = this.#queue.then(work)
    this.#turns++
    const over = (): void => {
      this.#turns--
    }
    this.#queue = turn.then(over, over)
    return turn
  }

  /** The session as the store has it: it must be there for others to join it. */
  async #storedState(): Promise<SessionState> {
    const state = this.#openState()
    // What renews the secret takes away what was made to join the session.
    if (state.isNew || state.changes()) await this.#commit('save')
    return this.#openState()
  }

  #openState(): SessionState {
    if (this.#state.isEnded) throw new SessionEndedError()
    return this.#state
  }

  async #commit(caller: Caller, options: CommitOptions = {}): Promise<void> {
    const state = this.#openState()
    // A session that a block has gone on to is nobody else's.
    const lock = this.#lock?.held.record.id === state.id ? this.#lock : undefined
    const next = await this.#committer.commit(state, caller, { ...options, lock })
    // The app may have gone on to another session meanwhile.
    if (this.#state === state) this.#state = next
  }

  /** Runs a block, then commits what it changed; discards it when either fails. */
  async #run<T>(block: () => T | Promise<T>): Promise<T> {
    const before = this.#state
    try {
      const result = await runBlock(this, block)
      if (!this.#state.isEnded) await this.#commit('block')
      return result
    } catch (error) {
      // What the block has stored already stays, such as a session for another user.
      if (this.#state.isNew && !this.#state.isEnded) this.#state = before
      this.#state.discard()
      throw error
    }
  }

  /** The same on the latest state of a session that others have too, one at a time. */
  async #runLocked<T>(block: () => T | Promise<T>): Promise<T> {
    const { credential, origin, loans, activeAt } = this.#state
    const { locks, rules } = this.#services
    const held = credential && (await locks.acquire(credential))
    if (!held || !credential) throw await this.#lost()
    const { record, seen } = held
    const now = activeAt
    this.#state = new SessionState(rules, { ...origin, now }, { record, seen, credential, loans })
    const lock: BlockLock = { held, status: 'held' }
    this.#lock = lock
    try {
      return await this.#run(block)
    } finally {
      this.#lock = undefined
      await this.#unlock(credential.id, lock)
    }
  }

  async #unlock(id: string, lock: BlockLock): Promise<void> {
    const { held } = lock
    // One that may be held still is given back too: a commit that is late is refused then.
    if (lock.status === 'unknown' || (lock.status === 'held' && !held.isPassedOn)) {
      try {
        await this.#services.locks.unlock(id, held.token)
        lock.status = 'released'
      } catch {
        // The block has had its way. The lock goes with its lease.
        lock.status = 'unknown'
      }
    }
    held.done(lock.status, lock.handed)
  }

  /** The error for a session that the store does not open any more, and the event if it has gone. */
  async #lost(): Promise<SessionEndedError> {
    const { credential } = this.#state
    const { store, policy } = this.#services
    return this.#lostBy(credential && (await store.load(credential, policy, false)))
  }

  #lostBy(outcome: LoadOutcome | undefined): SessionEndedError {
    return outcome ? new SessionEndedError() : this.#committer.foundGone(this.#state.id)
  }
}
