/**
 * The privileges that an app knows, for the compiler: one property for each, of any type.
 *
 * Empty unless the app augments it, and then every text is taken for a privilege name. A roles file
 * given to `defineRoles()` need not be repeated: see `PrivilegesOf`.
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

/** A privilege name. Free text, or one of the names in {@link Privileges} once there are any. */
export type PrivilegeName = keyof Privileges extends never
  ? string
  : Extract<keyof Privileges, string>

/** What to grant, item by item. Unknown properties are refused. */
export interface PrivilegeSettings<Name extends string = PrivilegeName> {
  /** Privilege names: text such as `browse, audit`, or an array. */
  readonly privileges?: Name | readonly Name[]
  /** Role names: text such as `Clerk, Manager`, or an array. */
  readonly roles?: string | readonly string[]
  /** Who is signed in, taken as it is. */
  readonly userName?: string
}

/**
 * What to grant: privilege names as text, separated by commas, or as an array, or settings. With
 * {@link Privileges} augmented, text is one name.
 */
export type GrantInput<Name extends string = PrivilegeName> =
  | Name
  | readonly Name[]
  | PrivilegeSettings<Name>

/** What is to be granted. Names are trimmed and not empty; nothing says that they are declared. */
export interface Grant {
  /** Privilege names in the given order. */
  privileges: string[]
  /** Role names in the given order. */
  roles: string[]
  /** Who is signed in; `undefined` when nothing is said about it. */
  userName: string | undefined
}

/**
 * Reads a {@link GrantInput}, of which nothing is taken for granted.
 *
 * @param input Text, an array of names, or settings.
 * @throws {TypeError} When it is anything else. The message says what is allowed, and not what was
 *   given, which may have come from a client.
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

/** An inherited value must grant nothing. */
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
  // One step from the end, as every object literal is, also that of another realm.
  return prototype === null || Object.getPrototypeOf(prototype) === null
}
