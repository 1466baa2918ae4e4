// Metrics for Prometheus: sessions created and ended, refusals of guards, how long the store takes.
//
//   npx tsx --tsconfig test/tsconfig.json examples/metrics.ts
//
//   curl -c jar -b jar -X POST localhost:3000/login/ann     signed in
//   curl -c jar -b jar localhost:3000/admin                 403 not allowed: a privilege is missing
//   curl localhost:3000/admin                               401 sign in first
//   curl -c jar -b jar -X POST localhost:3000/logout        signed out
//   curl localhost:3000/metrics                             sessions_created_total 1 …
//       sessions_ended_total{reason="destroyed"} 1 …

import { tracingChannel } from 'node:diagnostics_channel'
import { pathToFileURL } from 'node:url'

import Router from '@koa/router'
import Koa from 'koa'
import { requirePrivilege, session, Sessions } from 'koa-user-sessions'
import type { StoreCall } from 'koa-user-sessions'
import { Counter, Histogram, register } from 'prom-client'

export const app = new Koa()
const sessions = new Sessions()
const router = new Router()

// Labels have few values: never a session's id or a user's name.
function counter<Label extends string>(name: string, help: string, ...labelNames: Label[]) {
  return new Counter({ name, help, labelNames })
}

const created = counter('sessions_created_total', 'Sessions stored for the first time')
const signedIn = counter('sessions_signed_in_total', 'Sign-ins')
const ended = counter('sessions_ended_total', 'Sessions that ended', 'reason')
const refused = counter('sessions_refused_total', 'Requests and sign-ins refused', 'code')
const failed = counter('sessions_store_errors_total', 'Failures of the store', 'operation')
const seconds = new Histogram({
  name: 'sessions_store_seconds',
  help: 'What requests wait for the store',
  labelNames: ['operation'],
  buckets: [0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1],
})

sessions.on('session:created', () => created.inc())
sessions.on('session:signedIn', () => signedIn.inc())
sessions.on('session:ended', ({ reason }) => ended.inc({ reason }))
sessions.on('session:refused', ({ code }) => refused.inc({ code }))
sessions.on('session:storeError', ({ operation }) => failed.inc({ operation }))

// One object comes with all that is told of a call.
const timers = new WeakMap<StoreCall, () => void>()
const store = tracingChannel<unknown, StoreCall>('koa-user-sessions:store')
store.subscribe({
  start: (call) => timers.set(call, seconds.startTimer({ operation: call.operation })),
  asyncEnd: (call) => timers.get(call)?.(),
  end() {},
  asyncStart() {},
  error() {},
})

router.get('/metrics', async (ctx) => {
  // For the monitoring only: a real app serves this on a port of its own.
  ctx.body = await register.metrics()
  ctx.type = register.contentType
})
router.post('/login/:name', (ctx) => {
  ctx.session.setPrivileges({ userName: ctx.params['name'] ?? '' })
  ctx.body = 'signed in'
})
router.get('/admin', requirePrivilege('WebAdmin'), (ctx) => {
  ctx.body = 'welcome'
})
router.post('/logout', (ctx) => {
  ctx.session = null
  ctx.body = 'signed out'
})

app.use(session(sessions)).use(router.routes())

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  app.listen(3000, () => console.log('http://localhost:3000'))
}
