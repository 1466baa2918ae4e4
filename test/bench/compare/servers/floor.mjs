// The floor: bare Koa, one GETEX of the same data as one JSON text, and JSON.parse. It checks nothing,
// and knows of no guests, secrets, limits or faults. The text is made as long as ours is: texts in the
// data are longer or shorter for it.

import { randomUUID } from 'node:crypto'

import { Redis } from 'ioredis'
import Koa from 'koa'

import { idleSeconds, newUserName, nextOf, right, serve, shown, valuesFor } from './parts.mjs'

const redis = new Redis(process.env.REDIS_URL)
const app = new Koa()

async function load(id) {
  return JSON.parse(await redis.getex(id, 'EX', idleSeconds))
}

const fits = new Map()

/** The data so that its JSON has the length that the query asks for. */
function fitted(data, query) {
  const total = Number(new URLSearchParams(query).get('total'))
  if (total === 0) return data
  const kind = `${query} ${data.userName.length}`
  const known = fits.get(kind)
  if (known) return { ...data, ...known }
  const fit = {}
  const names = Object.keys(data).filter((name) => /^key\d+$/.test(name) && name !== 'key0')
  let more = total - JSON.stringify(data).length
  for (const name of names.toReversed()) {
    const value = data[name]
    if (more === 0 || typeof value !== 'string') continue
    fit[name] = 'x'.repeat(Math.max(1, value.length + more))
    more -= fit[name].length - value.length
  }
  if (more !== 0) throw new Error(`no text to fit into ${total} bytes`)
  fits.set(kind, fit)
  return { ...data, ...fit }
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
    const values = valuesFor(ctx.querystring)
    const data = fitted(
      { userName: newUserName(), privileges: [right], ...values },
      ctx.querystring,
    )
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
