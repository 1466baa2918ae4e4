// Nanoseconds that a guard takes on a session that is loaded: awaited, with the handler behind it, which
// does nothing. Everything is held through one role, and the guard asks for what was declared last.

import { once } from 'node:events'
import { createServer } from 'node:http'

import Koa from 'koa'

import { MemoryStore, requirePrivilege, session } from '../../../../dist/index.js'

const calls = 20_000
const batches = 60

/** Calls the guard in the middle of a request of a session with so many privileges. */
async function openApp(count) {
  const names = Array.from({ length: count }, (_, index) => `privilege${index}`)
  const roles = {
    privileges: names.map((privilege) => ({ privilege })),
    roles: [{ role: 'Admin', privileges: names }],
  }
  const guard = requirePrivilege(names.at(-1))
  const samples = []
  const app = new Koa()
  app.use(session({ store: new MemoryStore(), roles }))
  app.use(async (ctx) => {
    ctx.body = 'done'
    if (ctx.path === '/login') {
      ctx.session.setPrivileges({ userName: 'ann', roles: 'Admin' })
      return
    }
    let passed = 0
    const handler = async () => {
      passed++
    }
    const start = process.hrtime.bigint()
    for (let call = 0; call < calls; call++) await guard(ctx, handler)
    samples.push(Number(process.hrtime.bigint() - start) / calls)
    if (passed !== calls) ctx.throw(500)
  })
  const server = createServer(app.callback()).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${server.address().port}`
  const refused = await fetch(url)
  if (refused.status !== 500 && refused.status !== 401) throw new Error('a guest came in')
  const signedIn = await fetch(`${url}/login`)
  const cookie = signedIn.headers.getSetCookie()[0].split(';', 1)[0]
  const ask = async () => {
    const { status } = await fetch(url, { headers: { cookie } })
    if (status !== 200) throw new Error(`status ${status}`)
  }
  return { ask, samples }
}

const apps = [await openApp(10), await openApp(1000)]
for (let batch = 0; batch < batches; batch++) {
  for (const { ask } of apps) await ask()
}
const [ten, thousand] = apps.map(({ samples }) => samples.slice(batches / 3))
process.send({ ten, thousand })
process.on('disconnect', () => process.exit(0))
