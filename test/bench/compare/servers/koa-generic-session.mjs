// koa-generic-session with koa-redis, as their READMEs say. `rolling` keeps a session that is only read
// alive.

import Koa from 'koa'
import session from 'koa-generic-session'
import redisStore from 'koa-redis'

import { work } from './koa-work.mjs'
import { idleSeconds, serve, signingSecret } from './parts.mjs'

const app = new Koa()
app.keys = [signingSecret]
app.use(
  session({
    store: redisStore({ url: process.env.REDIS_URL }),
    rolling: true,
    ttl: idleSeconds * 1000,
    cookie: { maxAge: idleSeconds * 1000 },
  }),
)
app.use(work)
serve(app.callback())
