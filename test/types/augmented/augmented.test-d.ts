import Router from '@koa/router'
import Koa from 'koa'
import { requirePrivilege, session, Sessions } from 'koa-user-sessions'
import type { GrantInput, PrivilegeName, SessionStorage, StorageOf } from 'koa-user-sessions'
import { expectTypeOf } from 'vitest'

// Compiled by `tsc -p test/types/augmented`, never run: an app that has declared its storage and its
// privileges. In one compilation these interfaces are either empty or augmented, never both.

declare module 'koa-user-sessions' {
  interface SessionStorage {
    cart: string[]
    visits: number
  }
  interface Privileges {
    WebAdmin: true
    browse: true
  }
}

interface Storage {
  cart?: string[]
  visits?: number
}

// T8: storage has the declared names everywhere, each of which may be absent.

const app = new Koa<{ user: string }, { db: { find: () => string } }>()
const router = new Router()

app.use(session())
app.use((ctx) => {
  expectTypeOf(ctx.session.storage).not.toBeAny()
  expectTypeOf(ctx.session.storage).toEqualTypeOf<Storage>()
  expectTypeOf(ctx.session.storage.cart).toEqualTypeOf<string[] | undefined>()
})
router.get('/', (ctx) => {
  const { storage } = ctx.session
  expectTypeOf(storage).toEqualTypeOf<Storage>()

  storage.cart = [...(storage.cart ?? []), 'tea']
  storage.visits = (storage.visits ?? 0) + 1
  delete storage.cart

  // @ts-expect-error a misspelt name
  expectTypeOf(storage.cartt).toBeAny()
  // @ts-expect-error a misspelt name
  storage.visit = 1
  // @ts-expect-error a value of another type
  storage.visits = 'one'
  // @ts-expect-error it may be absent
  storage.cart.push('tea')
})

expectTypeOf<StorageOf<SessionStorage>>().toEqualTypeOf<Storage>()

// T8: a Sessions of another storage adds its names.

new Koa().use(session(new Sessions<{ draft: string }>())).use((ctx) => {
  expectTypeOf(ctx.session.storage.draft).toEqualTypeOf<string | undefined>()
  // @ts-expect-error a misspelt name
  expectTypeOf(ctx.session.storage.drafft).toBeAny()
})

// P10: only the declared privileges compile.

expectTypeOf<PrivilegeName>().not.toBeAny()
expectTypeOf<PrivilegeName>().toEqualTypeOf<'WebAdmin' | 'browse'>()
expectTypeOf<GrantInput>().not.toBeAny()

router.get('/admin', requirePrivilege('WebAdmin'))
router.get('/any', requirePrivilege(['WebAdmin', 'browse']))
// @ts-expect-error a misspelt name
router.get('/typo', requirePrivilege('WebAdmim'))
// @ts-expect-error a misspelt name among others
router.get('/typos', requirePrivilege(['WebAdmin', 'brows']))
// @ts-expect-error any text
router.get('/text', requirePrivilege('WebAdmin'.trim()))

router.post('/login', (ctx) => {
  const { session: current } = ctx
  expectTypeOf(current.getPrivileges()).toEqualTypeOf<('WebAdmin' | 'browse')[]>()
  expectTypeOf(current.hasPrivilege('WebAdmin')).toEqualTypeOf<boolean>()

  current.setPrivileges('browse')
  current.setPrivileges(['browse', 'WebAdmin'])
  current.setPrivileges({ privileges: 'browse', roles: 'Any role, as text', userName: 'ann' })
  current.setPrivileges({ privileges: ['WebAdmin'] })
  current.demote(current.promote('WebAdmin'))

  // @ts-expect-error a misspelt name
  current.hasPrivilege('WebAdmim')
  // @ts-expect-error a misspelt name
  current.setPrivileges('brows')
  // @ts-expect-error text is one name
  current.setPrivileges('browse, WebAdmin')
  // @ts-expect-error a misspelt name among others
  current.setPrivileges(['browse', 'WebAdmim'])
  // @ts-expect-error a misspelt name in settings
  current.setPrivileges({ privileges: 'brows' })
  // @ts-expect-error a misspelt name in settings
  current.setPrivileges({ privileges: ['browse', 'WebAdmim'] })
  // @ts-expect-error a misspelt name
  current.promote('WebAdmim')
})
