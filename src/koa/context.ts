import type { Session } from '../session/session.ts'

declare module 'koa' {
  interface ExtendableContext {
    /**
     * The session of this request; see `Session`. Assigning `null` ends it: `ctx.session` is then a
     * new guest session, never `null`, and the commit of the request removes the old session from
     * the store and clears the cookie. Assigning anything else throws `TypeError`.
     */
    get session(): Session
    set session(none: null)
  }
}
