/**
 * Declares the types of your app's storage: augment it once, and `ctx.session.storage` is typed
 * everywhere. While it has no members, storage takes any name and any value.
 *
 * @example
 *   declare module 'koa-user-sessions' {
 *     interface SessionStorage {
 *       cart: string[]
 *     }
 *   }
 */
export interface SessionStorage {}

/** The type of `session.storage`: every declared name may be absent. */
export type StorageOf<S> = keyof S extends never ? Record<string, any> : Partial<S>
