// The floor: bare Koa, one GETEX of the same data as one JSON text, and JSON.parse. It checks nothing,
// and knows of no guests, secrets, limits or faults.

import { randomUUID } from 'node:crypto'

import { Redis } from 'ioredis'
import Koa from 'koa'

import { idleSeconds, newUserName, nextOf, serve, shown, valuesFor } from './parts.mjs'

const redis = new Redis(process.env.REDIS_URL)
const app = new Koa()

async function load(id) {
  return JSON.parse(await redis.getex(id, 'EX', idleSeconds))
}

function idOf(ctx) {
  return ctx.get('cookie').slice('id='.length)
}

app.use(async (ctx) => {
  if (ctx.path === '/page') {
    ctx.body = 'page'
    return
  }
  if (ctx.path === '/login') {
    const id = randomUUID()
    const data = { userName: newUserName(), ...valuesFor(ctx.querystring) }
    await redis.set(id, JSON.stringify(data), 'EX', idleSeconds)
    ctx.set('set-cookie', `id=${id}; path=/; httponly`)
    ctx.body = shown(data.userName, data.key0)
    return
  }
  const id = idOf(ctx)
  if (!id) {
    ctx.body = shown('', '')
    return
  }
  const data = await load(id)
  if (ctx.path === '/change') {
    data.key0 = nextOf(data.key0)
    await redis.set(id, JSON.stringify(data), 'EX', idleSeconds)
  }
  ctx.body = shown(data.userName, data.key0)
})
serve(app.callback())
