import type { RolesFile } from './roles.ts'

/**
 * The privileges of a roles file, in the form of `Privileges`: one property for each name. A file
 * with names that the compiler does not know, such as an imported `roles.json`, allows any text.
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
 * Returns a roles file unchanged, and makes its privilege names known to the compiler, so that you
 * need not repeat them there. A name in `includes`, or in a role's `privileges`, must be declared
 * in the same spelling to compile. `session()` or `Sessions` checks the rest at start-up.
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
 */
export function defineRoles<Name extends string>(roles: RolesFile<Name>): RolesFile<Name> {
  return roles
}
