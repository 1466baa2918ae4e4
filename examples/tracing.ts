// Traces with OpenTelemetry: a span for each request, and in it a span for each call of the store.
//
//   npx tsx --tsconfig test/tsconfig.json examples/tracing.ts
//
//   curl -c jar -b jar localhost:3000     1, and the spans on the terminal: session create, GET
//   curl -c jar -b jar localhost:3000     2, with session load, session commit, GET
//
// Each call of the store has the traceId of its GET, and the id of that span as its parent.

import { tracingChannel } from 'node:diagnostics_channel'
import { pathToFileURL } from 'node:url'

import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import type { Span } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import {
  BasicTracerProvider,
  ConsoleSpanExporter,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import Koa from 'koa'
import { session } from 'koa-user-sessions'
import type { StoreCall } from 'koa-user-sessions'

const isMain = import.meta.url === pathToFileURL(process.argv[1] ?? '').href
export const spans = new InMemorySpanExporter()
const exporter = isMain ? new ConsoleSpanExporter() : spans
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
const tracer = provider.getTracer('koa-user-sessions example')
// Which span is running, through every await.
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())

const calls = new WeakMap<StoreCall, Span>()
tracingChannel<unknown, StoreCall>('koa-user-sessions:store').subscribe({
  start(call) {
    const { operation, id } = call
    const attributes = { 'session.operation': operation, ...(id && { 'session.id': id }) }
    calls.set(call, tracer.startSpan(`session ${operation}`, { kind: SpanKind.CLIENT, attributes }))
  },
  error(call) {
    calls.get(call)?.setStatus({ code: SpanStatusCode.ERROR, message: call.error?.message ?? '' })
  },
  asyncEnd: (call) => calls.get(call)?.end(),
  end() {},
  asyncStart() {},
})

export const app = new Koa()

// Outermost, so that what session() does is within it.
app.use(async (ctx, next) => {
  const attributes = { 'url.path': ctx.path }
  const span = tracer.startSpan(ctx.method, { kind: SpanKind.SERVER, attributes })
  try {
    await context.with(trace.setSpan(context.active(), span), next)
    span.setAttribute('http.response.status_code', ctx.status)
  } catch (error) {
    span.setStatus({ code: SpanStatusCode.ERROR })
    throw error
  } finally {
    span.end()
  }
})
app.use(session())
app.use((ctx) => {
  const { storage } = ctx.session
  storage.visits = (storage.visits ?? 0) + 1
  ctx.body = String(storage.visits)
})

if (isMain) app.listen(3000, () => console.log('http://localhost:3000'))
