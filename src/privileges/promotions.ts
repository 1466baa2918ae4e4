import { foldName } from './roles.ts'
import type { Roles } from './roles.ts'

/** Privileges lent to one request: never stored, unseen by others, gone with the request. */
export class Promotions {
  readonly #roles: Roles
  /** By loan: what it brings, as declared spellings by folded name, the lent privilege first. */
  readonly #loans = new Map<number, ReadonlyMap<string, string>>()
  #lastId = 0

  constructor(roles: Roles) {
    this.#roles = roles
  }

  /**
   * Lends a privilege and what it includes.
   *
   * @param name Privilege name in any case.
   * @returns The loan's id, larger than every earlier one; 0 when the name is not declared or lent
   *   already.
   */
  promote(name: string): number {
    const declared = this.#roles.privilegeNamed(name)
    if (declared === undefined) return 0
    const key = foldName(declared)
    for (const loan of this.#loans.values()) {
      if (loan.keys().next().value === key) return 0
    }
    this.#loans.set(++this.#lastId, this.#roles.expand([declared], []))
    return this.#lastId
  }

  /** Takes a loan back; an unknown id does nothing. */
  demote(id: number): void {
    this.#loans.delete(id)
  }

  has(name: string): boolean {
    const key = foldName(name)
    for (const loan of this.#loans.values()) if (loan.has(key)) return true
    return false
  }
}
