import { isIP } from 'node:net'

import { noCarrier, type Carrier } from '../cookie/carrier.ts'
import { trustedCredential, type SessionCredential } from '../cookie/cookie.ts'
import {
  bearerChallenge,
  cookieChallenge,
  SessionEndedError,
  SessionGuestError,
  SessionPrivilegeError,
  SessionStoreError,
  SessionTokenError,
  StorageSizeError,
  type ErrorHeaders,
} from '../errors/errors.ts'
import type { Grant } from '../privileges/privileges.ts'
import type { LoadOutcome } from '../store/session-store.ts'
import { storedSize } from '../store/storage-texts.ts'
import type { BearerCredentials } from '../tokens/bearer.ts'
import type { VerifiedToken } from '../tokens/tokens.ts'
import { debug, type Deployment } from './deployment.ts'
import { LiveSession } from './live-session.ts'
import {
  SessionState,
  type LeftSession,
  type LoadedSession,
  type SessionClient,
} from './session-state.ts'
import { typeRules } from './session-types.ts'
import { Session } from './session.ts'

/** A request, as far as its session needs it. */
export interface RequestFacts extends SessionClient {
  /** The well-formed values of the request's session cookie. */
  readonly credentials: readonly SessionCredential[]
  /** The request's bearer token, which wins over the cookie. Read only if tokens are on. */
  readonly bearer?: BearerCredentials
  readonly cookie: Carrier
  /** Whether the request keeps the session alive. Called only for a request that may have one. */
  isActivity(): boolean
}

/** What a request's credentials open. */
type Lookup =
  | { readonly status: 'nothing' }
  | {
      readonly status: 'found'
      readonly loaded: LoadedSession
      readonly token: VerifiedToken | undefined
    }
  /** The cookies of several sessions, all of which are ignored. */
  | { readonly status: 'ambiguous' }
  /** The caller is unknown: reading the session throws the error. */
  | { readonly status: 'failed'; readonly error: SessionStoreError | SessionTokenError }
  /** The request gets a guest, whose changes throw the error. */
  | { readonly status: 'refused'; readonly error: Error }

const noCookie = { cookie: noCarrier }
const nothing: Lookup = { status: 'nothing' }

// A browser has one cookie, or two while an attacker tries to plant another.
const maxTried = 4
// Longer than any address, even with the name of a network interface after it.
const maxAddress = 64

/** The session of one request, from the lookup to the commit. */
export class RequestSession<S> {
  readonly #deployment: Deployment
  readonly #request: RequestFacts
  #lookup = nothing
  /** All sessions of the request, ended ones included. */
  readonly #lives: LiveSession[] = []
  #live: LiveSession | undefined
  #session: Session<S> | undefined

  constructor(deployment: Deployment, request: RequestFacts) {
    this.#deployment = deployment
    this.#request = request
  }

  /** Looks up the session. A store that fails throws only when the app reads the session. */
  async load(): Promise<void> {
    try {
      this.#lookup = this.isBearer ? await this.#loadToken() : await this.#loadCookies()
    } catch (error) {
      if (!(error instanceof SessionStoreError)) throw error
      this.fail(error)
    }
  }

  /** Records why the caller is unknown. */
  fail(error: SessionStoreError): void {
    const isGuest = this.#deployment.settings.onStoreError === 'guest'
    this.#lookup = { status: isGuest ? 'refused' : 'failed', error }
  }

  async #loadToken(): Promise<Lookup> {
    const { store, settings, tokens } = this.#deployment
    const { bearer } = this.#request
    if (bearer?.status !== 'token') {
      return { status: 'failed', error: new SessionTokenError('invalid_request') }
    }
    const failed: Lookup = { status: 'failed', error: new SessionTokenError('invalid_token') }
    const token = await tokens?.verify(bearer.token)
    if (!token) return failed
    const { sid, gen } = token.claims
    const credential = { ...trustedCredential(sid), generation: gen }
    // Whoever acts for another user does not show that the session's own user is there.
    const isActivity = !token.isNested && this.#request.isActivity()
    const outcome = await store.load(credential, settings.policy, isActivity)
    if (outcome?.status !== 'live') return failed
    const { type, userName } = outcome.record
    // A token that is not nested opens only the remote session that it was issued for.
    const isOwn = typeRules[type].user === 'kept' && userName === token.claims.sub
    if (!token.isNested && !isOwn) return failed
    return { status: 'found', loaded: { ...outcome, credential }, token }
  }

  async #loadCookies(): Promise<Lookup> {
    const { credentials } = this.#request
    if (credentials.length === 0) return nothing
    const { store, settings, events } = this.#deployment
    const isActivity = this.#request.isActivity()
    const loads = credentials
      .slice(0, maxTried)
      .map((credential) => store.load(credential, settings.policy, isActivity))
    const outcomes: readonly (LoadOutcome | undefined)[] =
      loads.length === 1 ? [await loads[0]] : await Promise.all(loads)
    const found: LoadedSession[] = []
    let isRotated = false
    for (const [index, credential] of credentials.entries()) {
      const outcome = outcomes[index]
      if (outcome?.status === 'live') {
        const { record, seen, now } = outcome
        found.push({ record, seen, now, credential })
      } else if (outcome?.status === 'rotated') isRotated = true
      else if (outcome?.status === 'unreadable') {
        events.emit('session:storeError', { operation: 'load', id: credential.id })
      }
    }
    const [loaded] = found
    if (loaded && found.length === 1) return { status: 'found', loaded, token: undefined }
    if (loaded) {
      const ids = found.map(({ record }) => record.id)
      debug('ambiguous cookies of the sessions %s', ids.join(', '))
      events.emit('session:ambiguous', { ids })
      return { status: 'ambiguous' }
    }
    // Another response is about to bring the browser the new secret, and must not be overwritten,
    // so this request cannot store anything.
    return isRotated ? { status: 'refused', error: new SessionEndedError() } : nothing
  }

  /** Whether the request certainly opens no session. Never true with a bearer token. */
  get isUnknown(): boolean {
    return this.#lookup.status === 'nothing'
  }

  get isFound(): boolean {
    return this.#lookup.status === 'found'
  }

  /** Whether the response depends on the session: one was found, or the app has asked for one. */
  get affectsResponse(): boolean {
    const { status } = this.#lookup
    return this.#live !== undefined || status === 'found' || status === 'failed'
  }

  /** Whether the request uses a bearer token, so that its cookies do not count. */
  get isBearer(): boolean {
    const bearer = this.#deployment.tokens && this.#request.bearer
    return bearer !== undefined && bearer.status !== 'none'
  }

  /** Why the caller is unknown, or `undefined`. */
  get fault(): SessionStoreError | SessionTokenError | undefined {
    const lookup = this.#lookup
    if (lookup.status === 'failed') return lookup.error
    const isFault = lookup.status === 'refused' && lookup.error instanceof SessionStoreError
    return isFault ? lookup.error : undefined
  }

  /** Throws `SessionStoreError` or `SessionTokenError` when the lookup failed. */
  get session(): Session<S> {
    const present = this.#live
    const live = present && !present.state.isEnded ? present : this.#next(present)
    this.#session ??= new Session<S>(live)
    return this.#session
  }

  /**
   * Continues with a new guest, and ends the session when the request is committed. Throws when the
   * session could not be loaded, its secret has just been rotated, or it is the stored-procedure
   * session.
   */
  end(): void {
    // The request may have a session that it cannot end: a sign-out must not seem to work.
    if (this.#lookup.status === 'refused') throw this.#lookup.error
    const live = this.#live ?? this.#next()
    // A nested token may have opened it.
    if (typeRules[live.state.type].user === 'server') {
      throw new TypeError('the stored-procedure session cannot be ended')
    }
    // Read for its check: a nested context ends nothing.
    void live.ownState
    this.#start(this.#guest(live.abandon()))
  }

  /**
   * Continues with a new session that has what the client had in another package's session, if
   * anything. Its commit stores it as if this request had changed it. Throws `StorageValueError`,
   * `StorageKeyError` or `StorageSizeError` for what storage does not take.
   */
  carryOver(storage: object, grant: Grant): void {
    const state = this.#guest()
    for (const [name, value] of Object.entries(storage)) state.storage.set(name, value)
    const texts = state.storage.texts()
    const { storageBytes, storageKeys } = this.#deployment.settings.policy.limits
    if (texts.size > storageKeys || storedSize(texts) > storageBytes) {
      throw new StorageSizeError('storage would exceed its limits')
    }
    if (state.isGrantable) state.grants.add(grant)
    if (!state.isTouched) return
    state.carriedOver()
    this.#start(state)
  }

  /**
   * Returns the challenge for an error where tokens are on, without an error code for a request
   * without credentials (RFC 6750 section 3). Returns `{}` where the error keeps its own headers.
   */
  challengeFor(error: object): ErrorHeaders {
    if (!this.#deployment.tokens) return {}
    const name = 'WWW-Authenticate'
    if (this.isBearer && error instanceof SessionEndedError) {
      return { [name]: bearerChallenge('invalid_token') }
    }
    if (this.isBearer && error instanceof SessionPrivilegeError) {
      return { [name]: bearerChallenge('insufficient_scope') }
    }
    const isGuest = error instanceof SessionGuestError || error instanceof SessionEndedError
    return isGuest ? { [name]: [bearerChallenge(), cookieChallenge] } : {}
  }

  /**
   * Commits the remaining changes, and waits for calls that the app has not awaited. Returns
   * `undefined` when there is nothing to do.
   */
  commit(): Promise<void> | undefined {
    if (!this.#lives.some((live) => live.isPending)) return undefined
    return this.#lives.length === 1 ? this.#live?.finish() : this.#commitAll()
  }

  async #commitAll(): Promise<void> {
    // In order: an ended session clears the cookie before its successor sets a new one.
    for (const live of this.#lives) await live.finish()
  }

  /** Starts the session that was found, or else a guest; after an ended session always a guest. */
  #next(ended?: LiveSession): LiveSession {
    const lookup = this.#lookup
    if (lookup.status === 'failed') throw lookup.error
    if (ended || lookup.status !== 'found') return this.#start(this.#guest())
    const { loaded, token } = lookup
    const origin = { request: this.#request, now: loaded.now, token }
    return this.#start(new SessionState(this.#deployment, origin, loaded))
  }

  #start(state: SessionState): LiveSession {
    const client = this.isBearer ? noCookie : this.#request
    const readOnlyReason = this.#lookup.status === 'refused' ? this.#lookup.error : undefined
    const live = new LiveSession(state, client, readOnlyReason)
    this.#lives.push(live)
    this.#live = live
    this.#session = undefined
    return live
  }

  #guest(left?: LeftSession): SessionState {
    return SessionState.guest(
      this.#deployment,
      { request: this.#request, now: Date.now(), token: undefined },
      left,
    )
  }
}

/** Returns the IP address in a socket's or proxy's text, IPv4 in its own form, or `''` if none. */
export function addressOf(text: string): string {
  const address = text.replace(/^::ffff:(?=\d+\.)/i, '')
  return address.length > maxAddress || isIP(address) === 0 ? '' : address
}
