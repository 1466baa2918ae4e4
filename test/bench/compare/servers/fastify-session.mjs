// @fastify/session with connect-redis, as their READMEs say. `rolling`, its default, keeps a session
// that is only read alive.

import fastifyCookie from '@fastify/cookie'
import fastifySession from '@fastify/session'
import { RedisStore } from 'connect-redis'
import Fastify from 'fastify'
import { createClient } from 'redis'

import {
  answerParent,
  idleSeconds,
  newUserName,
  nextOf,
  right,
  shown,
  signingSecret,
  valuesFor,
} from './parts.mjs'

const client = createClient({ url: process.env.REDIS_URL })
await client.connect()

const app = Fastify()
app.register(fastifyCookie)
app.register(fastifySession, {
  store: new RedisStore({ client, ttl: idleSeconds }),
  secret: signingSecret,
  saveUninitialized: false,
  rolling: true,
  cookie: { secure: false },
})
const show = ({ session }, reply) => {
  reply.send(shown(session.userName, session.key0))
}
app.get('/page', (request, reply) => {
  reply.send('page')
})
app.get('/read', show)
app.get('/change', (request, reply) => {
  request.session.key0 = nextOf(request.session.key0)
  show(request, reply)
})
app.get('/login', (request, reply) => {
  const query = request.url.slice(request.url.indexOf('?') + 1)
  Object.assign(request.session, valuesFor(query), {
    userName: newUserName(),
    privileges: [right],
  })
  show(request, reply)
})
await app.listen({ port: 0, host: '127.0.0.1' })
process.send({ port: app.server.address().port })
answerParent()
