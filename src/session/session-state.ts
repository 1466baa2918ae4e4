import type { ClientKind } from '../client/describe-client.ts'
import { unknownClient, type ClientDescription } from '../client/description.ts'
import { newSessionId, type SessionCredential } from '../cookie/cookie.ts'
import { SessionEndedError } from '../errors/errors.ts'
import { Grants, nothingGranted, type GrantChanges, type Granted } from '../privileges/grants.ts'
import { Promotions } from '../privileges/promotions.ts'
import { Storage, type StorageChanges } from '../storage/storage.ts'
import type { RecordDraft, SessionRecord, SessionType } from '../store/record.ts'
import { isOver, type VerifiedToken } from '../tokens/tokens.ts'
import type { Deployment } from './deployment.ts'
import { SessionTimes } from './session-times.ts'
import { systemUser, typeRules } from './session-types.ts'

/** The request behind a session, as far as the session needs it. */
export interface SessionClient {
  /** The client's IP address, or `''`. */
  readonly ip: string
  /** Returns a request header, or `''`. */
  header(name: string): string
  /** Describes the client. Called only when a session is first stored. Never rejects. */
  describeClient(): Promise<ClientDescription>
}

/** The request that a session state is for. */
export interface SessionOrigin {
  readonly request: SessionClient
  /** The time of the request in epoch milliseconds. */
  readonly now: number
  /** The verified token of the request, if any. */
  readonly token: VerifiedToken | undefined
}

/** A session as the store returned it. */
export interface LoadedSession {
  readonly record: SessionRecord
  readonly credential: SessionCredential
  readonly seen?: unknown
  /** The store's time then, in epoch milliseconds. */
  readonly now: number
}

/** Changes to a stored session that the store does not have yet. */
export interface StateChanges {
  readonly storage: StorageChanges | undefined
  readonly grants: GrantChanges | undefined
  readonly idleTimeoutMs: number | undefined
}

/** What a request leaves when it moves on to another session. */
export interface LeftSession {
  /** Ids of stored sessions. They end when the next session is stored. */
  readonly replaces: readonly string[]
  /** Whether the client must lose the cookies of another package's session, which was not stored. */
  readonly leavesCarried: boolean
}

const nothingLeft: LeftSession = { replaces: [], leavesCarried: false }
const noTexts: ReadonlyMap<string, string> = new Map()

/**
 * One session as one request sees it: what was loaded, what the request changed, and which changes
 * the store does not have yet. Does no I/O. It is a guest until it is stored, or loaded from the
 * store, or ended by this request, after which it takes no changes.
 */
export class SessionState {
  readonly deployment: Deployment
  readonly origin: SessionOrigin
  #record: SessionRecord | undefined
  #id: string | undefined
  #credential: SessionCredential | undefined
  /** For the next commit: see `SessionCommit.seen`. */
  #seen: unknown
  #client: ClientDescription
  #left: LeftSession
  #isEnded = false
  #isPostponed = false
  #isCarried = false
  #isGone = false
  // Created on first use: most requests need at most one of them.
  #storage: Storage | undefined
  #grants: Grants | undefined
  #times: SessionTimes | undefined
  #promotions: Promotions | undefined

  /** Makes a loaded session, or a guest without `loaded`. */
  constructor(
    deployment: Deployment,
    origin: SessionOrigin,
    loaded?: LoadedSession,
    left: LeftSession = nothingLeft,
  ) {
    const record = loaded?.record
    this.deployment = deployment
    this.origin = origin
    this.#record = record
    this.#id = record?.id
    this.#credential = loaded?.credential
    this.#seen = loaded?.seen
    this.#client = record?.client ?? unknownClient
    this.#left = left
  }

  /** Returns a new guest in place of what is left, if anything. */
  static guest(deployment: Deployment, origin: SessionOrigin, left?: LeftSession): SessionState {
    return new SessionState(deployment, origin, undefined, left)
  }

  /** Returns the session as just read: without uncommitted changes, but with the promotions. */
  reloaded(loaded: LoadedSession): SessionState {
    const origin = { ...this.origin, now: loaded.now }
    const state = new SessionState(this.deployment, origin, loaded)
    state.#promotions = this.#promotions
    return state
  }

  /** Returns a new guest in place of this guest, with its promotions. */
  restarted(): SessionState {
    const state = SessionState.guest(this.deployment, this.origin, this.#left)
    state.#promotions = this.#promotions
    return state
  }

  /** Returns what remains once this request has ended the session: the id. */
  ended(): SessionState {
    const state = SessionState.guest(this.deployment, this.origin)
    state.#id = this.id
    state.#isEnded = true
    return state
  }

  /** Returns a new session for another user, whose commit ends this one. */
  leftForAnotherUser(): SessionState {
    return SessionState.guest(this.deployment, this.origin, this.left)
  }

  /**
   * Returns the session that replaces this one when it has ended, or when the request's secret was
   * rotated: it has a new id, and only the grants that this request gave.
   *
   * @param keeps Whether all storage moves along, or only what this request changed.
   */
  successor(keeps: 'storage' | 'changes', grants: GrantChanges): SessionState {
    const next = SessionState.guest(this.deployment, this.origin)
    const texts = keeps === 'storage' ? this.storage.texts() : this.storage.changes()?.set
    for (const [name, json] of texts ?? []) next.storage.setText(name, json)
    next.grants.add({
      privileges: [...grants.privileges],
      roles: [...grants.roles],
      userName: grants.signsIn ? this.grants.granted.userName : undefined,
    })
    return next
  }

  get id(): string {
    this.#id ??= newSessionId()
    return this.#id
  }

  get type(): SessionType {
    return this.#record?.type ?? this.deployment.settings.type
  }

  /** Whether the session is not stored yet. */
  get isNew(): boolean {
    return this.#credential === undefined
  }

  /** Whether this request has ended the session. */
  get isEnded(): boolean {
    return this.#isEnded
  }

  /** `undefined` while the session is not stored. */
  get credential(): SessionCredential | undefined {
    return this.#credential
  }

  /** For the next commit: see `SessionCommit.seen`. */
  get seen(): unknown {
    return this.#seen
  }

  /** The client that created the session. */
  get client(): ClientDescription {
    return this.#client
  }

  /** Whether this request announced that its client suspends. */
  get isPostponed(): boolean {
    return this.#isPostponed
  }

  /** Whether it carries over another package's session, so that it is stored even if empty. */
  get isCarried(): boolean {
    return this.#isCarried
  }

  /** Whether a commit has found that the session no longer exists. */
  get isGone(): boolean {
    return this.#isGone
  }

  get storage(): Storage {
    this.#storage ??= new Storage(this.#record?.storage ?? noTexts, {
      maxBytes: this.deployment.settings.policy.limits.storageBytes,
      onCorrupt: () => {
        this.deployment.events.emit('session:storeError', { operation: 'load', id: this.id })
      },
    })
    return this.#storage
  }

  get grants(): Grants {
    if (this.#grants) return this.#grants
    const { settings, onUndeclared } = this.deployment
    const granted = (this.#record && nestedGrants(this.origin.token)) ?? this.#record
    this.#grants = new Grants(granted ?? nothingGranted, settings.roles, onUndeclared)
    return this.#grants
  }

  /** Privileges that are lent to this request only. */
  get promotions(): Promotions {
    this.#promotions ??= new Promotions(this.deployment.settings.roles)
    return this.#promotions
  }

  get times(): SessionTimes {
    this.#times ??= new SessionTimes(this.deployment.settings, this.origin.now, this.#record)
    return this.#times
  }

  /** The client's address at creation. */
  get ip(): string {
    return this.#record?.ip ?? this.origin.request.ip
  }

  get clientKind(): ClientKind {
    const application = this.deployment.settings.applications.get(this.#client.applicationId)
    return application?.client ?? (typeRules[this.type].hasCookie ? 'web' : 'other')
  }

  /** The request's token, if it is for this session. */
  get token(): VerifiedToken | undefined {
    return this.origin.token?.claims.sid === this.#id ? this.origin.token : undefined
  }

  /** Whether the request has a nested token, and so sees the session as another user's. */
  get isNested(): boolean {
    return this.token?.isNested ?? false
  }

  /** The signed-in user, or `''`. */
  get userName(): string {
    const isSystem = typeRules[this.type].user === 'server' && !this.isNested
    return isSystem ? systemUser : this.grants.granted.userName
  }

  /** Whether the request's token has expired meanwhile, as that of a socket may. */
  get isTokenOver(): boolean {
    return this.origin.token !== undefined && isOver(this.origin.token.claims)
  }

  /** Whether somebody is signed in. A remote session needs no case: it always has a user name. */
  get isSignedIn(): boolean {
    return this.userName !== '' || (this.isPrivileged && this.grants.held.size > 0)
  }

  /** Whether the session can have privileges. */
  get isPrivileged(): boolean {
    if (this.isTokenOver) return false
    return this.isNested || this.deployment.settings.privilegedTypes.has(this.type)
  }

  /** Whether the session's privileges can change. */
  get isGrantable(): boolean {
    return !this.isNested && this.isPrivileged
  }

  /** What a session in place of this one leaves. */
  get left(): LeftSession {
    const { replaces, leavesCarried } = this.#left
    if (!this.isNew) return { replaces: [...replaces, this.id], leavesCarried }
    return this.#isCarried ? { replaces, leavesCarried: true } : this.#left
  }

  /** Ids of stored sessions that end when this one is committed. */
  get replaces(): readonly string[] {
    return this.#left.replaces
  }

  /** Whether a commit must end a session, or clear a cookie. */
  get hasReplaced(): boolean {
    return this.#left !== nothingLeft
  }

  /** Whether there may be something to commit. False is certain, and the check is cheap. */
  get mayDiffer(): boolean {
    return (
      (this.#storage?.mayDiffer ?? false) ||
      this.#grants?.changes !== undefined ||
      this.#times?.changedIdleTimeoutMs !== undefined ||
      this.#left !== nothingLeft ||
      (this.#credential === undefined && (this.#isCarried || this.#isGranted))
    )
  }

  /** Whether a session that is not stored differs from an untouched guest. */
  get isTouched(): boolean {
    return (
      this.#isCarried ||
      this.#isGranted ||
      this.#times?.changedIdleTimeoutMs !== undefined ||
      this.#storage?.changes() !== undefined
    )
  }

  get #isGranted(): boolean {
    if (!this.#grants) return false
    const { userName, privileges, roles } = this.#grants.granted
    return userName !== '' || privileges.length > 0 || roles.length > 0
  }

  /**
   * Returns what the store lacks of a stored session, or `undefined`. Throws `StorageValueError`
   * when a value was mutated into something that JSON cannot hold.
   */
  changes(): StateChanges | undefined {
    const storage = this.#storage?.changes()
    const grants = this.#grants?.changes
    const idleTimeoutMs = this.#times?.changedIdleTimeoutMs
    if (!storage && !grants && idleTimeoutMs === undefined) return undefined
    return { storage, grants, idleTimeoutMs }
  }

  /** Returns all that the store needs to create the session. */
  draft(client: ClientDescription, storage: StorageChanges | undefined): RecordDraft {
    const { type, ip } = this
    const { idleTimeoutMs } = this.times
    const { userName, privileges, roles } = this.grants.granted
    const texts = storage?.set ?? new Map()
    return { type, ip, client, idleTimeoutMs, userName, privileges, roles, storage: texts }
  }

  /** Records that the store has created the session from a draft; more may have changed since. */
  created(
    draft: RecordDraft,
    { credential, seen, now }: Omit<LoadedSession, 'record'>,
    { storage, grants }: Pick<StateChanges, 'storage' | 'grants'>,
  ): void {
    this.committed({ storage, grants, idleTimeoutMs: draft.idleTimeoutMs }, seen)
    this.#credential = credential
    this.#client = draft.client
    this.times.created(now)
  }

  /** Records that the store has these changes; more may have changed since. */
  committed({ storage, grants, idleTimeoutMs }: StateChanges, seen: unknown): void {
    if (storage) this.storage.committed(storage)
    if (grants) this.grants.committed()
    if (idleTimeoutMs !== undefined) this.times.committed(idleTimeoutMs)
    this.#seen = seen
  }

  /** Records that the cookie has a new secret. */
  rotated(secretHash: string): void {
    this.#credential = { id: this.id, secretHash }
  }

  /**
   * Records activity, and takes over the rights that the session has by now.
   *
   * @throws {SessionEndedError} When the session is no longer that of its user.
   */
  touched({ record, seen, now }: Omit<LoadedSession, 'credential'>): void {
    this.times.touched(now)
    this.#isPostponed = false
    if (this.#grants?.changes) return
    if (record.userName !== this.#record?.userName && this.userName !== '') {
      throw new SessionEndedError()
    }
    this.#record = record
    this.#seen = seen
    this.#grants = undefined
  }

  /** Records that the client suspends. */
  postponed(): void {
    this.#isPostponed = true
  }

  /** Records that the session carries over another package's session. */
  carriedOver(): void {
    this.#isCarried = true
  }

  /** Records that the replaced sessions have ended. */
  replacedEnded(): void {
    this.#left = nothingLeft
  }

  /**
   * Records that the session no longer exists, and emits `session:ended` once. Returns the error
   * for the app.
   */
  gone(): SessionEndedError {
    const { id } = this
    if (!this.#isGone) this.deployment.events.emit('session:ended', { id, reason: 'gone' })
    this.#isGone = true
    return new SessionEndedError()
  }

  /** Discards what the store does not have. */
  discard(): void {
    this.#storage?.discard()
    this.#grants?.discard()
    this.#times?.discard()
  }
}

/** Returns the grants of a nested token, which replace those of its session. */
function nestedGrants(token: VerifiedToken | undefined): Granted | undefined {
  if (!token?.isNested) return undefined
  const { sub, privileges = [], roles = [] } = token.claims
  return { userName: sub, privileges, roles }
}
