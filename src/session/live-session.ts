import type { Carrier } from '../cookie/carrier.ts'
import { SessionEndedError } from '../errors/errors.ts'
import type { Storage, StorageOwner } from '../storage/storage.ts'
import type { LoadOutcome } from '../store/session-store.ts'
import { commit, endSession, type Caller, type CommitOptions } from './commit.ts'
import type { Deployment } from './deployment.ts'
import { nestedClaims, type NestedTokenInput } from './nested-token.ts'
import { joinByOTP, lifespanOf, makeOTP } from './one-time-token.ts'
import type { LeftSession, SessionState } from './session-state.ts'
import { typeRules } from './session-types.ts'
import { isInBlock, runBlock } from './use-block.ts'
import type { HeldLock } from './use-lock.ts'

/**
 * One request's access to one session: its state, and the calls that change it in the store, which
 * run one at a time.
 */
export class LiveSession implements StorageOwner {
  readonly deployment: Deployment
  /** Why the session cannot be changed, or `undefined`. */
  readonly readOnlyReason: Error | undefined
  readonly #client: { readonly cookie: Carrier }
  #state: SessionState
  #queue: Promise<void> = Promise.resolve()
  /** How many calls run or wait. */
  #calls = 0
  /** The lock of the running block. */
  #lock: HeldLock | undefined

  /** @param client Creates the carrier of the cookie on first use. */
  constructor(state: SessionState, client: { readonly cookie: Carrier }, readOnlyReason?: Error) {
    this.deployment = state.deployment
    this.#state = state
    this.#client = client
    this.readOnlyReason = readOnlyReason
  }

  get cookie(): Carrier {
    return this.#client.cookie
  }

  /** Another one after the request has moved on to another session. */
  get state(): SessionState {
    return this.#state
  }

  /** The state for changes. Throws if this request has ended the session, or its token has expired. */
  get openState(): SessionState {
    const state = this.#state
    if (state.isEnded || (state.origin.token && state.isTokenOver)) throw new SessionEndedError()
    return state
  }

  /** The state for changes of the session itself. Throws `TypeError` in a nested context. */
  get ownState(): SessionState {
    if (this.#state.isNested) {
      throw new TypeError(
        'a nested context cannot change the session itself: it may read, write storage, and create ' +
          'narrower nested tokens',
      )
    }
    return this.openState
  }

  get storage(): Storage {
    return this.#state.storage
  }

  changeableStorage(): Storage {
    return this.openState.storage
  }

  /** Whether the end of the request may have something to commit or to wait for. */
  get isPending(): boolean {
    return this.#calls > 0 || (!this.#state.isEnded && this.#state.mayDiffer)
  }

  /** Commits the remaining changes at the end of the request. */
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
      const before = this.ownState.credential
      // The pending changes may rotate the secret themselves.
      if (this.#state.isNew || this.#state.grants.changes) await this.#commit('save')
      if (this.#state.credential === before) await this.#commit('save', { rotates: true })
    })
  }

  use<T>(block: () => T | Promise<T>): Promise<T> {
    return this.#inTurn(async () => {
      // A block within a block is part of the outer one.
      if (isInBlock(this)) return block()
      if (this.readOnlyReason) throw this.readOnlyReason
      await this.#commit('block')
      // No other request has a session that is not stored.
      return this.#state.isNew ? this.#run(block) : this.#runLocked(block)
    })
  }

  reload(): Promise<void> {
    return this.#inTurn(async () => {
      const state = this.openState
      const { credential } = state
      if (credential === undefined) {
        this.#state = state.restarted()
        return
      }
      const loaded = await this.#load(false)
      this.#state = state.reloaded({ ...loaded, credential })
    })
  }

  touch(): Promise<void> {
    return this.#inTurn(async () => {
      const state = this.openState
      if (!state.isNew) state.touched(await this.#load(!state.isNested))
    })
  }

  postpone(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.ownState.isNew) return
      await this.#commit('save', { postpones: true })
      this.#state.postponed()
    })
  }

  createNestedToken(input: NestedTokenInput): Promise<string> {
    return this.#inTurn(async () => {
      const { tokens } = this.deployment
      if (!tokens) throw new TypeError('createNestedToken() needs the option "tokens"')
      const state = this.openState
      // Checked first, so that a wrong call stores nothing.
      const claims = nestedClaims(input, state)
      await this.#storedState()
      // The store must still know the secret, and says in which generation the token is good.
      const { record } = await this.#load(false)
      const most = state.token?.claims.exp ?? Infinity
      const exp = Math.min(tokens.expiry(record.endsAt, input.lifetime), most)
      if (exp === Infinity) {
        throw new TypeError('"lifetime" is needed: this session never ends by itself')
      }
      const { id: sid, generation: gen } = record
      return tokens.issue({ ...claims, sid, gen, exp }, true)
    })
  }

  createOTP(lifespan?: number): Promise<string> {
    return this.#inTurn(async () => {
      // Checked first, so that a wrong call stores nothing.
      const lifespanMs = lifespanOf(lifespan, this.ownState)
      return makeOTP(await this.#storedState(), lifespanMs)
    })
  }

  restore(otp: string): Promise<boolean> {
    return this.#inTurn(async () => {
      if (this.readOnlyReason) throw this.readOnlyReason
      const joined = await joinByOTP(this, this.ownState, otp)
      if (joined) this.#state = joined
      return joined !== undefined
    })
  }

  destroy(): Promise<void> {
    if (this.#state.isNested) return this.#inTurn(async () => void this.ownState)
    if (typeRules[this.#state.type].user === 'server') {
      return Promise.reject(new TypeError('the stored-procedure session cannot be ended'))
    }
    const { readOnlyReason, deployment, cookie } = this
    if (readOnlyReason) return this.#inTurn(() => Promise.reject(readOnlyReason))
    // Now, so that code after this call no longer sees the session.
    const { replaces, leavesCarried } = this.abandon()
    return this.#inTurn(async () => {
      await Promise.all(replaces.map((id) => endSession(deployment, id, 'destroyed')))
      if ((replaces.length > 0 || leavesCarried) && cookie.canSet) cookie.clear()
    })
  }

  /** Ends the session for this request. Returns what must end in the store and at the client. */
  abandon(): LeftSession {
    const { left } = this.#state
    if (!this.#state.isEnded) this.#state = this.#state.ended()
    return left
  }

  /** Moves on to a new session for another user. Its commit ends this one. */
  switchUser(): void {
    this.#state = this.#state.leftForAnotherUser()
  }

  /** Runs calls one after the other. A call from inside a block is part of the block. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#calls > 0 && isInBlock(this)) return work()
    const call = this.#queue.then(work)
    this.#calls++
    const over = (): void => {
      this.#calls--
    }
    this.#queue = call.then(over, over)
    return call
  }

  /** Returns the session once the store has it, so that others can join it. */
  async #storedState(): Promise<SessionState> {
    const state = this.openState
    // Committed first: a change that rotates the secret would remove new one-time tokens.
    if (state.isNew || state.changes()) await this.#commit('save')
    return this.openState
  }

  async #commit(caller: Caller, options: CommitOptions = {}): Promise<void> {
    const state = this.openState
    // A block may have moved on to another session, which has another id and no lock.
    const held = this.#lock
    const lock = held && held.session.record.id === state.id ? held : undefined
    const next = await commit(this, state, caller, lock ? { ...options, lock } : options)
    // The app may have moved on to another session meanwhile.
    if (this.#state === state) this.#state = next
  }

  /** Runs a block, then commits its changes; discards them when either fails. */
  async #run<T>(block: () => T | Promise<T>): Promise<T> {
    const before = this.#state
    try {
      const result = await runBlock(this, block)
      if (!this.#state.isEnded) await this.#commit('block')
      return result
    } catch (error) {
      // What the block has already stored stays, such as a session for another user.
      if (this.#state.isNew && !this.#state.isEnded) this.#state = before
      this.#state.discard()
      throw error
    }
  }

  /** Runs a block under the session's lock, on its latest state. */
  async #runLocked<T>(block: () => T | Promise<T>): Promise<T> {
    const state = this.#state
    const lock = state.credential && (await this.deployment.locks.acquire(state.credential))
    if (!lock) {
      await this.#load(false)
      throw new SessionEndedError()
    }
    // A block does not count as activity.
    this.#state = state.reloaded({ ...lock.session, now: state.times.activeAt })
    this.#lock = lock
    try {
      return await this.#run(block)
    } finally {
      this.#lock = undefined
      await lock.end()
    }
  }

  /**
   * Reads the session. Throws `SessionEndedError` when its cookie no longer opens it, and emits
   * `session:ended` when it no longer exists.
   */
  async #load(isActivity: boolean): Promise<Extract<LoadOutcome, { status: 'live' }>> {
    const { credential } = this.#state
    const { store, settings } = this.deployment
    const outcome = credential && (await store.load(credential, settings.policy, isActivity))
    if (outcome?.status === 'live') return outcome
    throw outcome ? new SessionEndedError() : this.#state.gone()
  }
}
