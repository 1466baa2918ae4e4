import { isIP } from 'node:net'

import type { ClientDescription } from '../client/description.ts'
import { noCarrier } from '../cookie/carrier.ts'
import type { Carrier } from '../cookie/carrier.ts'
import { parseCookieValue, trustedCredential } from '../cookie/credential.ts'
import type { SessionCredential } from '../cookie/credential.ts'
import {
  bearerChallenge,
  cookieChallenge,
  SessionEndedError,
  SessionGuestError,
  SessionPrivilegeError,
  SessionStoreError,
  SessionTokenError,
  StorageSizeError,
} from '../errors/errors.ts'
import type { ErrorHeaders } from '../errors/errors.ts'
import type { Grant } from '../privileges/privileges.ts'
import { storedSize } from '../store/record.ts'
import type { LoadOutcome } from '../store/session-store.ts'
import type { BearerCredentials } from '../tokens/bearer.ts'
import { UnitOfWork } from './live-session.ts'
import { debug } from './services.ts'
import type { Services } from './services.ts'
import { SessionState } from './session-state.ts'
import type { LeftSession, SessionOrigin, SessionToken } from './session-state.ts'
import { Session } from './session.ts'

/** A request, as far as its session goes. */
export interface SessionRequest {
  /** What it has for the session cookie, well-formed or not. */
  readonly cookies: readonly string[]
  /** Its bearer token, where tokens are on; it wins over the cookie. */
  readonly bearer?: BearerCredentials
  readonly carrier: Carrier
  /** The client's IP address; `''` when not known. */
  readonly ip: string
  /** Reads one of its headers. */
  header(name: string): string
  /** Finds out who the client is. Asked only when a session is stored first. Never rejects. */
  describeClient(): Promise<ClientDescription>
  /** Whether it keeps the session alive. Asked only when there is a cookie to look up. */
  isActivity(): boolean
}

interface Loaded {
  readonly live: Live
  readonly credential: SessionCredential
  readonly token?: SessionToken
}

type Live = Extract<LoadOutcome, { status: 'live' }>

const cookieHeader: readonly string[] = ['Cookie']
const bothHeaders: readonly string[] = ['Cookie', 'Authorization']

// A browser has one, or two while somebody tries to slip it another.
const maxTried = 4
// More than any address with the name of a network interface, which may follow a link-local one.
const maxAddress = 64

/** The session of one request, from the lookup of its cookie to the commit. */
export class RequestSession<S> {
  readonly #services: Services
  readonly #request: SessionRequest
  /** Why nothing can be changed; `undefined` when it can. */
  #refusal: Error | undefined
  /** Why there is no session to show; `undefined` when there is one. */
  #failure: SessionStoreError | SessionTokenError | undefined
  #loaded: Loaded | undefined
  #isAmbiguous = false
  /** All that the request had, ended ones too. */
  readonly #units: UnitOfWork[] = []
  #current: { readonly unit: UnitOfWork; readonly session: Session<S> } | undefined

  constructor(services: Services, request: SessionRequest) {
    this.#services = services
    this.#request = request
  }

  /**
   * Looks up the session. Never rejects: a fault shows when somebody asks for the session.
   *
   * @returns `undefined` when there is nothing to look up.
   */
  load(): Promise<void> | undefined {
    if (this.isBearer) return this.#failing(this.#loadToken())
    const credentials = credentialsIn(this.#request.cookies)
    return credentials.length === 0 ? undefined : this.#failing(this.#loadCookies(credentials))
  }

  async #failing(loading: Promise<void>): Promise<void> {
    try {
      await loading
    } catch (error) {
      if (!(error instanceof SessionStoreError)) throw error
      this.fail(error)
    }
  }

  /** Notes why nobody knows whose request it is. */
  fail(error: SessionStoreError): void {
    const isGuest = this.#services.settings.onStoreError === 'guest'
    this.#failure = isGuest ? undefined : error
    if (isGuest) this.#refusal = error
  }

  /**
   * Whether nothing that came with the request opens a session here, for certain. A bearer token
   * either does or is a failure.
   */
  get isUnknown(): boolean {
    const isClear = !this.#isAmbiguous && !this.#failure && !this.#refusal
    return isClear && this.#loaded === undefined
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
    const { storageBytes, storageKeys } = this.#services.policy.limits
    if (texts.size > storageKeys || storedSize(texts) > storageBytes) {
      throw new StorageSizeError('storage would pass its limits')
    }
    if (state.isGrantable) state.grants.add(grant)
    if (!state.isTouched) return
    state.isCarried = true
    this.#start(state)
  }

  /** Whether the request is that of a bearer token, so that no cookie matters. */
  get isBearer(): boolean {
    return (this.#request.bearer?.status ?? 'none') !== 'none'
  }

  async #loadToken(): Promise<void> {
    const { store, policy, tokens } = this.#services
    const { bearer } = this.#request
    if (bearer?.status !== 'token') {
      this.#failure = new SessionTokenError('invalid_request')
      return
    }
    this.#failure = new SessionTokenError('invalid_token')
    const token = await tokens?.verify(bearer.token)
    if (!token) return
    const credential = trustedCredential(token.claims.sid)
    const live = await store.load(credential, policy, this.#request.isActivity())
    if (live?.status !== 'live') return
    const { type, userName } = live.record
    // A token of its own is that of a session that was opened with it.
    if (!token.isNested && (type !== 'remote' || userName !== token.claims.sub)) return
    this.#failure = undefined
    this.#loaded = { live, credential, token }
  }

  async #loadCookies(credentials: readonly SessionCredential[]): Promise<void> {
    const { store, policy } = this.#services
    const isActivity = this.#request.isActivity()
    const loads = credentials.map((credential) => store.load(credential, policy, isActivity))
    this.#take(credentials, loads.length === 1 ? [await loads[0]] : await Promise.all(loads))
  }

  /** Whether the cookie has opened a session. */
  get isFound(): boolean {
    return this.#loaded !== undefined
  }

  /** Whether a session was found, or the app has asked for one: the answer then depends on it. */
  get isAttached(): boolean {
    return this.#loaded !== undefined || this.#current !== undefined || this.#failure !== undefined
  }

  /** The headers on which the answer then depends. */
  get varyBy(): readonly string[] {
    return this.#services.tokens ? bothHeaders : cookieHeader
  }

  /**
   * @throws {SessionStoreError} When the session could not be loaded.
   * @throws {SessionTokenError} When the bearer token is not good.
   */
  get session(): Session<S> {
    if (this.#failure) throw this.#failure
    if (this.#current === undefined) this.#start(this.#firstState())
    else if (this.#current.unit.state.isEnded) this.#start(this.#guest())
    return this.#started().session
  }

  /**
   * Ends the session when the request is committed; from now on there is a new guest session.
   *
   * @throws {SessionStoreError} When the session could not be loaded.
   * @throws {SessionEndedError} When the request's cookie value was renewed a moment ago.
   * @throws {TypeError} When it is the stored-procedure session.
   */
  end(): void {
    if (this.#failure) throw this.#failure
    // There is a session, or may be one, that this request cannot end: a sign-out must not look like one.
    if (this.#refusal) throw this.#refusal
    if (this.#current === undefined) this.#start(this.#firstState())
    const { unit } = this.#started()
    // A nested token may have brought it.
    if (unit.state.type === 'storedProcedure') {
      throw new TypeError('the stored-procedure session cannot be ended')
    }
    this.#start(this.#guest(unit.abandon()))
  }

  /**
   * The challenge that an error has where tokens are on (RFC 6750 section 3): without an error code
   * for who came with nothing.
   *
   * @param error What was thrown.
   * @returns Headers, none where the error keeps its own.
   */
  challengeFor(error: object): ErrorHeaders {
    if (!this.#services.tokens) return {}
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

  /** Why nobody knows whose request it is; `undefined` when that is clear. */
  get fault(): SessionStoreError | SessionTokenError | undefined {
    return this.#failure ?? (this.#refusal instanceof SessionStoreError ? this.#refusal : undefined)
  }

  /**
   * Commits what is left, and waits for what the app has not waited for.
   *
   * @returns `undefined` when there is nothing left.
   */
  finish(): Promise<void> | undefined {
    return this.#units.some((unit) => unit.isPending) ? this.#finish() : undefined
  }

  async #finish(): Promise<void> {
    // In order: what takes the cookie away comes before what sets a new one.
    for (const unit of this.#units) await unit.finish()
  }

  #take(
    credentials: readonly SessionCredential[],
    outcomes: readonly (LoadOutcome | undefined)[],
  ): void {
    const found: { live: Live; credential: SessionCredential }[] = []
    let isRenewed = false
    for (const [index, credential] of credentials.entries()) {
      const outcome = outcomes[index]
      if (outcome?.status === 'live') found.push({ live: outcome, credential })
      else if (outcome?.status === 'renewed') isRenewed = true
      else if (outcome?.status === 'unreadable') {
        const { id } = credential
        this.#services.events.emit('session:storeError', { operation: 'load', id })
      }
    }
    if (found.length > 1) {
      const ids = found.map(({ credential }) => credential.id)
      debug('ambiguous cookies of the sessions %s', ids.join(', '))
      this.#services.events.emit('session:ambiguous', { ids })
      this.#isAmbiguous = true
      return
    }
    this.#loaded = found[0]
    // The browser is about to get the new value from another response, which this one must not
    // overwrite: so it can be given nothing.
    if (!this.#loaded && isRenewed) this.#refusal = new SessionEndedError()
  }

  #firstState(): SessionState {
    if (this.#loaded === undefined) return this.#guest()
    const { live, credential, token } = this.#loaded
    return new SessionState(this.#services.rules, this.#origin(live.now, token), {
      record: live.record,
      seen: live.seen,
      credential,
    })
  }

  #guest(left: Partial<LeftSession> = {}): SessionState {
    return new SessionState(this.#services.rules, this.#origin(Date.now()), left)
  }

  #origin(now: number, token?: SessionToken): SessionOrigin {
    const request = this.#request
    return {
      now,
      ip: request.ip,
      header: (name) => request.header(name),
      describeClient: () => request.describeClient(),
      token,
    }
  }

  #start(state: SessionState): void {
    const carrier = this.isBearer ? noCarrier : this.#request.carrier
    const unit = new UnitOfWork(this.#services, { state, carrier, refusal: this.#refusal })
    this.#units.push(unit)
    this.#current = { unit, session: new Session<S>(unit) }
  }

  #started(): { readonly unit: UnitOfWork; readonly session: Session<S> } {
    if (this.#current === undefined) throw new TypeError('the session was not started')
    return this.#current
  }
}

/** The well-formed ones of a request's cookies, as many as are looked up. */
function credentialsIn(cookies: readonly string[]): readonly SessionCredential[] {
  const credentials: SessionCredential[] = []
  for (const value of cookies) {
    const credential = parseCookieValue(value)
    if (credential && credentials.length < maxTried) credentials.push(credential)
  }
  return credentials
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
