import type { RolesFile } from './roles.ts'

/**
 * The privileges of a roles file, in the form of `Privileges`: one property for each name. A file
 * whose names the compiler does not know, such as an imported `roles.json`, allows any text.
 *
 * @example
 *   declare module 'koa-user-sessions' {
 *     interface Privileges extends PrivilegesOf<typeof roles> {}
 *   }
 */
export type PrivilegesOf<File extends RolesFile> = {
  readonly [Name in File['privileges'][number]['privilege']]: true
}

/**
 * Tells the compiler the privilege names of a roles file, which need not be repeated for it then.
 *
 * A name in `includes`, or in a role's `privileges`, that the file does not declare in this
 * spelling does not compile. Everything else is checked when `session()` or `Sessions` reads the
 * file.
 *
 * @example
 *   const roles = defineRoles({
 *     privileges: [{ privilege: 'browse' }, { privilege: 'WebAdmin', includes: ['browse'] }],
 *     roles: [{ role: 'Admin', privileges: ['WebAdmin'] }],
 *   })
 *
 *   app.use(session({ roles }))
 *
 * @param roles A roles file as an object literal.
 * @returns The same object.
 */
export function defineRoles<Name extends string>(roles: RolesFile<Name>): RolesFile<Name> {
  return roles
}
