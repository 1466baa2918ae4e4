import type { Grant } from './privileges.ts'
import { foldName, type Roles } from './roles.ts'

/** What a session has been granted, as the store keeps it. */
export interface Granted {
  /** The user's name, `''` for a guest. */
  readonly userName: string
  /** Granted privileges in declared spelling, without what they include. */
  readonly privileges: readonly string[]
  /** Granted roles in declared spelling. */
  readonly roles: readonly string[]
}

/** A request's changes to a session's grants. */
export interface GrantChanges {
  /** Whether the store removes all earlier grants first. */
  readonly clears: boolean
  /** The new user name, `''` for a guest, or `undefined` when the name stays. */
  readonly userName: string | undefined
  /** Added privileges, even if already granted: the changes may go into another session. */
  readonly privileges: readonly string[]
  /** Added roles, likewise. */
  readonly roles: readonly string[]
  /** Whether this is a sign-in, which restarts the absolute timeout. */
  readonly signsIn: boolean
}

/** Receives each name that a grant contains but the roles file does not declare. */
export type OnUndeclared = (kind: 'privilege' | 'role', name: string) => void

/** The grants of a guest. */
export const nothingGranted: Granted = { userName: '', privileges: [], roles: [] }

const noChanges: GrantChanges = {
  clears: false,
  userName: undefined,
  privileges: [],
  roles: [],
  signsIn: false,
}

/** A session's user, privileges and roles as one request sees them, with that request's changes. */
export class Grants {
  readonly #roles: Roles
  readonly #onUndeclared: OnUndeclared
  /** The session's last user, even if this request has cleared the name since. */
  #owner: string
  #granted: Granted
  #stored: Granted
  /** The grants at the time when a commit took the changes. */
  #taken: Granted
  #changes = noChanges
  #held: ReadonlyMap<string, string> | undefined

  constructor(granted: Granted, roles: Roles, onUndeclared: OnUndeclared) {
    this.#granted = granted
    this.#stored = granted
    this.#taken = granted
    this.#owner = granted.userName
    this.#roles = roles
    this.#onUndeclared = onUndeclared
  }

  /** The current grants, changes included. */
  get granted(): Granted {
    return this.#granted
  }

  /** The changes that no commit has taken yet, or `undefined`. */
  get changes(): GrantChanges | undefined {
    return this.#changes === noChanges ? undefined : this.#changes
  }

  /** All privileges, roles and includes expanded: declared spellings by folded name. */
  get held(): ReadonlyMap<string, string> {
    this.#held ??= this.#roles.expand(this.#granted.privileges, this.#granted.roles)
    return this.#held
  }

  has(name: string): boolean {
    return this.held.has(foldName(name))
  }

  /** Returns whether a grant names a user other than the session's. */
  isForAnotherUser({ userName = '' }: Grant): boolean {
    return userName !== '' && this.#owner !== '' && userName !== this.#owner
  }

  /** Adds a grant, without its undeclared names. */
  add(grant: Grant): void {
    const before = this.#granted
    const wasGuest = before.userName === '' && this.held.size === 0
    const privileges = this.#declared('privilege', grant.privileges)
    const roles = this.#declared('role', grant.roles)
    const newPrivileges = without(privileges, before.privileges)
    const newRoles = without(roles, before.roles)
    const userName = grant.userName === before.userName ? undefined : grant.userName
    const gains = newPrivileges.length > 0 || newRoles.length > 0
    if (!gains && userName === undefined) return

    this.#granted = {
      userName: userName ?? before.userName,
      privileges: [...before.privileges, ...newPrivileges],
      roles: [...before.roles, ...newRoles],
    }
    this.#owner = this.#granted.userName || this.#owner
    this.#held = undefined
    const signsIn = grant.userName === undefined ? gains && wasGuest : grant.userName !== ''
    // A grant that only clears the user name adds nothing.
    const gives = gains || userName !== ''
    this.#changes = followedBy(this.#changes, {
      clears: false,
      userName,
      privileges: gives ? privileges : [],
      roles: gives ? roles : [],
      signsIn,
    })
  }

  /** Removes all grants, and the user name unless `keepsUser` is true. */
  clear(keepsUser = false): void {
    const { userName, privileges, roles } = this.#granted
    const nameStays = userName === '' || keepsUser
    if (nameStays && privileges.length === 0 && roles.length === 0) return
    this.#held = undefined
    if (keepsUser) {
      this.#granted = { ...nothingGranted, userName }
      this.#changes = { ...noChanges, clears: true, userName }
      return
    }
    this.#granted = nothingGranted
    const renames = userName !== '' || this.#changes.userName !== undefined
    this.#changes = { ...noChanges, clears: true, userName: renames ? '' : undefined }
  }

  /** Hands the changes to a commit. Later changes are for the next commit. */
  takeChanges(): GrantChanges | undefined {
    const { changes } = this
    this.#changes = noChanges
    this.#taken = this.#granted
    return changes
  }

  /** Records that the store has the changes that the last commit took. */
  committed(): void {
    this.#stored = this.#taken
  }

  /** Discards all changes that the store does not have. */
  discard(): void {
    this.#granted = this.#stored
    this.#taken = this.#stored
    this.#owner = this.#stored.userName
    this.#changes = noChanges
    this.#held = undefined
  }

  /** Restores the changes of a failed commit, before all later changes. */
  restoreChanges(changes: GrantChanges | undefined): void {
    if (changes !== undefined) this.#changes = followedBy(changes, this.#changes)
  }

  /** Returns the declared names once each, in declared spelling, and reports the others. */
  #declared(kind: 'privilege' | 'role', names: readonly string[]): readonly string[] {
    const declared = new Map<string, string>()
    for (const name of names) {
      const spelling =
        kind === 'privilege' ? this.#roles.privilegeNamed(name) : this.#roles.roleNamed(name)
      if (spelling === undefined) this.#onUndeclared(kind, name)
      else if (!declared.has(foldName(spelling))) declared.set(foldName(spelling), spelling)
    }
    return [...declared.values()]
  }
}

/** Returns the names that are not among the others, in any case. */
function without(names: readonly string[], others: readonly string[]): readonly string[] {
  const known = new Set(others.map(foldName))
  return names.filter((name) => !known.has(foldName(name)))
}

function followedBy(first: GrantChanges, next: GrantChanges): GrantChanges {
  if (first === noChanges || next.clears) return next
  if (next === noChanges) return first
  return {
    clears: first.clears,
    userName: next.userName ?? first.userName,
    privileges: [...first.privileges, ...next.privileges],
    roles: [...first.roles, ...next.roles],
    signsIn: first.signsIn || next.signsIn,
  }
}
