// koa-session with a store on ioredis, as its README describes one. `rolling` keeps a session that is
// only read alive, which is the idle expiry of the others.

import { Redis } from 'ioredis'
import Koa from 'koa'
import session from 'koa-session'

import { work } from './koa-work.mjs'
import { idleSeconds, serve, signingSecret } from './parts.mjs'

const redis = new Redis(process.env.REDIS_URL)
const store = {
  async get(key) {
    const text = await redis.get(key)
    return text === null ? undefined : JSON.parse(text)
  },
  async set(key, value, maxAge) {
    await redis.set(key, JSON.stringify(value), 'PX', maxAge)
  },
  async destroy(key) {
    await redis.del(key)
  },
}

const app = new Koa()
app.keys = [signingSecret]
app.use(session({ store, rolling: true, maxAge: idleSeconds * 1000 }, app))
app.use(work)
serve(app.callback())
