import type { Grant } from './privileges.ts'
import { foldName } from './roles.ts'
import type { Roles } from './roles.ts'

/** What a session was granted, as the store keeps it. */
export interface Granted {
  /** `''` when nobody is signed in. */
  readonly userName: string
  /** Declared spellings, not expanded. */
  readonly privileges: readonly string[]
  readonly roles: readonly string[]
}

/** What a request changes in a session's grants. */
export interface GrantChanges {
  /** Whether everything granted before goes first. */
  readonly clears: boolean
  /** The new name, `''` for nobody; `undefined` when it stays. */
  readonly userName: string | undefined
  /**
   * Privileges added: all that a call has named, also those that the session has already, so that
   * none is missing where the changes go into another session.
   */
  readonly privileges: readonly string[]
  /** Roles added, in the same way. */
  readonly roles: readonly string[]
  /** Whether this is a sign-in, from which the absolute timeout counts anew. */
  readonly signsIn: boolean
}

/** Told of a name that was to be granted but is not declared. */
export type OnUndeclared = (kind: 'privilege' | 'role', name: string) => void

/** What a guest was granted. */
export const nothingGranted: Granted = { userName: '', privileges: [], roles: [] }

const noChanges: GrantChanges = {
  clears: false,
  userName: undefined,
  privileges: [],
  roles: [],
  signsIn: false,
}

/** Whose a session is and what it may do, and what one request has changed of that. */
export class Grants {
  readonly #roles: Roles
  readonly #onUndeclared: OnUndeclared
  /** Whom the session belongs to in the store, whatever this request has cleared since. */
  #owner: string
  #granted: Granted
  /** As the store has it. */
  #stored: Granted
  /** As it was when a commit took the changes. */
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

  /** As it is now, changes included. */
  get granted(): Granted {
    return this.#granted
  }

  /** What the store does not know yet; `undefined` when there is nothing. */
  get changes(): GrantChanges | undefined {
    return this.#changes === noChanges ? undefined : this.#changes
  }

  /** Declared spellings by folded name, roles and includes expanded. */
  get held(): ReadonlyMap<string, string> {
    this.#held ??= this.#roles.expand(this.#granted.privileges, this.#granted.roles)
    return this.#held
  }

  has(name: string): boolean {
    return this.held.has(foldName(name))
  }

  /** Whether a grant names another user than the one whom the session belongs to. */
  isForAnotherUser({ userName = '' }: Grant): boolean {
    return userName !== '' && this.#owner !== '' && userName !== this.#owner
  }

  /** Adds to what is granted. Names that are not declared are left out. */
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
    // Giving up the name alone gains nothing.
    const gives = gains || userName !== ''
    this.#changes = followedBy(this.#changes, {
      clears: false,
      userName,
      privileges: gives ? privileges : [],
      roles: gives ? roles : [],
      signsIn,
    })
  }

  /**
   * Takes everything back.
   *
   * @param keepsUser Leaves the user name.
   */
  clear(keepsUser = false): void {
    const { userName, privileges, roles } = this.#granted
    const isNobodys = userName === '' || keepsUser
    if (isNobodys && privileges.length === 0 && roles.length === 0) return
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

  /** Hands the changes to a commit; what changes from now on is for the next one. */
  takeChanges(): GrantChanges | undefined {
    const { changes } = this
    this.#changes = noChanges
    this.#taken = this.#granted
    return changes
  }

  /** The store has what was taken. */
  committed(): void {
    this.#stored = this.#taken
  }

  /** Forgets what the store does not have. */
  discard(): void {
    this.#granted = this.#stored
    this.#owner = this.#stored.userName
    this.#changes = noChanges
    this.#held = undefined
  }

  /** Takes back what a commit could not store, under what has changed since. */
  restoreChanges(changes: GrantChanges | undefined): void {
    if (changes !== undefined) this.#changes = followedBy(changes, this.#changes)
  }

  /** The declared ones of some names, in the declared spelling, none twice. */
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

/** Those names that are not among others. */
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
