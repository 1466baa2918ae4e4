import { hash, randomFillSync, randomUUID } from 'node:crypto'

const idBytes = 16
const secretBytes = 32
// 48 bytes are exactly 64 characters of base64url: no padding and no spare bits, so that every
// value has one spelling only.
const wellFormedValue = /^[A-Za-z0-9_-]{64}$/

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** What a session cookie carries. */
export interface SessionCredential {
  /** The session's public id, a UUID. */
  readonly id: string
  /**
   * SHA-256 of the cookie's secret, in base64url: all that a store ever sees of it. Empty for a
   * caller that is trusted without one.
   */
  readonly secretHash: string
}

/** A new cookie secret. Its value leaves the process in `Set-Cookie` and nowhere else. */
export interface NewSecret {
  /** The cookie's value: 64 characters of base64url, the id and the secret. */
  readonly value: string
  readonly secretHash: string
}

/**
 * The credential of a caller that has proved otherwise whose session it is, such as by a signed
 * token. No cookie reads as one: the hash of a secret is never empty.
 *
 * @param id The session's id.
 */
export function trustedCredential(id: string): SessionCredential {
  return { id, secretHash: '' }
}

/**
 * Whether a value has the form of a session id, so that it may become part of a key.
 *
 * @param id Anything.
 */
export function isSessionId(id: unknown): id is string {
  return typeof id === 'string' && uuid.test(id)
}

/** A new session id: a random UUID. */
export function newSessionId(): string {
  return randomUUID()
}

/**
 * Makes a cookie secret of 256 random bits for a session.
 *
 * OWASP ASVS 5.0, 7.2.3 asks for 128 bits at least.
 *
 * @param id The session's id, a UUID.
 * @returns The cookie's value and what the store keeps of it.
 */
export function newSecret(id: string): NewSecret {
  const bytes = Buffer.alloc(idBytes + secretBytes)
  bytes.write(id.replaceAll('-', ''), 'hex')
  takeRandom(bytes.subarray(idBytes))
  return { value: bytes.toString('base64url'), secretHash: hashOf(bytes.subarray(idBytes)) }
}

/**
 * Reads a value that {@link newSecret} has made.
 *
 * @param value Whatever the client sent.
 * @returns `undefined` when it is not of the form that this package writes.
 */
export function parseCookieValue(value: string): SessionCredential | undefined {
  if (!wellFormedValue.test(value)) return undefined
  const bytes = Buffer.from(value, 'base64url')
  return { id: uuidOf(bytes), secretHash: hashOf(bytes.subarray(idBytes)) }
}

// Asking the system for random bytes takes as long for many as for few, so some are kept ready, as
// `randomUUID()` does.
const randomPool = Buffer.alloc(64 * secretBytes)
let randomUsed = randomPool.length

/** Fills a secret with random bytes. They are nowhere else then. */
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

/** The UUID that bytes begin with. */
export function uuidOf(bytes: Buffer): string {
  const hex = bytes.toString('hex', 0, idBytes)
  const [low, mid, high] = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16)]
  return `${low}-${mid}-${high}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
