// One of several processes that share sessions in a SQLite file: it sends its port and serves until it
// is killed.

import { DatabaseSync } from 'node:sqlite'
import { inspect } from 'node:util'

import Koa from 'koa'
import { session } from 'koa-user-sessions'

import { SQLiteStore } from '../../examples/sqlite-store.ts'

const app = new Koa()
app.use(
  session<Record<string, number>>({
    store: new SQLiteStore(new DatabaseSync(process.env['SESSIONS_FILE'] ?? '')),
    // A refresh is always due, so that a load writes too.
    refreshSeconds: 0,
    // A busy machine is not a fault.
    storeTimeoutMs: 20_000,
    lockTimeoutMs: 60_000,
  }),
)
app.use(async (ctx) => {
  const name = ctx.path.slice(1)
  const { storage } = ctx.session
  if (ctx.method === 'PUT') storage[name] = 1
  if (ctx.method === 'POST') {
    await ctx.session.use((exclusive) => {
      exclusive[name] = Number(exclusive[name] ?? 0) + 1
    })
  }
  ctx.body = storage
})

// The error that caused a 503.
app.on('error', (error: Error) => process.stderr.write(`${inspect(error)}\n`))

const server = app.listen(0, '127.0.0.1', () => process.send?.(server.address()))
// The test process has exited.
process.on('disconnect', () => process.exit())
