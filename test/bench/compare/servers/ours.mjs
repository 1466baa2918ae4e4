// This package as it is published, on Redis or in memory.
//
//   node ours.mjs [--memory] [--privileges 1000] [--tokens]

import { parseArgs } from 'node:util'

import { Redis } from 'ioredis'
import Koa from 'koa'

import { MemoryStore, requirePrivilege, session } from '../../../../dist/index.js'
import {
  idleSeconds,
  newUserName,
  nextOf,
  right,
  serve,
  shown,
  shownObject,
  signingSecret,
  valuesFor,
} from './parts.mjs'

const { values: given } = parseArgs({
  options: {
    memory: { type: 'boolean' },
    privileges: { type: 'string', default: '0' },
    tokens: { type: 'boolean' },
  },
})
const names = Array.from({ length: Number(given.privileges) }, (_, index) => `privilege${index}`)
const guarding = names.at(-1)
const guard = guarding ? requirePrivilege(guarding) : undefined

const app = new Koa()
app.use(
  session({
    // What a round of sign-ins leaves behind is not kept for the next one.
    ...(given.memory
      ? { store: new MemoryStore({ capacity: 2000 }) }
      : { redis: new Redis(process.env.REDIS_URL) }),
    idleTimeout: idleSeconds / 60,
    ...(guarding && {
      roles: {
        privileges: names.map((privilege) => ({ privilege })),
        roles: [{ role: 'Admin', privileges: names }],
      },
    }),
    ...(given.tokens && {
      privilegedTypes: ['web', 'rest', 'remote'],
      tokens: {
        keys: [{ kid: '1', alg: 'HS256', secret: signingSecret }],
        issuer: 'https://shop.example',
        audience: 'https://shop.example',
      },
    }),
  }),
)

function show(ctx) {
  const { userName, storage } = ctx.session
  ctx.body = shown(userName, storage.key0)
}

app.use(async (ctx) => {
  switch (ctx.path) {
    case '/page':
      ctx.body = 'page'
      return
    case '/login': {
      ctx.session.setPrivileges({
        userName: newUserName(),
        ...(guarding ? { roles: 'Admin' } : { privileges: right }),
      })
      Object.assign(ctx.session.storage, valuesFor(ctx.querystring))
      show(ctx)
      return
    }
    case '/enter':
      ctx.session.setPrivileges(right)
      Object.assign(ctx.session.storage, valuesFor(ctx.querystring))
      ctx.body = shown(ctx.session.hasPrivilege(right) ? right : '', ctx.session.storage.key0)
      return
    case '/nothing':
      ctx.body = 'nothing'
      return
    case '/object':
      ctx.body = shownObject(ctx.session.storage.object)
      return
    case '/change':
      ctx.session.storage.key0 = nextOf(ctx.session.storage.key0)
      show(ctx)
      return
    case '/guarded':
      await guard(ctx, () => show(ctx))
      return
    case '/token':
      ctx.body = await ctx.session.createNestedToken({ userName: 'ann', privileges: [] })
      return
    default:
      show(ctx)
  }
})
serve(app.callback())
