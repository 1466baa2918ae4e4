import type { ClientKind } from '../client/describe-client.ts'
import { unknownClient, type ClientDescription } from '../client/description.ts'
import { newSessionId, type SessionCredential } from '../cookie/cookie.ts'
import { SessionEndedError } from '../errors/errors.ts'
import { Grants, nothingGranted, type GrantChanges, type Granted } from '../privileges/grants.ts'
import { Promotions } from '../privileges/promotions.ts'
import { Storage, type StorageChanges } from '../storage/storage.ts'
import type { RecordDraft, SessionRecord, SessionType } from '../store/record.ts'
import type { TokenClaims } from '../tokens/claims.ts'
import type { Deployment } from './deployment.ts'
import { SessionTimes } from './session-times.ts'
import { systemUser, typeRules } from './session-types.ts'

/** The request that a session comes from, as far as the session needs it. */
export interface SessionClient {
  /** The client's IP address; `''` when not known. */
  readonly ip: string
  /** Reads one of the request's headers; `''` when it is missing. */
  header(name: string): string
  /** Finds out who the client is. Asked only when a session is stored first. Never rejects. */
  describeClient(): Promise<ClientDescription>
}

/** Where a session comes from. */
export interface SessionOrigin {
  readonly request: SessionClient
  /** The time of the request. Epoch milliseconds. */
  readonly now: number
  /** The token that came with the request; `undefined` without one. */
  readonly token?: SessionToken | undefined
}

/** A token, as far as it matters to its session. */
export interface SessionToken {
  readonly claims: TokenClaims
  /** Whether the session is seen as another user's, with the token's rights. */
  readonly isNested: boolean
}

/** A session as the store has told of it. */
export interface LoadedSession {
  readonly record: SessionRecord
  readonly credential: SessionCredential
  /** What the store wants to be given back with a commit. */
  readonly seen?: unknown
  /** The store's time then. Epoch milliseconds. */
  readonly now: number
}

/** What the store does not know yet of a session that it has. */
export interface StateChanges {
  readonly storage: StorageChanges | undefined
  readonly grants: GrantChanges | undefined
  /** Milliseconds; `undefined` when it stays. */
  readonly idleTimeoutMs: number | undefined
}

/** What a request leaves behind when it goes on to another session. */
export interface LeftSession {
  /** Sessions that the store has, by id. They end when the next one is stored. */
  readonly replaces: readonly string[]
  /**
   * Whether the client has left one of another package that was never stored here, and must lose
   * the cookie of it.
   */
  readonly leavesCarried: boolean
}

const nothingLeft: LeftSession = { replaces: [], leavesCarried: false }
const noTexts: ReadonlyMap<string, string> = new Map()

/**
 * One session as one request sees it: what was loaded, what the request changed, and what of that
 * the store does not know yet. Does no input or output.
 *
 * A session is a guest, which the store does not have, until it is stored; loaded, which the store
 * has; or ended by this request, when it takes no more changes.
 */
export class SessionState {
  readonly deployment: Deployment
  readonly origin: SessionOrigin
  /** Whether this request has ended it. */
  readonly isEnded: boolean
  readonly #record: SessionRecord | undefined
  #id: string | undefined
  #credential: SessionCredential | undefined
  #seen: unknown
  #client: ClientDescription
  #left: LeftSession
  #isPostponed = false
  #isCarried = false
  #isGone = false
  // Made when they are asked for: most requests need one of them at most.
  #storage: Storage | undefined
  #grants: Grants | undefined
  #times: SessionTimes | undefined
  #promotions: Promotions | undefined

  /** Sessions are made by the functions below, which say what kind of state it is. */
  constructor(
    deployment: Deployment,
    origin: SessionOrigin,
    loaded: LoadedSession | undefined,
    { id, left = nothingLeft }: { readonly id?: string; readonly left?: LeftSession } = {},
  ) {
    const record = loaded?.record
    this.deployment = deployment
    this.origin = origin
    this.isEnded = id !== undefined
    this.#record = record
    this.#id = record?.id ?? id
    this.#credential = loaded?.credential
    this.#seen = loaded?.seen
    this.#client = record?.client ?? unknownClient
    this.#left = left
  }

  /**
   * A new guest.
   *
   * @param left What it takes the place of.
   */
  static guest(deployment: Deployment, origin: SessionOrigin, left?: LeftSession): SessionState {
    return new SessionState(deployment, origin, undefined, left && { left })
  }

  /** A session that the store has. */
  static loaded(
    deployment: Deployment,
    origin: SessionOrigin,
    loaded: LoadedSession,
  ): SessionState {
    return new SessionState(deployment, origin, loaded)
  }

  /** The same session, read anew: uncommitted changes are dropped, promotions stay. */
  reloaded(loaded: LoadedSession): SessionState {
    const origin = { ...this.origin, now: loaded.now }
    const state = SessionState.loaded(this.deployment, origin, loaded)
    state.#promotions = this.#promotions
    return state
  }

  /** A new guest in place of this one, which the store does not have. */
  restarted(): SessionState {
    const state = SessionState.guest(this.deployment, this.origin, this.#left)
    state.#promotions = this.#promotions
    return state
  }

  /** What is left of it once this request has ended it: the id, and nothing of what it held. */
  ended(): SessionState {
    return new SessionState(this.deployment, this.origin, undefined, { id: this.id })
  }

  /** A new guest for another user, in place of this one. */
  leftForAnotherUser(): SessionState {
    const { left } = this
    const isLeft = left.replaces.length > 0 || left.leavesCarried
    return SessionState.guest(this.deployment, this.origin, isLeft ? left : undefined)
  }

  /**
   * The session that takes this one's place when the store has it no more, or gives it to nobody
   * who comes with this request's cookie: a new id, and of the grants only what this request gave.
   *
   * @param keeps Which storage goes along: all of it, or what this request has changed.
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

  /** Whether the store does not have it yet. */
  get isNew(): boolean {
    return this.#credential === undefined
  }

  /** What the store knows the session's cookie by; `undefined` while the store has no session. */
  get credential(): SessionCredential | undefined {
    return this.#credential
  }

  /** What the store wants to be given back with a commit. */
  get seen(): unknown {
    return this.#seen
  }

  get storage(): Storage {
    this.#storage ??= new Storage(this.#record?.storage ?? noTexts, {
      maxBytes: this.deployment.settings.limits.storageBytes,
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

  /** Privileges that are lent to this request. */
  get promotions(): Promotions {
    this.#promotions ??= new Promotions(this.deployment.settings.roles)
    return this.#promotions
  }

  /** When it was made and used, and when it ends. */
  get times(): SessionTimes {
    this.#times ??= new SessionTimes(this.deployment, this.origin.now, this.#record)
    return this.#times
  }

  /** Who made it, as far as the store knows. */
  get client(): ClientDescription {
    return this.#client
  }

  /** The client's address at creation. */
  get ip(): string {
    return this.#record?.ip ?? this.origin.request.ip
  }

  /** What kind of client it has. */
  get clientKind(): ClientKind {
    const application = this.deployment.settings.applications.get(this.#client.applicationId)
    return application?.client ?? (typeRules[this.type].hasCookie ? 'web' : 'other')
  }

  /** Whether this request has said that its client suspends. */
  get isPostponed(): boolean {
    return this.#isPostponed
  }

  /** Whether it carries over a session of another package, and so is stored whatever it holds. */
  get isCarried(): boolean {
    return this.#isCarried
  }

  /** Whether a commit has found that the store has it no more. */
  get isGone(): boolean {
    return this.#isGone
  }

  /** The token that the request came with, if it is still about this session. */
  get token(): SessionToken | undefined {
    return this.origin.token?.claims.sid === this.#id ? this.origin.token : undefined
  }

  /** Whether it is seen through a nested token: as another user's. */
  get isNested(): boolean {
    return this.token?.isNested ?? false
  }

  /** Who is signed in; `''` for nobody. */
  get userName(): string {
    const isSystem = typeRules[this.type].user === 'server' && !this.isNested
    return isSystem ? systemUser : this.grants.granted.userName
  }

  /** Whether sessions of this type can have privileges. */
  get isPrivileged(): boolean {
    return this.isNested || this.deployment.settings.privilegedTypes.has(this.type)
  }

  /** Whether its privileges can be changed. */
  get isGrantable(): boolean {
    return !this.isNested && this.isPrivileged
  }

  /** What the session that takes its place has to end and to take away. */
  get left(): LeftSession {
    const { replaces, leavesCarried } = this.#left
    if (!this.isNew) return { replaces: [...replaces, this.id], leavesCarried }
    return { replaces, leavesCarried: leavesCarried || this.#isCarried }
  }

  /** Sessions that the store has and that end when this one is committed, by id. */
  get replaces(): readonly string[] {
    return this.#left.replaces
  }

  /** Whether something must end or be taken away when it is committed. */
  get hasReplaced(): boolean {
    return this.#left.replaces.length > 0 || this.#left.leavesCarried
  }

  /**
   * Whether the store may have to be told anything. False is certain, and asking costs next to
   * nothing.
   */
  get mayDiffer(): boolean {
    return (
      (this.#storage?.mayDiffer ?? false) ||
      this.#grants?.changes !== undefined ||
      this.#times?.changedIdleTimeoutMs !== undefined ||
      this.#left !== nothingLeft ||
      (this.#credential === undefined && (this.#isCarried || this.#isGranted))
    )
  }

  /** Whether a session that the store does not have differs from an untouched guest. */
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
   * What the store does not know yet of a session that it has.
   *
   * @returns `undefined` when there is nothing.
   * @throws {StorageValueError} When a value was mutated into something that JSON cannot hold.
   */
  changes(): StateChanges | undefined {
    const storage = this.#storage?.changes()
    const grants = this.#grants?.changes
    const idleTimeoutMs = this.#times?.changedIdleTimeoutMs
    if (!storage && !grants && idleTimeoutMs === undefined) return undefined
    return { storage, grants, idleTimeoutMs }
  }

  /** Everything that the store needs to create the session. */
  draft(client: ClientDescription, storage: StorageChanges | undefined): RecordDraft {
    const { type, ip } = this
    const { idleTimeoutMs } = this.times
    const { userName, privileges, roles } = this.grants.granted
    const texts = storage?.set ?? new Map()
    return { type, ip, client, idleTimeoutMs, userName, privileges, roles, storage: texts }
  }

  /** The store has created it from a draft; more may have changed since. */
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

  /** The store has what a commit took; more may have changed since. */
  committed({ storage, grants, idleTimeoutMs }: StateChanges, seen: unknown): void {
    if (storage) this.storage.committed(storage)
    if (grants) this.grants.committed()
    if (idleTimeoutMs !== undefined) this.times.committed(idleTimeoutMs)
    this.#seen = seen
  }

  /** The cookie has a new secret. */
  rotated(secretHash: string): void {
    this.#credential = { id: this.id, secretHash }
  }

  /** The session was used. */
  touched(now: number): void {
    this.times.touched(now)
    this.#isPostponed = false
  }

  /** Its client suspends. */
  postponed(): void {
    this.#isPostponed = true
  }

  /** It carries over a session of another package. */
  carriedOver(): void {
    this.#isCarried = true
  }

  /** What it takes the place of has ended. */
  replacedEnded(): void {
    this.#left = nothingLeft
  }

  /**
   * A commit has found that the store has it no more. Told as an event once.
   *
   * @returns What to tell the app.
   */
  gone(): SessionEndedError {
    const { id } = this
    if (!this.#isGone) this.deployment.events.emit('session:ended', { id, reason: 'gone' })
    this.#isGone = true
    return new SessionEndedError()
  }

  /** Forgets what the store does not know. */
  discard(): void {
    this.#storage?.discard()
    this.#grants?.discard()
    this.#times?.discard()
  }
}

/** What a nested token says; nothing of what its session has. */
function nestedGrants(token: SessionToken | undefined): Granted | undefined {
  if (!token?.isNested) return undefined
  const { sub, privileges = [], roles = [] } = token.claims
  return { userName: sub, privileges, roles }
}
