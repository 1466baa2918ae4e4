import { expiresAt, maxIdleTimeout, minuteMs, minutesToMs } from '../store/expiry.ts'
import type { SessionRecord } from '../store/record.ts'
import type { Deployment } from './deployment.ts'

/** When a session was made and used, and when it ends. All instants in epoch milliseconds. */
export class SessionTimes {
  readonly #settings: Deployment['settings']
  #createdAt: number
  #activeAt: number
  #endsAt: number
  #idleTimeoutMs: number
  #storedIdleTimeoutMs: number

  /**
   * @param now The time of the request.
   * @param record What is stored of the session; `undefined` for a new one.
   */
  constructor(
    { settings }: Pick<Deployment, 'settings'>,
    now: number,
    record: SessionRecord | undefined,
  ) {
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

  /** The absolute end; `Infinity` for none. */
  get endsAt(): number {
    return this.#endsAt
  }

  /** From the last activity to the absolute end. Milliseconds; `Infinity` for ever. */
  get lifetimeMs(): number {
    return this.#endsAt - this.#activeAt
  }

  /** When it ends if nothing more is requested. */
  get expiresAt(): number {
    return expiresAt(this.#activeAt, this.#idleTimeoutMs, this.#endsAt)
  }

  get idleTimeoutMs(): number {
    return this.#idleTimeoutMs
  }

  /** The idle timeout in minutes, as the app knows it. */
  get idleTimeout(): number {
    return this.#idleTimeoutMs / minuteMs
  }

  /** A value below the floor becomes the floor. */
  set idleTimeout(minutes: number) {
    if (typeof minutes !== 'number' || !Number.isFinite(minutes) || minutes > maxIdleTimeout) {
      throw new TypeError(`idleTimeout must be a number of minutes, at most ${maxIdleTimeout}`)
    }
    this.#idleTimeoutMs = Math.max(minutesToMs(minutes), this.#settings.minIdleTimeoutMs)
  }

  /** The idle timeout, if the store has another one. Milliseconds. */
  get changedIdleTimeoutMs(): number | undefined {
    return this.#idleTimeoutMs === this.#storedIdleTimeoutMs ? undefined : this.#idleTimeoutMs
  }

  /** The store has this idle timeout now. */
  committed(idleTimeoutMs: number): void {
    this.#storedIdleTimeoutMs = idleTimeoutMs
  }

  /** Forgets an idle timeout that the store does not have. */
  discard(): void {
    this.#idleTimeoutMs = this.#storedIdleTimeoutMs
  }

  /** The session was stored first. */
  created(now: number): void {
    this.#createdAt = now
    this.#activeAt = now
    this.limitedFrom(now)
  }

  /** The absolute limit counts from now on. */
  limitedFrom(now: number): void {
    this.#endsAt = now + this.#settings.policy.expiry.absoluteTimeoutMs
  }

  /** The session was used. */
  touched(now: number): void {
    this.#activeAt = now
  }
}
