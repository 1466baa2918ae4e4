import { generateKeyPairSync, randomBytes } from 'node:crypto'
import type { JsonWebKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { runInNewContext } from 'node:vm'

import { session, SessionOptionError } from 'koa-user-sessions'
import type { RedisClient, TokenKey, TokensOptions } from 'koa-user-sessions'
import { onTestFinished } from 'vitest'

import { recordWarnings } from './apps.ts'

const src = fileURLToPath(new URL('../../src', import.meta.url))
export const id = '5f0c1c0e-7d3b-4a53-9d5a-3f6d1f0a7b11'

/** A Redis that records its calls. */
export function fakeRedis(): RedisClient & { readonly asked: unknown[] } {
  const asked: unknown[] = []
  const note = async (...values: unknown[]): Promise<string> => {
    asked.push(...values)
    return 'ended'
  }
  return { asked, get: note, getrange: note, eval: note, evalsha: note }
}

/** The error that `session()` throws at once for options that the compiler has not seen. */
export function errorOf(options: unknown): SessionOptionError {
  try {
    Reflect.apply(session, undefined, [options])
  } catch (error) {
    if (error instanceof SessionOptionError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

export function limit(parts: object): object {
  return { perUser: 5, onExceed: 'refuse', ...parts }
}

export function application(parts: object = {}): object {
  return { name: 'Shop', client: 'web', ...parts }
}

export const secret = randomBytes(32).toString('base64url')
export const hs = { kid: 'hs', alg: 'HS256', secret } as const
export const ed = { ...jwkOf('ed25519'), kid: 'ed', alg: 'EdDSA' } as const
export const es = { ...jwkOf('ec', { namedCurve: 'P-256' }), kid: 'es', alg: 'ES256' } as const
export const rs = { ...jwkOf('rsa', { modulusLength: 2048 }), kid: 'rs', alg: 'RS256' } as const

/** A new private key. */
export function jwkOf(type: string, options: object = {}): JsonWebKey {
  const { privateKey } = Reflect.apply(generateKeyPairSync, undefined, [type, options])
  return privateKey.export({ format: 'jwk' })
}

/** The public part of a key. */
export function publicOf(key: object): TokenKey {
  const secrets = new Set(['d', 'p', 'q', 'dp', 'dq', 'qi'])
  return JSON.parse(JSON.stringify(key, (name, value) => (secrets.has(name) ? undefined : value)))
}

/** Tokens with these keys. */
export function tokensOf(...keys: readonly object[]): TokensOptions {
  const tokens = { keys, issuer: 'https://shop.example', audience: 'api' }
  // Options of an app that the compiler has not seen.
  return Reflect.apply(Object, undefined, [tokens])
}

/** The properties of an interface in `src` with the defaults in their comments; without one, none. */
export function documented(file: string, name: string): Map<string, unknown> {
  const text = readFileSync(join(src, file), 'utf8')
  const body = text.split(`export interface ${name} {\n`, 2)[1]?.split('\n}\n', 1)[0] ?? ''
  const properties = body.matchAll(/(?:@default (.+)\n +\*\/\n|\*\/\n) {2}readonly (\w+)\??:/g)
  return new Map(
    Array.from(properties, ([, value, property = '']) => [
      property,
      value === undefined || value === 'none'
        ? undefined
        : (runInNewContext(`(${value})`) as unknown),
    ]),
  )
}

/** The warnings of this package while `make` runs. */
export async function warningsOf(make: () => unknown): Promise<readonly string[]> {
  // Those of earlier tests may still arrive.
  await setImmediate()
  const { messages, stop } = recordWarnings()
  onTestFinished(stop)
  make()
  await setImmediate()
  return messages
}
