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
import { debug, type Deployment } from './deployment.ts'
import { LiveSession } from './live-session.ts'
import {
  SessionState,
  type LeftSession,
  type LoadedSession,
  type SessionClient,
  type SessionToken,
} from './session-state.ts'
import { typeRules } from './session-types.ts'
import { Session } from './session.ts'

/** A request, as far as its session goes. */
export interface RequestFacts extends SessionClient {
  /** The well-formed values that the request has for the session cookie. */
  readonly credentials: readonly SessionCredential[]
  /** The request's bearer token; it wins over the cookie. Asked only where tokens are on. */
  readonly bearer?: BearerCredentials
  /** Takes the cookie to the client. */
  readonly cookie: Carrier
  /** Whether it keeps the session alive. Asked only when there is a cookie to look up. */
  isActivity(): boolean
}

/** What a request has come to with what it brought. */
type Lookup =
  /** It brought nothing that opens a session. */
  | { readonly status: 'nothing' }
  | { readonly status: 'found'; readonly loaded: LoadedSession; readonly token?: SessionToken }
  /** It brought the cookies of several sessions: all of them are ignored. */
  | { readonly status: 'ambiguous' }
  /** Nobody knows whose request it is: whatever asks for the session gets the error. */
  | { readonly status: 'failed'; readonly error: SessionStoreError | SessionTokenError }
  /** It gets a guest, whose changes meet the error. */
  | { readonly status: 'refused'; readonly error: Error }

const noCookie = { cookie: noCarrier }
const nothing: Lookup = { status: 'nothing' }

// A browser has one cookie, or two while somebody tries to slip it another.
const maxTried = 4
// More than any address with the name of a network interface, which may follow a link-local one.
const maxAddress = 64

/** The session of one request, from the lookup of its cookie to the commit. */
export class RequestSession<S> {
  readonly #deployment: Deployment
  readonly #request: RequestFacts
  #lookup = nothing
  /** All that the request had, ended ones too. */
  readonly #lives: LiveSession[] = []
  #live: LiveSession | undefined
  #session: Session<S> | undefined

  constructor(deployment: Deployment, request: RequestFacts) {
    this.#deployment = deployment
    this.#request = request
  }

  /** Looks up the session. Never rejects: a fault shows when somebody asks for the session. */
  async load(): Promise<void> {
    try {
      this.#lookup = this.isBearer ? await this.#loadToken() : await this.#loadCookies()
    } catch (error) {
      if (!(error instanceof SessionStoreError)) throw error
      this.fail(error)
    }
  }

  /** Notes why nobody knows whose request it is. */
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
    const credential = trustedCredential(token.claims.sid)
    const outcome = await store.load(credential, settings.policy, this.#request.isActivity())
    if (outcome?.status !== 'live') return failed
    const { type, userName } = outcome.record
    // A token that is not nested is that of a session that was opened with it.
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
    if (loaded && found.length === 1) return { status: 'found', loaded }
    if (loaded) {
      const ids = found.map(({ record }) => record.id)
      debug('ambiguous cookies of the sessions %s', ids.join(', '))
      events.emit('session:ambiguous', { ids })
      return { status: 'ambiguous' }
    }
    // The browser is about to get the new value from another response, which this one must not
    // overwrite: so it can be given nothing.
    return isRotated ? { status: 'refused', error: new SessionEndedError() } : nothing
  }

  /**
   * Whether nothing that came with the request opens a session here, for certain. A bearer token
   * either does or is a failure.
   */
  get isUnknown(): boolean {
    return this.#lookup.status === 'nothing'
  }

  /** Whether the cookie has opened a session. */
  get isFound(): boolean {
    return this.#lookup.status === 'found'
  }

  /** Whether a session was found, or the app has asked for one: the answer then depends on it. */
  get isAttached(): boolean {
    const { status } = this.#lookup
    return this.#live !== undefined || status === 'found' || status === 'failed'
  }

  /** Whether the request is that of a bearer token, so that no cookie matters. */
  get isBearer(): boolean {
    const bearer = this.#deployment.tokens && this.#request.bearer
    return bearer !== undefined && bearer.status !== 'none'
  }

  /** Why nobody knows whose request it is; `undefined` when that is clear. */
  get fault(): SessionStoreError | SessionTokenError | undefined {
    const lookup = this.#lookup
    if (lookup.status === 'failed') return lookup.error
    const isFault = lookup.status === 'refused' && lookup.error instanceof SessionStoreError
    return isFault ? lookup.error : undefined
  }

  /**
   * @throws {SessionStoreError} When the session could not be loaded.
   * @throws {SessionTokenError} When the bearer token is not good.
   */
  get session(): Session<S> {
    const present = this.#live
    const live = present && !present.state.isEnded ? present : this.#next(present)
    this.#session ??= new Session<S>(live)
    return this.#session
  }

  /**
   * Ends the session when the request is committed; from now on there is a new guest session.
   *
   * @throws {SessionStoreError} When the session could not be loaded.
   * @throws {SessionEndedError} When the request's cookie value was rotated a moment ago.
   * @throws {TypeError} When it is the stored-procedure session.
   */
  end(): void {
    // There is a session, or may be one, that this request cannot end: a sign-out must not look like one.
    if (this.#lookup.status === 'refused') throw this.#lookup.error
    const live = this.#live ?? this.#next()
    // A nested token may have brought it.
    if (typeRules[live.state.type].user === 'server') {
      throw new TypeError('the stored-procedure session cannot be ended')
    }
    this.#start(this.#guest(live.abandon()))
  }

  /**
   * Goes on with a new session that has what the client had in one of another package. Stored as
   * any that this request has changed. Nothing happens when it had nothing.
   *
   * @param storage Values by name.
   * @param grant What it is granted, where sessions of its type can have privileges.
   * @throws {StorageValueError} When JSON cannot hold a value.
   * @throws {StorageKeyError} When storage does not take a name.
   * @throws {StorageSizeError} When it is over the limits.
   */
  carryOver(storage: object, grant: Grant): void {
    const state = this.#guest()
    for (const [name, value] of Object.entries(storage)) state.storage.set(name, value)
    const texts = state.storage.texts()
    const { storageBytes, storageKeys } = this.#deployment.settings.limits
    if (texts.size > storageKeys || storedSize(texts) > storageBytes) {
      throw new StorageSizeError('storage would pass its limits')
    }
    if (state.isGrantable) state.grants.add(grant)
    if (!state.isTouched) return
    state.carriedOver()
    this.#start(state)
  }

  /**
   * The challenge that an error has where tokens are on (RFC 6750 section 3): without an error code
   * for who came with nothing.
   *
   * @returns Headers, none where the error keeps its own.
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
   * Commits what is left, and waits for what the app has not waited for.
   *
   * @returns `undefined` when there is nothing left.
   */
  commit(): Promise<void> | undefined {
    if (!this.#lives.some((live) => live.isPending)) return undefined
    return this.#lives.length === 1 ? this.#live?.finish() : this.#commitAll()
  }

  async #commitAll(): Promise<void> {
    // In order: what takes the cookie away comes before what sets a new one.
    for (const live of this.#lives) await live.finish()
  }

  /** The session that was found, or a guest; a guest after another session has ended. */
  #next(ended?: LiveSession): LiveSession {
    const lookup = this.#lookup
    if (lookup.status === 'failed') throw lookup.error
    if (ended || lookup.status !== 'found') return this.#start(this.#guest())
    const { loaded, token } = lookup
    return this.#start(
      SessionState.loaded(
        this.#deployment,
        { request: this.#request, now: loaded.now, token },
        loaded,
      ),
    )
  }

  #start(state: SessionState): LiveSession {
    const client = this.isBearer ? noCookie : this.#request
    const refusal = this.#lookup.status === 'refused' ? this.#lookup.error : undefined
    const live = new LiveSession(state, client, refusal)
    this.#lives.push(live)
    this.#live = live
    this.#session = undefined
    return live
  }

  #guest(left?: LeftSession): SessionState {
    return SessionState.guest(this.#deployment, { request: this.#request, now: Date.now() }, left)
  }
}

/**
 * The IP address of a client.
 *
 * @param text What the socket or a proxy says.
 * @returns An IPv4 one in its own form; `''` when the text is no address, or longer than one is.
 */
export function addressOf(text: string): string {
  const address = text.replace(/^::ffff:(?=\d+\.)/i, '')
  return address.length > maxAddress || isIP(address) === 0 ? '' : address
}
