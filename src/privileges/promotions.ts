import { foldName, type Roles } from './roles.ts'

/** Privileges lent to one request: never stored, and invisible to other requests. */
export class Promotions {
  readonly #roles: Roles
  /** The privileges of each loan: declared spellings by folded name, the lent privilege first. */
  readonly #loans = new Map<number, ReadonlyMap<string, string>>()
  #lastId = 0

  constructor(roles: Roles) {
    this.#roles = roles
  }

  /**
   * Lends a privilege, named in any case, and what it includes. Returns the loan's id, larger than
   * all earlier ones, or 0 when the name is undeclared or already lent.
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

  /** Ends a loan. Ignores an unknown id. */
  demote(id: number): void {
    this.#loans.delete(id)
  }

  has(name: string): boolean {
    const key = foldName(name)
    for (const loan of this.#loans.values()) if (loan.has(key)) return true
    return false
  }
}
