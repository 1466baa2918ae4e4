import Router from '@koa/router'
import { Cluster, Redis } from 'ioredis'
import Koa from 'koa'
import type { Context, DefaultState, Middleware, ParameterizedContext } from 'koa'
import {
  defineRoles,
  MemoryStore,
  requirePrivilege,
  requireUser,
  session,
  Sessions,
} from 'koa-user-sessions'
import type {
  GrantInput,
  PrivilegeName,
  PrivilegesOf,
  RolesFile,
  Session,
  SessionContext,
  SessionErrorCode,
  SessionEvents,
  SessionInfo,
  SessionsOptions,
  SessionStorage,
  SessionType,
  StorageOf,
} from 'koa-user-sessions'
import { signedIn } from 'koa-user-sessions/testing'
import { expectTypeOf } from 'vitest'

// Compiled by `tsc -p test`, never run. No interface is augmented here; `types/augmented` does that.

interface Shop {
  cart: string[]
  visits: number
}

// T8: ctx.session is typed in every context of Koa.

new Koa().use((ctx, next) => {
  expectTypeOf(ctx).not.toBeAny()
  expectTypeOf(ctx.session).not.toBeAny()
  expectTypeOf(ctx.session).toEqualTypeOf<Session>()
  return next()
})

interface State {
  user: string
}
interface Extra {
  db: { find: () => string }
}

const app = new Koa<State, Extra>()
app.use(session())
app.use((ctx) => {
  expectTypeOf(ctx.session).not.toBeAny()
  expectTypeOf(ctx.session).toEqualTypeOf<Session>()
  expectTypeOf(ctx.state.user).toEqualTypeOf<string>()
  expectTypeOf(ctx.db.find()).toEqualTypeOf<string>()
})

const chained = new Koa().use(session())
chained.use((ctx) => {
  expectTypeOf(ctx.session).not.toBeAny()
  expectTypeOf(ctx.session).toExtend<Session>()
  ctx.session = null
})

const router = new Router()
router.get('/:item', (ctx) => {
  expectTypeOf(ctx.session).not.toBeAny()
  expectTypeOf(ctx.session).toEqualTypeOf<Session>()
  expectTypeOf(ctx.params).not.toBeAny()
})
app.use(router.routes())

const typedRouter = new Router<State, Extra>()
typedRouter.get('/', (ctx) => {
  expectTypeOf(ctx.session).toEqualTypeOf<Session>()
  expectTypeOf(ctx.state.user).toEqualTypeOf<string>()
})

expectTypeOf<Context['session']>().toEqualTypeOf<Session>()
expectTypeOf<ParameterizedContext<State, Extra>['session']>().toEqualTypeOf<Session>()

// S10: null may be assigned, and is never read.

new Koa().use((ctx) => {
  ctx.session = null
  expectTypeOf(ctx.session.id).toEqualTypeOf<string>()
  // @ts-expect-error nothing but null
  ctx.session = {}
  // @ts-expect-error nothing but null
  ctx.session = undefined
})

// T8: without declarations by the app, storage takes any name and any value.

new Koa().use((ctx) => {
  const { storage } = ctx.session
  expectTypeOf(storage).not.toBeAny()
  expectTypeOf(storage).toEqualTypeOf<StorageOf<SessionStorage>>()
  expectTypeOf(storage['cart']).toBeAny()
  storage.cart = ['tea']
  storage.cart.push('milk')
  delete storage.cart
})
expectTypeOf<keyof SessionStorage>().toEqualTypeOf<never>()

// T8: with a storage type, every declared name may be absent, and there are no others.

expectTypeOf<StorageOf<Shop>>().not.toBeAny()
expectTypeOf<StorageOf<Shop>>().toEqualTypeOf<Partial<Shop>>()
expectTypeOf<StorageOf<Shop>['cart']>().toEqualTypeOf<string[] | undefined>()
expectTypeOf<Session<Shop>['storage']>().toEqualTypeOf<Partial<Shop>>()

export function useShop({ storage }: Session<Shop>): void {
  storage.visits = (storage.visits ?? 0) + 1
  delete storage.cart
  // @ts-expect-error a misspelt name
  storage.visit = 1
  // @ts-expect-error a value of another type
  storage.visits = 'one'
  // @ts-expect-error it may be absent
  storage.cart.push('tea')
}

// T8: a Sessions knows what the sessions of its app store.

const sessions = new Sessions<Shop>({ store: new MemoryStore() })
expectTypeOf(session(sessions)).not.toBeAny()
expectTypeOf(session(sessions)).toEqualTypeOf<Middleware<DefaultState, SessionContext<Shop>>>()

new Koa().use(session(sessions)).use((ctx) => {
  expectTypeOf(ctx.session).not.toBeAny()
  expectTypeOf(ctx.session.storage.cart).toEqualTypeOf<string[] | undefined>()
  // @ts-expect-error a value of another type
  ctx.session.storage.visits = 'one'
  ctx.session = null
})

const shopRouter = new Router<DefaultState, SessionContext<Shop>>()
shopRouter.get('/', (ctx) => {
  expectTypeOf(ctx.session.storage.visits).toEqualTypeOf<number | undefined>()
})

expectTypeOf(new Sessions()).toEqualTypeOf<Sessions>()
expectTypeOf<Sessions<Shop>>().not.toExtend<Sessions<{ other: string }>>()

void signedIn(sessions, { storage: { cart: ['tea'] } })
// @ts-expect-error the cart is a list
void signedIn(sessions, { storage: { cart: 'tea' } })
void signedIn(new Sessions(), { storage: { anything: 1 } })

// P10: without declarations by the app, any text is a privilege name.

expectTypeOf<PrivilegeName>().not.toBeAny()
expectTypeOf<PrivilegeName>().toEqualTypeOf<string>()
expectTypeOf<GrantInput>().not.toBeAny()

export function usePrivileges(current: Session): void {
  expectTypeOf(current.setPrivileges('a, b')).toEqualTypeOf<boolean>()
  expectTypeOf(current.getPrivileges()).toEqualTypeOf<string[]>()
  expectTypeOf(current.hasPrivilege('a')).toEqualTypeOf<boolean>()
  expectTypeOf(current.clearPrivileges()).toEqualTypeOf<boolean>()
  expectTypeOf(current.isGuest()).toEqualTypeOf<boolean>()
  expectTypeOf(current.promote('a')).toEqualTypeOf<number>()

  current.setPrivileges(['a', 'b'])
  current.setPrivileges(['a', 'b'] as const)
  current.setPrivileges({ privileges: ['a'], roles: 'Clerk, Manager', userName: 'ann' })
  current.setPrivileges({})

  // @ts-expect-error no argument
  current.setPrivileges()
  // @ts-expect-error a number
  current.setPrivileges(1)
  // @ts-expect-error a number among names
  current.setPrivileges(['a', 1])
  // @ts-expect-error a misspelt setting
  current.setPrivileges({ role: 'Manager' })
  // @ts-expect-error a setting of another type
  current.setPrivileges({ userName: 1 })
  // @ts-expect-error no text
  current.hasPrivilege(['a'])
  // @ts-expect-error no text
  current.promote(1)
  // @ts-expect-error an id is a number
  current.demote('1')
}

requirePrivilege('a')
requirePrivilege(['a', 'b'] as const, { onDenied: (ctx) => ctx.redirect('/login') })
requireUser({
  onDenied(ctx, error) {
    expectTypeOf(ctx.session).toEqualTypeOf<Session>()
    expectTypeOf<typeof error.code>().toEqualTypeOf<'ERR_SESSION_GUEST' | 'ERR_SESSION_PRIVILEGE'>()
    expectTypeOf<typeof error.status>().toEqualTypeOf<401 | 403>()
  },
})
expectTypeOf(requirePrivilege('a')).toEqualTypeOf<Middleware>()
expectTypeOf(requireUser()).toEqualTypeOf<Middleware>()
router.get('/admin', requirePrivilege('a'), requireUser(), (ctx) => {
  expectTypeOf(ctx.session).toEqualTypeOf<Session>()
})
// @ts-expect-error no name
requirePrivilege()
// @ts-expect-error no text
requirePrivilege(1)
// @ts-expect-error a misspelt option
requireUser({ ondenied: () => {} })

// P10: a roles file in the program declares its privilege names.

const roles = defineRoles({
  privileges: [{ privilege: 'browse' }, { privilege: 'WebAdmin', includes: ['browse'], id: 7 }],
  roles: [{ role: 'Admin', privileges: ['WebAdmin'] }],
  permissions: { allowed: [] },
})
interface DefinedPrivileges {
  readonly browse: true
  readonly WebAdmin: true
}
const frozen = { privileges: [{ privilege: 'browse' }], roles: [] } as const

expectTypeOf(roles).not.toBeAny()
expectTypeOf(roles).toEqualTypeOf<RolesFile<'browse' | 'WebAdmin'>>()
expectTypeOf<PrivilegesOf<typeof roles>>().not.toBeAny()
expectTypeOf<PrivilegesOf<typeof roles>>().toEqualTypeOf<DefinedPrivileges>()
expectTypeOf(defineRoles(frozen)).toEqualTypeOf<RolesFile<'browse'>>()
expectTypeOf<PrivilegesOf<typeof frozen>>().toEqualTypeOf<{ readonly browse: true }>()
expectTypeOf<keyof PrivilegesOf<RolesFile>>().toEqualTypeOf<string>()

session({ roles })
session({ roles: frozen })
session({ roles: defineRoles(frozen) })
defineRoles({
  privileges: [
    { privilege: 'browse' },
    // @ts-expect-error a name that is not declared
    { privilege: 'WebAdmin', includes: ['brows'] },
  ],
  // @ts-expect-error a name that is not declared
  roles: [{ role: 'Admin', privileges: ['WebAdmim'] }],
})
// @ts-expect-error no privileges
defineRoles({ roles: [] })
// @ts-expect-error no name
defineRoles({ privileges: [{ includes: [] }] })

// S11: what is read-only or unknown does not compile.

export function useMembers(current: Session, other: SessionInfo): void {
  expectTypeOf(current.id).toEqualTypeOf<string>()
  expectTypeOf(current.type).toEqualTypeOf<SessionType>()
  expectTypeOf(current.type).toEqualTypeOf<'web' | 'rest' | 'remote' | 'storedProcedure'>()
  expectTypeOf(current.userName).toEqualTypeOf<string>()
  expectTypeOf(current.isNew).toEqualTypeOf<boolean>()
  expectTypeOf(current.expirationDate).toEqualTypeOf<string>()
  expectTypeOf(current.idleTimeout).toEqualTypeOf<number>()
  expectTypeOf(current.info).toEqualTypeOf<SessionInfo>()
  expectTypeOf(current.save()).toEqualTypeOf<Promise<void>>()
  expectTypeOf(current.regenerate((error) => error)).toEqualTypeOf<Promise<void>>()

  current.idleTimeout = 90

  // @ts-expect-error read-only
  current.id = ''
  // @ts-expect-error read-only
  current.type = 'web'
  // @ts-expect-error read-only
  current.userName = 'ann'
  // @ts-expect-error read-only
  current.isNew = false
  // @ts-expect-error read-only
  current.expirationDate = ''
  // @ts-expect-error read-only
  current.storage = {}
  // @ts-expect-error read-only
  current.info = other
  // @ts-expect-error read-only
  current.info.userName = 'ann'
  // @ts-expect-error no number
  current.idleTimeout = '90'
  // @ts-expect-error unknown: data goes into storage
  current.user = 'ann'
  // @ts-expect-error unknown: data goes into storage
  expectTypeOf(current.user).toBeAny()
}

// M10: listeners get the facts of their event.

sessions
  .on('session:ended', (event) => {
    expectTypeOf(event).not.toBeAny()
    expectTypeOf(event).toEqualTypeOf<SessionEvents['session:ended']>()
    expectTypeOf(event.reason).toEqualTypeOf<
      'destroyed' | 'replaced' | 'terminated' | 'exceeded' | 'gone'
    >()
  })
  .on('session:created', ({ id, userName }) => {
    expectTypeOf(id).toEqualTypeOf<string>()
    expectTypeOf(userName).toEqualTypeOf<string>()
  })
// @ts-expect-error a misspelt event
sessions.on('session:end', () => {})
// @ts-expect-error a fact that does not exist
sessions.on('session:rotated', ({ secret }) => secret)

// Section 7: options.

session({ redis: new Redis() })
session({ redis: new Cluster([]) })
session({ roles: { privileges: [{ privilege: 'a', id: 7 }] }, limits: { storageKeys: 10 } })
session({ countsAsActivity: (ctx) => ctx.path !== '/poll' && ctx.get('X-Poll') === '' })
expectTypeOf<SessionsOptions['idleTimeout']>().toEqualTypeOf<number | undefined>()
// @ts-expect-error a misspelt option
session({ idletimeout: 90 })
// @ts-expect-error a misspelt cookie option
session({ cookie: { httponly: true } })
// @ts-expect-error an option of another type
session({ idleTimeout: '90' })
// @ts-expect-error no Redis client
session({ redis: 'redis://localhost' })
// @ts-expect-error a type that this package does not have
session({ type: 'remote' })

// Section 8: codes.

expectTypeOf<SessionErrorCode>().not.toBeAny()
expectTypeOf<'ERR_SESSION_ENDED'>().toExtend<SessionErrorCode>()
expectTypeOf<'ERR_SESSION_OTHER'>().not.toExtend<SessionErrorCode>()
