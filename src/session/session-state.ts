import type { ClientKind } from '../client/describe-client.ts'
import { unknownClient } from '../client/description.ts'
import type { ClientDescription, HeaderReader } from '../client/description.ts'
import { newSessionId } from '../cookie/credential.ts'
import type { SessionCredential } from '../cookie/credential.ts'
import { Grants, nothingGranted } from '../privileges/grants.ts'
import type { GrantChanges, Granted, OnUndeclared } from '../privileges/grants.ts'
import { Loans } from '../privileges/promotions.ts'
import type { Roles } from '../privileges/roles.ts'
import type { StorageLimits } from '../storage/storage-value.ts'
import { Storage } from '../storage/storage.ts'
import type { StorageChanges } from '../storage/storage.ts'
import { expiresAt, maxIdleTimeout, minuteMs, minutesToMs } from '../store/expiry.ts'
import type { ExpiryPolicy } from '../store/expiry.ts'
import { systemUser } from '../store/record.ts'
import type { RecordDraft, SessionRecord, SessionType } from '../store/record.ts'
import type { TokenClaims } from '../tokens/claims.ts'

/** What is the same for all sessions of a deployment. */
export interface SessionRules {
  /** The type of a session that a cookie carries. */
  readonly type: SessionType
  readonly roles: Roles
  /** What kind of client each application is, by its id. */
  readonly applications: ReadonlyMap<string, { readonly client: ClientKind }>
  /** Types of session that can have privileges. */
  readonly privilegedTypes: ReadonlySet<SessionType>
  /** Of a new session. Milliseconds. */
  readonly idleTimeoutMs: number
  /** Lower ones are raised to it. Milliseconds. */
  readonly minIdleTimeoutMs: number
  readonly expiry: ExpiryPolicy
  readonly limits: StorageLimits
  /** Of this server. */
  readonly instanceName: string
  readonly serverCode: string
  readonly onUndeclared: OnUndeclared
  /** Told of a session with a stored value that is not JSON. */
  readonly onCorrupt: (id: string) => void
}

/** Where a session comes from. */
export interface SessionOrigin {
  /** The time of the request. Epoch milliseconds. */
  readonly now: number
  /** The client's IP address; `''` when not known. */
  readonly ip: string
  /** Reads the request's headers. */
  readonly header: HeaderReader
  /** Finds out who the client is. Never rejects. */
  readonly describeClient: () => Promise<ClientDescription>
  /** The token that has brought it; `undefined` without one. */
  readonly token?: SessionToken | undefined
}

/** A token, as far as it matters to its session. */
export interface SessionToken {
  readonly claims: TokenClaims
  /** Whether the session is seen as another user's, with the token's rights. */
  readonly isNested: boolean
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
  /** Sessions that the store has, by id. */
  readonly replaces: readonly string[]
  /** Whether there was one of another package that was never stored here. */
  readonly leavesCarried: boolean
}

/**
 * One session as one request sees it: what was loaded, what the request changed, and what of that
 * the store does not know yet. Does no input or output.
 */
export class SessionState {
  readonly rules: SessionRules
  readonly origin: SessionOrigin
  readonly storage: Storage
  readonly grants: Grants
  readonly loans: Loans
  /** Sessions that the store has and that end when this one is committed, by id. */
  replaces: readonly string[]
  /** What the store knows the session's cookie by; `undefined` while the store has no session. */
  credential: SessionCredential | undefined
  /** What the store wants to be given back with a commit. */
  seen: unknown
  /** Whether this request has ended it, and it takes no more changes. */
  readonly isEnded: boolean
  createdAt: number
  /** The absolute end; `Infinity` for none. */
  endsAt: number
  /** The last activity. */
  activeAt: number
  /** Who made it, as far as the store knows. */
  client: ClientDescription
  /** Whether this request has said that its client suspends. */
  isPostponed = false
  /** Whether it carries over a session of another package, and so is stored whatever it holds. */
  isCarried = false
  /** Whether the client has left one that was never stored, and must lose the cookie of it. */
  leavesCarried: boolean
  readonly #record: SessionRecord | undefined
  #id: string | undefined
  #idleTimeoutMs: number
  #storedIdleTimeoutMs: number

  /**
   * @param rules Of the deployment.
   * @param origin The request.
   * @param loaded What the store has. Without it the session is a new guest, which may replace
   *   others.
   */
  constructor(
    rules: SessionRules,
    origin: SessionOrigin,
    loaded: {
      readonly id?: string
      readonly record?: SessionRecord
      readonly credential?: SessionCredential
      readonly seen?: unknown
      readonly loans?: Loans
      readonly replaces?: readonly string[]
      readonly leavesCarried?: boolean
      readonly isEnded?: boolean
    } = {},
  ) {
    const { record } = loaded
    this.isEnded = loaded.isEnded ?? false
    this.rules = rules
    this.origin = origin
    this.credential = loaded.credential
    this.seen = loaded.seen
    this.loans = loaded.loans ?? new Loans(rules.roles)
    this.replaces = loaded.replaces ?? []
    this.leavesCarried = loaded.leavesCarried ?? false
    this.#record = record
    this.#id = record?.id ?? loaded.id
    this.activeAt = origin.now
    this.createdAt = record?.createdAt ?? origin.now
    this.client = record?.client ?? unknownClient
    this.endsAt = record?.endsAt ?? origin.now + rules.expiry.absoluteTimeoutMs
    this.#idleTimeoutMs = record?.idleTimeoutMs ?? rules.idleTimeoutMs
    this.#storedIdleTimeoutMs = this.#idleTimeoutMs
    const granted = (record && nestedGrants(origin.token)) ?? record ?? nothingGranted
    this.grants = new Grants(granted, rules.roles, rules.onUndeclared)
    this.storage = new Storage(record?.storage ?? new Map(), {
      maxBytes: rules.limits.storageBytes,
      onCorrupt: () => rules.onCorrupt(this.id),
    })
  }

  get id(): string {
    this.#id ??= newSessionId()
    return this.#id
  }

  get type(): SessionType {
    return this.#record?.type ?? this.rules.type
  }

  /** Whether the store does not have it yet. */
  get isNew(): boolean {
    return this.credential === undefined
  }

  /** The client's address at creation. */
  get ip(): string {
    return this.#record?.ip ?? this.origin.ip
  }

  /** What kind of client it has. */
  get clientKind(): ClientKind {
    const isCookies = this.type === 'web' || this.type === 'rest'
    const application = this.rules.applications.get(this.client.applicationId)
    return application?.client ?? (isCookies ? 'web' : 'other')
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
    const isSystem = this.type === 'storedProcedure' && !this.isNested
    return isSystem ? systemUser : this.grants.granted.userName
  }

  /** When it ends if nothing more is requested. */
  get expiresAt(): number {
    return expiresAt(this.activeAt, this.#idleTimeoutMs, this.endsAt)
  }

  get idleTimeoutMs(): number {
    return this.#idleTimeoutMs
  }

  /** In minutes, as the app knows it. */
  get idleTimeout(): number {
    return this.#idleTimeoutMs / minuteMs
  }

  /** A lower value than the floor becomes the floor. */
  set idleTimeout(minutes: number) {
    if (this.type === 'storedProcedure') {
      throw new TypeError('the stored-procedure session has no idle timeout')
    }
    if (typeof minutes !== 'number' || !Number.isFinite(minutes) || minutes > maxIdleTimeout) {
      throw new TypeError(`idleTimeout must be a number of minutes, at most ${maxIdleTimeout}`)
    }
    this.#idleTimeoutMs = Math.max(minutesToMs(minutes), this.rules.minIdleTimeoutMs)
  }

  /** Whether sessions of this type can have privileges. */
  get isPrivileged(): boolean {
    return this.isNested || this.rules.privilegedTypes.has(this.type)
  }

  /** Whether its privileges can be changed. */
  get isGrantable(): boolean {
    return !this.isNested && this.isPrivileged
  }

  /** Sessions that the store has and that must end with this one, by id. */
  get storedIds(): readonly string[] {
    return this.isNew ? this.replaces : [...this.replaces, this.id]
  }

  /** What the session that takes its place has to end and to take away. */
  get left(): LeftSession {
    const leavesCarried = this.leavesCarried || (this.isCarried && this.isNew)
    return { replaces: this.storedIds, leavesCarried }
  }

  /**
   * What the store does not know yet of a session that it has.
   *
   * @returns `undefined` when there is nothing.
   * @throws {StorageValueError} When a value was mutated into something that JSON cannot hold.
   */
  changes(): StateChanges | undefined {
    const storage = this.storage.changes()
    const grants = this.grants.changes
    const idleTimeoutMs =
      this.#idleTimeoutMs === this.#storedIdleTimeoutMs ? undefined : this.#idleTimeoutMs
    if (!storage && !grants && idleTimeoutMs === undefined) return undefined
    return { storage, grants, idleTimeoutMs }
  }

  /**
   * Everything that the store needs to create the session.
   *
   * @param client Who makes it.
   * @param storage What changes in its storage, which is all that a new session has.
   */
  draft(client: ClientDescription, storage: StorageChanges | undefined): RecordDraft {
    const { type, ip, idleTimeoutMs } = this
    return {
      type,
      ip,
      client,
      idleTimeoutMs,
      ...this.grants.granted,
      storage: storage?.set ?? new Map(),
    }
  }

  /** Whether a session that the store does not have differs from an untouched guest. */
  get isTouched(): boolean {
    return (
      this.isCarried ||
      this.#isGranted ||
      this.#idleTimeoutMs !== this.#storedIdleTimeoutMs ||
      this.storage.changes() !== undefined
    )
  }

  get #isGranted(): boolean {
    const { userName, privileges, roles } = this.grants.granted
    return userName !== '' || privileges.length > 0 || roles.length > 0
  }

  /**
   * Whether the store may have to be told anything. False is certain, and asking costs next to
   * nothing.
   */
  get mayDiffer(): boolean {
    return (
      this.storage.mayDiffer ||
      this.grants.changes !== undefined ||
      this.#idleTimeoutMs !== this.#storedIdleTimeoutMs ||
      this.replaces.length > 0 ||
      this.leavesCarried ||
      (this.isNew && (this.isCarried || this.#isGranted))
    )
  }

  /** Takes over what a commit has stored; more may have changed since. */
  committed({ storage, idleTimeoutMs }: Omit<StateChanges, 'grants'>): void {
    if (storage) this.storage.committed(storage)
    this.grants.committed()
    if (idleTimeoutMs !== undefined) this.#storedIdleTimeoutMs = idleTimeoutMs
  }

  /** Forgets what the store does not know. */
  discard(): void {
    this.storage.discard()
    this.grants.discard()
    this.#idleTimeoutMs = this.#storedIdleTimeoutMs
  }

  /** What is left of it once this request has ended it: the id, and nothing of what it held. */
  ended(): SessionState {
    return new SessionState(this.rules, this.origin, { id: this.id, isEnded: true })
  }

  /**
   * The session that takes this one's place when the store has it no more, or gives it to nobody
   * who comes with this request's cookie: a new id, and of the grants only what this request gave.
   *
   * @param keeps Which storage goes along: all of it, or what this request has changed.
   */
  successor(keeps: 'storage' | 'changes', grants: GrantChanges): SessionState {
    const { rules, origin } = this
    const next = new SessionState(rules, origin)
    const texts = keeps === 'storage' ? this.storage.texts() : this.storage.changes()?.set
    for (const [name, json] of texts ?? []) next.storage.setText(name, json)
    next.grants.add({
      privileges: [...grants.privileges],
      roles: [...grants.roles],
      userName: grants.signsIn ? this.grants.granted.userName : undefined,
    })
    return next
  }
}

/** What a nested token says; nothing of what its session has. */
function nestedGrants(token: SessionToken | undefined): Granted | undefined {
  if (!token?.isNested) return undefined
  const { sub, privileges = [], roles = [] } = token.claims
  return { userName: sub, privileges, roles }
}
