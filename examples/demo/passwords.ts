import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'

/** What is kept of a password. */
export interface PasswordHash {
  readonly salt: Buffer
  readonly key: Buffer
}

const derive = promisify<string, Buffer, number, object, Buffer>(scrypt)

// OWASP Password Storage Cheat Sheet, scrypt: one of its minimum settings, and the one that fits
// into the memory that Node allows by default.
const cost = { N: 2 ** 14, r: 8, p: 5 }

const keyBytes = 32

/** Hashes a password with a salt of its own. */
export async function hashPassword(password: string): Promise<PasswordHash> {
  const salt = randomBytes(16)
  return { salt, key: await derive(password, salt, keyBytes, cost) }
}

/** Whether a password is the one that was hashed. */
export async function isPassword(password: string, { salt, key }: PasswordHash): Promise<boolean> {
  return timingSafeEqual(await derive(password, salt, keyBytes, cost), key)
}
