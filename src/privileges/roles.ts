import { SessionRolesError, type RolesProblem } from '../errors/errors.ts'

const maxProblems = 100
const maxQuoted = 64
const maxMembers = 10
const offTrail = -1
const privilegeKeys = { list: 'privileges', name: 'privilege', gives: 'includes' } as const
const roleKeys = { list: 'roles', name: 'role', gives: 'privileges' } as const

/**
 * The content of 4D's `roles.json`: the app's privileges and roles. `Name` is the union of the
 * privilege names, if the compiler knows them: see `defineRoles()`.
 */
export interface RolesFile<Name extends string = string> {
  /** All privileges. Others cannot be granted. */
  readonly privileges: readonly RolesFilePrivilege<Name>[]
  /** All roles. */
  readonly roles?: readonly RolesFileRole<Name>[]
  /** Permissions on data. This package does not enforce them: refused unless `allowed` is empty. */
  readonly permissions?: { readonly allowed: readonly object[]; readonly [extra: string]: unknown }
  /** Whether 4D closes resources that have no permission. Not enforced: `true` is refused. */
  readonly restrictedByDefault?: boolean
  /** Whether 4D serves guests only the login. Not enforced: `true` is refused. */
  readonly forceLogin?: boolean
  /** Unknown properties are tolerated. */
  readonly [extra: string]: unknown
}

/** A privilege that a roles file declares. */
export interface RolesFilePrivilege<Name extends string = string> {
  /** Name such as `WebAdmin`: no comma, no blank at either end, unique in any case. */
  readonly privilege: Name
  /** Privileges that this one also gives: names from this file, without a cycle. */
  readonly includes?: readonly NoInfer<Name>[]
  /** Unknown properties, such as the `id` that Qodly Studio writes, are tolerated. */
  readonly [extra: string]: unknown
}

/** A role that a roles file declares: several privileges under one name. */
export interface RolesFileRole<Name extends string = string> {
  /** Name such as `Manager`: no comma, no blank at either end, unique in any case. */
  readonly role: string
  /** Privileges that the role gives: names from this file. */
  readonly privileges: readonly NoInfer<Name>[]
  /** Unknown properties are tolerated. */
  readonly [extra: string]: unknown
}

/** Options for parsing a roles file. */
export interface ParseRolesOptions {
  /** The file's name in messages: its path, or `the roles object`. */
  readonly name: string
  /** Accepts `permissions`, `restrictedByDefault` and `forceLogin` without enforcing them. */
  readonly ignorePermissions: boolean
}

/** A declared privilege or role. */
interface Declared {
  readonly key: string
  readonly name: string
  /** Where the file declares it, such as `$.privileges[2]`. */
  readonly path: string
  /** The privileges that it includes or gives; `undefined` for a repeated or unknown one. */
  readonly gives: (Declared | undefined)[]
}

/** Declared privileges or roles by folded name. */
type Declarations = ReadonlyMap<string, Declared>

type Properties = Readonly<Record<string, unknown>>

const maxExpanded = 100
const nothingHeld: ReadonlyMap<string, string> = new Map()

/** The names that a roles file declares, and what they give. Immutable. */
export class Roles {
  /** Stands for no roles file: every non-empty privilege name counts as declared, and no role. */
  static readonly open: Roles = new Roles()

  /** Whether this stands for no roles file. */
  readonly isOpen: boolean
  readonly #privileges: Declarations
  readonly #roles: Declarations
  /** A cache of expanded privileges, by what was granted. */
  readonly #expanded = new Map<string, ReadonlyMap<string, string>>()

  /** For the parse functions only; other callers use `Roles.open`. */
  constructor(privileges?: Declarations, roles: Declarations = new Map()) {
    this.isOpen = privileges === undefined
    this.#privileges = privileges ?? new Map()
    this.#roles = roles
  }

  /** The number of declared privileges and roles. */
  get counts(): { readonly privileges: number; readonly roles: number } {
    return { privileges: this.#privileges.size, roles: this.#roles.size }
  }

  /**
   * Returns the declared spelling of a privilege, named in any case and with any blanks around it,
   * or the trimmed name when open. Returns `undefined` when the name is undeclared or empty.
   */
  privilegeNamed(name: string): string | undefined {
    return this.#privilege(name)?.name
  }

  /** Returns the declared spelling of a role, likewise, or `undefined` when undeclared or open. */
  roleNamed(name: string): string | undefined {
    return this.#roles.get(foldName(name.trim()))?.name
  }

  /**
   * Returns all privileges that the granted names give: declared spellings by folded name. Each
   * granted privilege precedes what it includes, depth first; the privileges of each role follow
   * likewise. Skips names that are not, or no longer, declared.
   */
  expand(privileges: readonly string[], roles: readonly string[]): ReadonlyMap<string, string> {
    if (privileges.length === 0 && roles.length === 0) return nothingHeld
    const granted = JSON.stringify([privileges, roles])
    // Most sessions share a few sets of names.
    const known = this.#expanded.get(granted)
    if (known) return known
    const held = new Map<string, string>()
    for (const name of privileges) hold(held, [this.#privilege(name)])
    for (const name of roles) hold(held, this.#roles.get(foldName(name.trim()))?.gives ?? [])
    if (this.#expanded.size >= maxExpanded) this.#expanded.clear()
    this.#expanded.set(granted, held)
    return held
  }

  #privilege(name: string): Declared | undefined {
    const trimmed = name.trim()
    const key = foldName(trimmed)
    if (!this.isOpen) return this.#privileges.get(key)
    return key === '' ? undefined : { key, name: trimmed, path: '$', gives: [] }
  }
}

// A held privilege has already brought all its includes, so each privilege is visited once. That is
// linear in the result; merging one closure per granted name is quadratic for a long chain.
function hold(held: Map<string, string>, privileges: Declared['gives']): void {
  const stack = privileges.toReversed()
  while (stack.length > 0) {
    const next = stack.pop()
    if (next === undefined || held.has(next.key)) continue
    held.set(next.key, next.name)
    for (let index = next.gives.length - 1; index >= 0; index--) stack.push(next.gives[index])
  }
}

/** Returns the form in which names are compared: equal folded forms mean the same name. */
export function foldName(name: string): string {
  return name.toLowerCase()
}

/**
 * Parses the text of a roles file: JSON, with or without a byte order mark.
 *
 * @throws {SessionRolesError} When anything is wrong with the file: see `parseRoles()`.
 */
export function parseRolesText(text: string, options: ParseRolesOptions): Roles {
  let source: unknown
  try {
    source = JSON.parse(text.replace(/^\uFEFF/, ''))
  } catch (error) {
    // V8's message may quote the file, so only a position at its very end is passed on.
    const position = / at position \d+(?: \(line \d+ column \d+\))?$/.exec(String(error))
    const problem = `is malformed JSON${position?.[0] ?? ''}`
    throw new SessionRolesError(options.name, [{ path: '$', problem }])
  }
  return parseRoles(source, options)
}

/**
 * Parses the content of a roles file, without keeping the object.
 *
 * @throws {SessionRolesError} When anything is wrong with the file. Lists the first 100 problems by
 *   path, and the number of further ones.
 */
export function parseRoles(source: unknown, options: ParseRolesOptions): Roles {
  const check = new Check()
  const file = check.object(source, '$') ?? { privileges: [] }
  const privileges = readSection(file, privilegeKeys, check)
  const roles = readSection(file, roleKeys, check)
  linkSection(privileges, privileges.named, check)
  linkSection(roles, privileges.named, check)
  checkCycles(privileges.named.values(), check)
  checkUnenforced(file, options.ignorePermissions, check)
  check.throwProblems(options.name)
  return new Roles(privileges.named, roles.named)
}

/** One of the file's two lists, valid or not. */
interface Section {
  readonly keys: typeof privilegeKeys | typeof roleKeys
  readonly entries: readonly { readonly declared: Declared; readonly given: unknown }[]
  /** The first declaration of each name. */
  readonly named: Declarations
}

function readSection(file: Properties, keys: Section['keys'], check: Check): Section {
  const entries = []
  const named = new Map<string, Declared>()
  const listPath = `$.${keys.list}`
  for (const [index, value] of check.list(file[keys.list], listPath, keys === roleKeys).entries()) {
    const path = `${listPath}[${index}]`
    const entry = check.object(value, path)
    if (entry === undefined) continue

    const namePath = `${path}.${keys.name}`
    const name = check.name(entry[keys.name], namePath)
    const declared: Declared = { key: foldName(name), name, path, gives: [] }
    entries.push({ declared, given: entry[keys.gives] })
    if (name === '') continue
    const first = named.get(declared.key) ?? declared
    named.set(declared.key, first)
    if (first !== declared) check.add(namePath, `${quote(name)} is the name of ${first.path} too`)
  }
  return { keys, entries, named }
}

function linkSection({ keys, entries }: Section, privileges: Declarations, check: Check): void {
  for (const { declared, given } of entries) {
    const listPath = `${declared.path}.${keys.gives}`
    const linked = new Set<Declared | undefined>()
    for (const [index, value] of check.list(given, listPath, keys === privilegeKeys).entries()) {
      const path = `${listPath}[${index}]`
      const name = check.name(value, path)
      const target = privileges.get(foldName(name))
      if (target === undefined && name !== '') check.add(path, `${quote(name)} is not declared`)
      declared.gives.push(linked.has(target) ? undefined : target)
      linked.add(target)
    }
  }
}

// Walks depth first: an include that is still on the trail closes a cycle.
function checkCycles(privileges: Iterable<Declared>, check: Check): void {
  const trail: { readonly from: Declared; next: number }[] = []
  const depths = new Map<Declared, number>()
  function enter(privilege: Declared): void {
    depths.set(privilege, trail.length)
    trail.push({ from: privilege, next: 0 })
  }

  for (const privilege of privileges) {
    if (!depths.has(privilege)) enter(privilege)
    for (let step = trail.at(-1); step !== undefined; step = trail.at(-1)) {
      const { from } = step
      const index = step.next++
      if (index === from.gives.length) {
        depths.set(from, offTrail)
        trail.pop()
        continue
      }
      const target = from.gives[index]
      if (target === undefined) continue
      const depth = depths.get(target)
      if (depth === undefined) {
        enter(target)
      } else if (depth !== offTrail) {
        const members = trail.slice(depth, depth + maxMembers).map((member) => member.from.name)
        const problem = `closes a cycle of ${trail.length - depth}: ${members.map(quote).join(', ')}`
        check.add(`${from.path}.includes[${index}]`, problem)
      }
    }
  }
}

function checkUnenforced(file: Properties, ignore: boolean, check: Check): void {
  const nothing = { allowed: [] }
  const { permissions = nothing, restrictedByDefault = false, forceLogin = false } = file
  const refusal = 'is not enforced yet: accept that with "ignorePermissions": true'
  const path = '$.permissions.allowed'
  const { allowed } = check.object(permissions, '$.permissions') ?? nothing
  const entries = check.list(allowed, path, false)
  for (const [index, value] of entries.entries()) check.object(value, `${path}[${index}]`)
  if (entries.length > 0 && !ignore) check.add(path, refusal)
  for (const [flag, value] of Object.entries({ restrictedByDefault, forceLogin })) {
    if (typeof value !== 'boolean') check.add(`$.${flag}`, 'must be true or false')
    if (value === true && !ignore) check.add(`$.${flag}`, refusal)
  }
}

/** Narrows values and collects their problems. */
class Check {
  readonly #problems: RolesProblem[] = []
  #unlisted = 0

  add(path: string, problem: string): void {
    if (this.#problems.length < maxProblems) this.#problems.push({ path, problem })
    else this.#unlisted++
  }

  throwProblems(source: string): void {
    if (this.#problems.length === 0) return
    // Made only when needed: a process takes ten milliseconds to make its first one.
    const pathOrder = new Intl.Collator('en', { numeric: true })
    const problems = this.#problems.toSorted((a, b) => pathOrder.compare(a.path, b.path))
    if (this.#unlisted > 0) problems.push({ path: '$', problem: `${this.#unlisted} more problems` })
    throw new SessionRolesError(source, problems)
  }

  object(value: unknown, path: string): Properties | undefined {
    // The compiler accepts the copy as a record; its cost does not matter at start-up.
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value }
    this.add(path, 'must be an object')
    return undefined
  }

  list(value: unknown, path: string, optional: boolean): readonly unknown[] {
    if (Array.isArray(value)) return value
    if (value !== undefined || !optional) this.add(path, 'must be an array')
    return []
  }

  /** Returns the trimmed name, or `''` when it is invalid. */
  name(value: unknown, path: string): string {
    const name = typeof value === 'string' ? value.trim() : ''
    if (name === '') this.add(path, 'must be a name: non-empty text')
    else if (name !== value) this.add(path, `${quote(name)} has blanks around it`)
    if (!name.includes(',')) return name
    this.add(path, `${quote(name)} contains a comma`)
    return ''
  }
}

function quote(name: string): string {
  return JSON.stringify(name.slice(0, maxQuoted))
}
