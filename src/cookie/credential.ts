import { hash, randomFillSync, randomUUID } from 'node:crypto'

const idBytes = 16
const secretBytes = 32
// 48 bytes are 64 characters of base64url, without padding or spare bits: a value has one spelling.
const wellFormedValue = /^[A-Za-z0-9_-]{64}$/

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** Identifies a session and proves that the caller may use it: the content of a session cookie. */
export interface SessionCredential {
  /** The session's public id, a UUID. */
  readonly id: string
  /**
   * SHA-256 of the cookie's secret, in base64url; a store never sees the secret itself. Empty for a
   * caller that is trusted without a secret.
   */
  readonly secretHash: string
}

/** A new cookie secret. */
export interface NewSecret {
  /** The cookie's value: id and secret in 64 characters of base64url, for `Set-Cookie` only. */
  readonly value: string
  /** The hash that the store keeps of the secret. */
  readonly secretHash: string
}

/** Returns a trusted caller's credential. No cookie yields it: a secret's hash is never empty. */
export function trustedCredential(id: string): SessionCredential {
  return { id, secretHash: '' }
}

/** Returns whether a value has the form of a session id, and so may become part of a key. */
export function isSessionId(id: unknown): id is string {
  return typeof id === 'string' && uuid.test(id)
}

/** Returns a new session id: a random UUID. */
export function newSessionId(): string {
  return randomUUID()
}

/** Makes a cookie secret of 256 random bits. OWASP ASVS 5.0, 7.2.3 requires at least 128 bits. */
export function newSecret(id: string): NewSecret {
  const bytes = Buffer.alloc(idBytes + secretBytes)
  bytes.write(id.replaceAll('-', ''), 'hex')
  takeRandom(bytes.subarray(idBytes))
  return { value: bytes.toString('base64url'), secretHash: hashOf(bytes.subarray(idBytes)) }
}

/** Reads a cookie's value. Returns `undefined` unless it has the form of {@link newSecret}. */
export function parseCookieValue(value: string): SessionCredential | undefined {
  if (!wellFormedValue.test(value)) return undefined
  const bytes = Buffer.from(value, 'base64url')
  return { id: uuidOf(bytes), secretHash: hashOf(bytes.subarray(idBytes)) }
}

// A system call takes as long for many random bytes as for few, so a pool keeps some ready.
const randomPool = Buffer.alloc(64 * secretBytes)
let randomUsed = randomPool.length

/** Fills a secret with random bytes, and erases them from the pool. */
function takeRandom(secret: Buffer): void {
  if (randomUsed === randomPool.length) {
    randomFillSync(randomPool)
    randomUsed = 0
  }
  const end = randomUsed + secretBytes
  randomPool.copy(secret, 0, randomUsed, end)
  randomPool.fill(0, randomUsed, end)
  randomUsed = end
}

function hashOf(secret: Buffer): string {
  return hash('sha256', secret, 'base64url')
}

/** Returns the UUID in the first 16 bytes. */
export function uuidOf(bytes: Buffer): string {
  const hex = bytes.toString('hex', 0, idBytes)
  const [low, mid, high] = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16)]
  return `${low}-${mid}-${high}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
