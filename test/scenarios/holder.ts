/**
 * An app in a separate process, whose `use()` blocks last until they are told to end. For
 * `holders.test.ts`, which starts it by `fork` with the address of Redis and a key prefix.
 *
 * It sends `{ port }` when it listens, `'inside'` when a block has begun, and takes `'end'`.
 *
 * @module
 */

import { once } from 'node:events'

import { Redis } from 'ioredis'
import Koa from 'koa'
import { session } from 'koa-user-sessions'

const [url = '', prefix = ''] = process.argv.slice(2)
const app = new Koa()
app.silent = true
app.use(async (ctx, next) => {
  try {
    await next()
  } catch (error) {
    ctx.status = error instanceof Error && 'status' in error ? Number(error.status) : 500
    ctx.body = error instanceof Error && 'code' in error ? error.code : String(error)
  }
})
app.use(session({ redis: new Redis(url), prefix, lockTimeoutMs: 10_000 }))
app.use(async (ctx) => {
  await ctx.session.use(async (storage) => {
    storage['value'] = 'of the holder'
    const end = once(process, 'message')
    process.send?.('inside')
    await end
  })
  ctx.body = 'stored'
})
const server = app.listen(0, '127.0.0.1', () => {
  const address = server.address()
  process.send?.({ port: typeof address === 'object' ? address?.port : undefined })
})
process.on('disconnect', () => process.exit())
