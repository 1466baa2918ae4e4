// express-session with connect-redis, as their READMEs say: a session that is only read is touched.

import { RedisStore } from 'connect-redis'
import express from 'express'
import session from 'express-session'
import { createClient } from 'redis'

import {
  idleSeconds,
  newUserName,
  nextOf,
  right,
  serve,
  shown,
  signingSecret,
  valuesFor,
} from './parts.mjs'

const client = createClient({ url: process.env.REDIS_URL })
await client.connect()

const app = express()
app.use(
  session({
    store: new RedisStore({ client, ttl: idleSeconds }),
    resave: false,
    saveUninitialized: false,
    secret: signingSecret,
  }),
)
const show = (req, res) => {
  res.type('text').send(shown(req.session.userName, req.session.key0))
}
app.get('/page', (req, res) => {
  res.type('text').send('page')
})
app.get('/read', show)
app.get('/change', (req, res) => {
  req.session.key0 = nextOf(req.session.key0)
  show(req, res)
})
app.get('/login', (req, res) => {
  const query = req.url.slice(req.url.indexOf('?') + 1)
  Object.assign(req.session, valuesFor(query), {
    userName: newUserName(),
    privileges: [right],
  })
  show(req, res)
})
serve(app)
