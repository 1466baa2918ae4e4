import Router from '@koa/router'
import Koa from 'koa'
import { defineRoles, requirePrivilege, session, Sessions } from 'koa-user-sessions'
import type { GrantInput, PrivilegeName, PrivilegesOf } from 'koa-user-sessions'
import { expectTypeOf } from 'vitest'

// Compiled by `tsc -p test/types/defined`, never run: an app whose roles are in the program.

const roles = defineRoles({
  privileges: [{ privilege: 'browse' }, { privilege: 'WebAdmin', includes: ['browse'] }],
  roles: [{ role: 'Admin', privileges: ['WebAdmin'] }],
})

declare module 'koa-user-sessions' {
  interface Privileges extends PrivilegesOf<typeof roles> {}
}

// P10: only the declared privileges compile.

expectTypeOf<PrivilegeName>().not.toBeAny()
expectTypeOf<PrivilegeName>().toEqualTypeOf<'WebAdmin' | 'browse'>()
expectTypeOf<GrantInput>().not.toBeAny()

const app = new Koa()
const router = new Router()
const sessions = new Sessions({ roles })
app.use(session(sessions))

router.get('/admin', requirePrivilege('WebAdmin'))
router.get('/any', requirePrivilege(['WebAdmin', 'browse']))
// @ts-expect-error a misspelt name
router.get('/typo', requirePrivilege('WebAdmim'))
// @ts-expect-error a role is not a privilege
router.get('/role', requirePrivilege('Admin'))

router.post('/login', async ({ session: current }) => {
  expectTypeOf(current.getPrivileges()).toEqualTypeOf<('WebAdmin' | 'browse')[]>()
  expectTypeOf(current.hasPrivilege('WebAdmin')).toEqualTypeOf<boolean>()
  current.setPrivileges({ privileges: ['browse'], roles: 'Admin', userName: 'ann' })
  await sessions.setPrivileges(current.id, 'browse')

  // @ts-expect-error a misspelt name
  current.hasPrivilege('WebAdmim')
  // @ts-expect-error a misspelt name
  current.setPrivileges('brows')
  // @ts-expect-error a misspelt name in settings
  current.setPrivileges({ privileges: ['WebAdmin', 'brows'] })
  // @ts-expect-error a misspelt name
  await sessions.setPrivileges(current.id, 'brows')
  // @ts-expect-error a misspelt name in settings
  await sessions.setPrivileges(current.id, { privileges: 'brows' })
})
