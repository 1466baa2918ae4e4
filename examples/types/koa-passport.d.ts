// koa-passport has no types of its own; these are the ones that passport.ts needs. An app installs
// @types/koa-passport, which declares all.

declare module 'koa-passport' {
  import type { Middleware } from 'koa'
  import type { Strategy } from 'passport'

  type Done<T> = (error: unknown, value?: T | false) => void

  export class KoaPassport<User> {
    use(strategy: Strategy): this
    serializeUser(fn: (user: User, done: Done<unknown>) => void): void
    deserializeUser(fn: (stored: unknown, done: Done<User>) => void): void
    initialize(): Middleware
    session(): Middleware
    authenticate(strategy: string, options?: { session?: boolean }): Middleware
  }
}
