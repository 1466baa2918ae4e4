import type { Context } from 'koa'
import { MemoryStore, RedisStore } from 'koa-user-sessions'
import type { SessionStore } from 'koa-user-sessions'
import { onTestFinished, vi } from 'vitest'

import { parseCookieValue } from '../../src/cookie/cookie.ts'
import type { SessionCredential } from '../../src/cookie/cookie.ts'
import { lockKeys, sessionKey } from '../../src/store/redis/keys.ts'
import { connectRedis, uniquePrefix } from './redis-client.ts'
import type { Server } from './visits.ts'

/** The store of a test's sessions. */
export interface Backend {
  /** A store with its own client, as in another process. */
  store(): SessionStore
  /** Ends the lease of a session's lock. */
  expireLock(id: string): Promise<void>
}

export const backends: readonly (readonly [string, () => Backend])[] = [
  ['MemoryStore', memoryBackend],
  ['RedisStore', redisBackend],
]

/** Makes a stored session with `{ made: true }` in its storage. */
export async function signUp(
  server: Server,
  userName?: string,
): Promise<{ readonly cookie: string; readonly credential: SessionCredential }> {
  const { cookie = '' } = await server.visit((ctx) => {
    ctx.session.storage['made'] = true
    if (userName !== undefined) ctx.session.setPrivileges({ userName })
  })
  const credential = parseCookieValue(cookie.slice('session='.length))
  if (!credential) throw new Error('the response gives no session')
  return { cookie, credential }
}

export function viewOf({ session }: Context): Record<string, unknown> {
  return {
    userName: session.userName,
    privileges: session.getPrivileges(),
    idleTimeout: session.idleTimeout,
    storage: { ...session.storage },
  }
}

/** What the next request reads. */
export async function storageOf(server: Server, cookie: string | undefined): Promise<unknown> {
  return (await server.visit((ctx) => ({ ...ctx.session.storage }), cookie)).result
}

/** A store whose calls can be counted and made to fail. */
export function observed(store: SessionStore): {
  readonly store: SessionStore
  readonly calls: string[]
  /** The credential of each `lock` call: each request has its own. */
  readonly lockers: unknown[]
  /** Methods that reject, without effect. */
  readonly faults: Set<string>
} {
  const calls: string[] = []
  const lockers: unknown[] = []
  const faults = new Set<string>()
  const proxy = new Proxy(store, {
    get(target, name) {
      const method: unknown = Reflect.get(target, name)
      if (typeof method !== 'function') return method
      return (...args: unknown[]): unknown => {
        calls.push(String(name))
        if (name === 'lock') lockers.push(args[0])
        if (faults.has(String(name))) return Promise.reject(new Error('the store is broken'))
        return Reflect.apply(method, target, args)
      }
    },
  })
  return { store: proxy, calls, lockers, faults }
}

function memoryBackend(): Backend {
  const store = new MemoryStore()
  return {
    store: () => store,
    async expireLock() {
      vi.useFakeTimers({ toFake: ['Date'] })
      onTestFinished(() => {
        vi.useRealTimers()
      })
      vi.setSystemTime(Date.now() + 60_000)
    },
  }
}

function redisBackend(): Backend {
  const prefix = uniquePrefix()
  return {
    store: () => new RedisStore(connectRedis(), { prefix }),
    async expireLock(id) {
      const redis = connectRedis()
      await redis.pexpire(lockKeys(sessionKey(prefix, id)).lock, 0)
    },
  }
}

export function gate(): { readonly opened: Promise<void>; open(): void } {
  let open: (() => void) | undefined
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { opened, open: () => open?.() }
}

export async function failureOf(work: Promise<unknown> | undefined): Promise<unknown> {
  try {
    await work
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

export function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : String(error)
}
