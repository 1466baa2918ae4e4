// Bare Koa: no session at all.

import Koa from 'koa'

import { serve, shown } from './parts.mjs'

const app = new Koa()
app.use((ctx) => {
  ctx.body = ctx.path === '/page' ? 'page' : shown('', '')
})
serve(app.callback())
