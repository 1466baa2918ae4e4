// CommonJS in JavaScript's own words, with types.

import koaUserSessions = require('koa-user-sessions')

const { MemoryStore, Sessions } = koaUserSessions
export const sessions: koaUserSessions.Sessions = new Sessions({ store: new MemoryStore() })
// @ts-expect-error it takes text
void sessions.list(1)
