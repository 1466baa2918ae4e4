import { expiresAt, maxIdleTimeout, minuteMs, minutesToMs } from '../store/expiry.ts'
import type { SessionRecord } from '../store/record.ts'
import type { Deployment } from './deployment.ts'

/** When a session was created and used, and when it ends. All instants in epoch milliseconds. */
export class SessionTimes {
  readonly #settings: Deployment['settings']
  #createdAt: number
  #activeAt: number
  #endsAt: number
  #idleTimeoutMs: number
  #storedIdleTimeoutMs: number

  /** @param now The time of the request. */
  constructor(settings: Deployment['settings'], now: number, record?: SessionRecord) {
    this.#settings = settings
    this.#createdAt = record?.createdAt ?? now
    this.#activeAt = now
    this.#endsAt = record?.endsAt ?? now + settings.policy.expiry.absoluteTimeoutMs
    this.#idleTimeoutMs = record?.idleTimeoutMs ?? settings.idleTimeoutMs
    this.#storedIdleTimeoutMs = this.#idleTimeoutMs
  }

  get createdAt(): number {
    return this.#createdAt
  }

  /** The last activity. */
  get activeAt(): number {
    return this.#activeAt
  }

  /** The absolute end, or `Infinity`. */
  get endsAt(): number {
    return this.#endsAt
  }

  get idleTimeoutMs(): number {
    return this.#idleTimeoutMs
  }

  /** From the last activity to the absolute end, or `Infinity`. */
  get lifetimeMs(): number {
    return this.#endsAt - this.#activeAt
  }

  /** When the session ends without another request. */
  get expiresAt(): number {
    return expiresAt(this.#activeAt, this.#idleTimeoutMs, this.#endsAt)
  }

  /** The idle timeout in minutes. */
  get idleTimeout(): number {
    return this.#idleTimeoutMs / minuteMs
  }

  set idleTimeout(minutes: number) {
    this.#idleTimeoutMs = idleTimeoutMsOf(minutes, this.#settings)
  }

  /** The idle timeout, if the store has a different one. */
  get changedIdleTimeoutMs(): number | undefined {
    return this.#idleTimeoutMs === this.#storedIdleTimeoutMs ? undefined : this.#idleTimeoutMs
  }

  /** Records the idle timeout that the store has. */
  committed(idleTimeoutMs: number): void {
    this.#storedIdleTimeoutMs = idleTimeoutMs
  }

  /** Discards an idle timeout that the store does not have. */
  discard(): void {
    this.#idleTimeoutMs = this.#storedIdleTimeoutMs
  }

  /** Records that the session was first stored. */
  created(now: number): void {
    this.#createdAt = now
    this.#activeAt = now
    this.limitedFrom(now)
  }

  /** Records activity. */
  touched(now: number): void {
    this.#activeAt = now
  }

  /** Restarts the absolute timeout, as a sign-in does. */
  limitedFrom(now: number): void {
    this.#endsAt = now + this.#settings.policy.expiry.absoluteTimeoutMs
  }
}

/** Converts an idle timeout in minutes, raised to the minimum. Throws `TypeError` if not valid. */
export function idleTimeoutMsOf(
  minutes: number,
  { minIdleTimeoutMs }: Deployment['settings'],
): number {
  if (typeof minutes !== 'number' || !Number.isFinite(minutes) || minutes > maxIdleTimeout) {
    throw new TypeError(`idleTimeout must be a number of minutes, at most ${maxIdleTimeout}`)
  }
  return Math.max(minutesToMs(minutes), minIdleTimeoutMs)
}
