import type { Session } from '../session/session.ts'

declare module 'koa' {
  interface ExtendableContext {
    /**
     * The session of this request; see `Session`. Assigning `null` ends it: the store's entry goes
     * and the cookie is cleared when the request is committed, and `ctx.session` is a new guest
     * session from then on, never `null`. Assigning anything else throws `TypeError`.
     */
    get session(): Session
    set session(none: null)
  }
}
