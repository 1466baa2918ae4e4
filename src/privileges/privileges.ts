/**
 * Declares your app's privileges to the compiler: augment it with one property of any type for each
 * privilege. While it is empty, any text is a privilege name. A roles file given to `defineRoles()`
 * need not be repeated: see `PrivilegesOf`.
 *
 * @example
 *   declare module 'koa-user-sessions' {
 *     interface Privileges {
 *       WebAdmin: true
 *       browse: true
 *     }
 *   }
 *
 *   ctx.session.hasPrivilege('WebAdmin')
 *   ctx.session.hasPrivilege('WebAdmim') // does not compile
 */
export interface Privileges {}

/** A privilege name: any text, or once {@link Privileges} declares names, one of them. */
export type PrivilegeName = keyof Privileges extends never
  ? string
  : Extract<keyof Privileges, string>

/** What to grant, by kind. Unknown properties are refused. */
export interface PrivilegeSettings<Name extends string = PrivilegeName> {
  /** Privilege names: text such as `browse, audit`, or an array. */
  readonly privileges?: Name | readonly Name[]
  /** Role names: text such as `Clerk, Manager`, or an array. */
  readonly roles?: string | readonly string[]
  /** The name of the user who is signed in, used as given. */
  readonly userName?: string
}

/**
 * What to grant: privilege names as comma-separated text or an array, or settings. Once
 * {@link Privileges} declares names, text is one name.
 */
export type GrantInput<Name extends string = PrivilegeName> =
  | Name
  | readonly Name[]
  | PrivilegeSettings<Name>

/** A parsed grant. Its names are trimmed and not empty, but may be undeclared. */
export interface Grant {
  /** Privilege names in the given order. */
  privileges: string[]
  /** Role names in the given order. */
  roles: string[]
  /** The user's name, or `undefined` when the grant does not set it. */
  userName: string | undefined
}

/**
 * Parses an unchecked {@link GrantInput}.
 *
 * @throws {TypeError} When the input has another form. The message says what is allowed, but never
 *   quotes the input, which may come from a client.
 */
export function parseGrant(input: unknown): Grant {
  if (typeof input === 'string' || Array.isArray(input)) {
    return { privileges: parseNames(input, 'privileges'), roles: [], userName: undefined }
  }
  if (!isPlainObject(input)) {
    throw new TypeError('privileges must be text, an array of names, or a settings object')
  }
  if (Reflect.ownKeys(input).some((name) => !settingNames.has(name))) {
    throw new TypeError('settings may have "privileges", "roles" and "userName" only')
  }
  const privileges = ownValue(input, 'privileges')
  const roles = ownValue(input, 'roles')
  const userName = ownValue(input, 'userName')
  if (userName !== undefined && typeof userName !== 'string') {
    throw new TypeError('"userName" must be text')
  }
  return {
    privileges: parseNames(privileges, 'privileges'),
    roles: parseNames(roles, 'roles'),
    userName,
  }
}

const settingNames: ReadonlySet<string | symbol> = new Set(['privileges', 'roles', 'userName'])

// An inherited property must not grant anything.
function ownValue(input: object, name: string): unknown {
  return Object.hasOwn(input, name) ? Reflect.get(input, name) : undefined
}

function parseNames(names: unknown, property: 'privileges' | 'roles'): string[] {
  if (names === undefined) return []
  if (typeof names === 'string') return trimNames(names.split(','))
  if (!Array.isArray(names)) throw new TypeError(`"${property}" must be text or an array of names`)

  const given: string[] = []
  for (const name of names) {
    if (typeof name !== 'string' || name.includes(',')) {
      throw new TypeError(`an array of "${property}" must hold names: text without a comma`)
    }
    given.push(name)
  }
  return trimNames(given)
}

function trimNames(names: readonly string[]): string[] {
  return names.map((name) => name.trim()).filter((name) => name !== '')
}

function isPlainObject(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  // One step from the end of the chain, as in every object literal, also of another realm.
  return prototype === null || Object.getPrototypeOf(prototype) === null
}
