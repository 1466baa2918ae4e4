import Koa from 'koa'
import {
  defineRoles,
  requirePrivilege,
  session,
  SessionRolesError,
  Sessions,
} from 'koa-user-sessions'
import supertest from 'supertest'
import { expect, it } from 'vitest'

const roles = defineRoles({
  privileges: [{ privilege: 'browse' }, { privilege: 'WebAdmin', includes: ['browse'] }],
  roles: [{ role: 'Admin', privileges: ['WebAdmin'] }],
})

it('P10: returns the same object', () => {
  const file = { privileges: [{ privilege: 'browse' }] } as const

  expect(defineRoles(file)).toBe(file)
})

it('P10, R1: defines roles that session() reads', async () => {
  const app = new Koa()
  app.use(session({ roles }))
  app.use((ctx, next) => {
    if (ctx.path === '/login') ctx.session.setPrivileges({ roles: 'Admin' })
    return next()
  })
  app.use(requirePrivilege('browse'))
  app.use((ctx) => {
    ctx.body = ctx.session.getPrivileges()
  })
  const agent = supertest.agent(app.callback())

  expect((await agent.get('/')).status).toBe(401)
  expect((await agent.get('/login')).body).toEqual(['WebAdmin', 'browse'])
})

it('R1: leaves what the compiler cannot check to the reader of the file', () => {
  const cyclic = defineRoles({ privileges: [{ privilege: 'browse', includes: ['browse'] }] })

  expect(() => new Sessions({ roles: cyclic })).toThrow(SessionRolesError)
})
