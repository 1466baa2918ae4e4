import { randomUUID } from 'node:crypto'

import { MemoryStore, RedisStore } from 'koa-user-sessions'
import type { SessionStore } from 'koa-user-sessions'
import type {
  GrantChanges,
  SessionCommit,
  SessionCredential,
  StorageChanges,
  StorePolicy,
} from 'koa-user-sessions/store'
import { expect, it, onTestFinished, vi } from 'vitest'

import { connectRedis, uniquePrefix } from '../support/redis-client.ts'
import { backgroundIsDone, passRedisTime } from '../support/time.ts'
import { draftOf, minute, newHash, noGrants, second } from './contract-parts.ts'

// The number of calls over which the stores are compared, in one world for each seed. More of either
// find more: 100 000 calls take some minutes.
const callsOfAWorld = 600
const seeds = [1, 2, 3, 4, 5]

const policy: StorePolicy = {
  expiry: { refreshMs: minute, absoluteTimeoutMs: 180 * minute },
  limits: { storageBytes: 200, storageKeys: 6 },
  maxSessions: undefined,
  timeoutMs: 20_000,
}
const ending: StorePolicy = {
  ...policy,
  maxSessions: { perUser: 2, onExceed: 'terminateOldest' },
}
const refusing: StorePolicy = { ...policy, maxSessions: { perUser: 3, onExceed: 'refuse' } }

const users = ['ann', 'bob', 'ann\n\t"', '\uD800']
const names = [
  'a',
  'b',
  'aa',
  '',
  '\n',
  '\t',
  'a\t1',
  '__proto__',
  '"',
  '\\n',
  'ž',
  '\uDC00',
  'uann',
]
const privileges = ['browse', 'audit', 'constructor', '\npWebAdmin']

interface Slot {
  readonly id: string
  /** The newest one is last. */
  readonly hashes: string[]
  readonly otps: string[]
  readonly tokens: string[]
  /** Those of requests in progress, which have seen the session as it was. */
  readonly requests: SessionCredential[]
}

type Call = (store: SessionStore) => Promise<unknown>

it.each(seeds)(
  'T2, C5, L4: both stores give the same answers to random calls with seed %i',
  { timeout: 120_000 },
  async (seed) => {
    const { stores, passTime, passed } = setUp()
    const world = new World(seed)
    const told = new Map<string, number>()

    for (let index = 0; index < callsOfAWorld; index++) {
      const [name, call] = world.next()
      if (call === undefined) {
        await passTime(world.timeThatPasses())
        continue
      }
      const ofMemory = plainOf(await call(stores.memory), passed())
      const ofRedis = plainOf(await call(stores.redis), 0)
      const where = `call ${index}, ${name}: ${text(ofMemory)} of memory, ${text(ofRedis)} of Redis`
      expect(isSame(ofMemory, ofRedis), where).toBe(true)
      if (statusIn(ofMemory) === 'committed') world.stored()
      const kind = `${name} ${statusIn(ofMemory)}`
      told.set(kind, (told.get(kind) ?? 0) + 1)
    }

    // Useless with only a few calls.
    expect(told.size).toBeGreaterThan(25)
  },
)

function setUp(): {
  readonly stores: { readonly memory: SessionStore; readonly redis: SessionStore }
  readonly passTime: (ms: number) => Promise<void>
  /** How much time has passed this way. */
  readonly passed: () => number
} {
  const [client, prefix] = [connectRedis(), uniquePrefix()]
  const realNow = Date.now
  let passedMs = 0
  const spy = vi.spyOn(Date, 'now').mockImplementation(() => realNow() + passedMs)
  onTestFinished(() => spy.mockRestore())
  return {
    stores: { memory: new MemoryStore(), redis: new RedisStore(client, { prefix }) },
    passTime: async (ms) => {
      await passRedisTime(client, prefix, ms)
      await backgroundIsDone(client)
      passedMs += ms
    },
    passed: () => passedMs,
  }
}

/** Random calls, the same for each seed except for ids and secrets. */
class World {
  readonly #slots: Slot[] = []
  #onStored: () => unknown = () => {}
  #state: number

  constructor(seed: number) {
    this.#state = seed
  }

  /** The next call; nothing when time passes. */
  next(): readonly [name: string, call: Call | undefined] {
    this.#onStored = () => {}
    const lot = this.#chance()
    if (lot < 0.08 || this.#slots.length < 3) return this.#create()
    if (lot < 0.11) return ['time', undefined]
    if (lot < 0.36) return this.#load()
    if (lot < 0.38) return this.#destroy()
    if (lot < 0.44) {
      const userName = this.#of(users)
      return ['list', (store) => store.list(userName, policy)]
    }
    if (lot < 0.49) return this.#lock()
    if (lot < 0.53) return this.#extend()
    return this.#commit()
  }

  /** Records that the last call is stored: its new secret is good. */
  stored(): void {
    this.#onStored()
  }

  /** No sum of these equals a timeout. */
  timeThatPasses(): number {
    return this.#of([7013, 19_031, 41_057, 7 * minute + 113, 37 * minute + 211])
  }

  #create(): readonly [string, Call] {
    const isGuest = this.#chance() < 0.5
    const userName = isGuest ? '' : this.#of(users)
    const signsIn = !isGuest
    const draft = draftOf({
      type: this.#of(['web', 'rest', 'remote'] as const),
      userName,
      privileges: isGuest ? [] : this.#some(privileges),
      roles: this.#some(['Clerk']),
      idleTimeoutMs: this.#of([30 * minute, 60 * minute, 500 * minute]),
      storage: new Map(this.#some(names).map((name) => [name, '1'])),
    })
    const taken = this.#chance() < 0.1 ? this.#slots.at(-1) : undefined
    if (taken) {
      const credential = { id: taken.id, secretHash: newHash() }
      const small = { ...draft, storage: new Map() }
      return ['create one', (store) => store.create({ credential, draft: small, signsIn }, policy)]
    }
    const credential = { id: randomUUID(), secretHash: newHash() }
    const { id, secretHash } = credential
    this.#slots.push({ id, hashes: [secretHash], otps: [], tokens: [], requests: [credential] })
    const own = this.#of([policy, ending, refusing])
    // Of two refusals a store may return either.
    const fitting = own === refusing ? { ...draft, storage: new Map() } : draft
    return ['create', (store) => store.create({ credential, draft: fitting, signsIn }, own)]
  }

  #load(): readonly [string, Call] {
    const credential = this.#credential()
    const isActivity = this.#chance() < 0.8
    return ['load', async (store) => store.load(credential, policy, isActivity)]
  }

  #destroy(): readonly [string, Call] {
    const { id } = this.#slot()
    const userName = this.#chance() < 0.5 ? undefined : this.#of([...users, ''])
    return ['destroy', (store) => store.destroy(id, userName)]
  }

  #lock(): readonly [string, Call] {
    const slot = this.#slot()
    const credential = this.#credential(slot)
    // A caller with another secret is another holder.
    const token = `${this.#of(['one', 'other'])}-${credential.secretHash}`
    slot.tokens.push(token)
    const lock = { token, leaseMs: this.#of([5 * second, 10 * minute]) }
    return ['lock', (store) => store.lock(credential, lock)]
  }

  #extend(): readonly [string, Call] {
    const slot = this.#slot()
    const credential = { id: slot.id, secretHash: '' }
    const lock = { token: this.#token(slot), leaseMs: this.#of([0, 0, 10 * minute]) }
    return ['extend', (store) => store.commit(credential, { lock }, policy)]
  }

  #commit(): readonly [string, Call] {
    const kinds = ['storage', 'storage', 'grant', 'clear', 'sign in', 'rotate', 'idle'] as const
    const more = ['postpone', 'OTP', 'redeem', 'locked', 'owned', 'all'] as const
    const kind = this.#of([...kinds, ...more])
    const slot = this.#slot()
    const own = kind === 'sign in' ? this.#of([policy, ending]) : policy
    if (kind === 'redeem') {
      const otp = this.#chance() < 0.8 ? this.#of(slot.otps) : undefined
      const commit = { redeemsOTP: otp ?? newHash(), newSecretHash: this.#newHash(slot) }
      const trusted = { id: slot.id, secretHash: '' }
      return [kind, (store) => store.commit(trusted, commit, own)]
    }
    const credential = kind === 'owned' ? { id: slot.id, secretHash: '' } : this.#credential(slot)
    const commit = this.#commitOf(kind, slot)
    return [kind, (store) => store.commit(credential, commit, own)]
  }

  #commitOf(kind: string, slot: Slot): SessionCommit {
    const storage = this.#chance() < 0.3 ? this.#changes() : undefined
    const granting = {
      ...noGrants,
      privileges: this.#some(privileges),
      roles: this.#some(['Boss']),
    }
    const asks = { newSecretHash: this.#newHash(slot), asksFor: 'rights' } as const
    const userName = this.#of(users)
    const signIn: GrantChanges = { ...granting, clears: true, userName, signsIn: true }
    const lock = { token: this.#token(slot), leaseMs: this.#of([0, 10 * minute]) }
    const otp = newHash()
    switch (kind) {
      case 'grant':
        return { storage, grants: granting, ...asks, userName: this.#of([...users, '']) }
      case 'clear':
        return {
          storage,
          grants: { ...noGrants, clears: true, userName: '' },
          ...this.#rotation(slot),
        }
      case 'sign in':
        return { storage, grants: signIn, userName, ...asks }
      case 'rotate':
        return { storage, newSecretHash: asks.newSecretHash, asksFor: 'secret' }
      case 'idle':
        return { storage, idleTimeoutMs: this.#of([5, 60, 400]) * minute }
      case 'postpone':
        return { storage, postpones: true }
      case 'OTP':
        slot.otps.push(otp)
        return { newOTP: { hash: otp, lifespanMs: this.#of([20 * second, 60 * minute]) } }
      case 'locked':
        return { storage: this.#changes(), lock }
      case 'owned':
        return { grants: granting, ownedBy: this.#of([...users, '']) }
      case 'all':
        return {
          storage: this.#changes(),
          grants: signIn,
          userName,
          ...asks,
          idleTimeoutMs: 90 * minute,
          lock: this.#chance() < 0.3 ? lock : undefined,
        }
      default:
        return { storage: this.#changes() }
    }
  }

  #rotation(slot: Slot): SessionCommit {
    return this.#chance() < 0.5 ? {} : { newSecretHash: this.#newHash(slot) }
  }

  #changes(): StorageChanges {
    const set = new Map(
      this.#some(names).map((name) => [name, JSON.stringify(name.repeat(this.#chance() * 20))]),
    )
    return { set, removed: this.#some(names).filter((name) => !set.has(name)) }
  }

  /** Usually a good one, of a new request or of one in progress. */
  #credential(slot = this.#slot()): SessionCredential {
    const lot = this.#chance()
    if (lot < 0.2) return this.#of(slot.requests) ?? { id: slot.id, secretHash: '' }
    const secretHash =
      lot < 0.8
        ? (slot.hashes.at(-1) ?? '')
        : lot < 0.9
          ? this.#of(slot.hashes)
          : lot < 0.95
            ? newHash()
            : ''
    const credential = { id: slot.id, secretHash }
    slot.requests.push(credential)
    if (slot.requests.length > 4) slot.requests.shift()
    return credential
  }

  #newHash(slot: Slot): string {
    const hash = newHash()
    this.#onStored = () => slot.hashes.push(hash)
    return hash
  }

  /** Usually that of the last caller. */
  #token({ tokens }: Slot): string {
    return (this.#chance() < 0.6 ? tokens.at(-1) : this.#of(tokens)) ?? 'nobody'
  }

  /** One of the last: earlier ones have ended by now, or may have. */
  #slot(): Slot {
    const slot = this.#of(this.#slots.slice(-8))
    if (!slot) throw new Error('no session yet')
    return slot
  }

  #some<T>(all: readonly T[]): T[] {
    return all.filter(() => this.#chance() < 0.3)
  }

  #of<T>(all: readonly [T, ...T[]] | readonly T[]): T {
    return all[Math.floor(this.#chance() * all.length)]!
  }

  #chance(): number {
    // The constants are from Numerical Recipes.
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0
    return this.#state / 2 ** 32
  }
}

/**
 * A result as data: instants earlier by the passed time, as time passes in Redis by moving them
 * back; the storage as the list of its entries; lists sorted.
 */
function plainOf(answer: unknown, earlierMs: number): unknown {
  if (typeof answer === 'number') return isInstant(answer) ? answer - earlierMs : answer
  if (Array.isArray(answer)) {
    const all = answer.map((one) => plainOf(one, earlierMs))
    return all.toSorted((one, other) => (idIn(one) < idIn(other) ? -1 : 1))
  }
  if (typeof answer !== 'object' || answer === null) return answer
  if (Symbol.iterator in answer && 'size' in answer) {
    return { size: answer.size, entries: [...new Map(Reflect.apply(iterate, answer, []))] }
  }
  return Object.fromEntries(
    Object.entries(answer)
      .filter(([name]) => name !== 'seen')
      .map(([name, value]) => [
        name,
        name === 'ended' || name === 'privileges' || name === 'roles'
          ? value
          : plainOf(value, earlierMs),
      ]),
  )
}

function iterate(
  this: Iterable<readonly [unknown, unknown]>,
): Iterable<readonly [unknown, unknown]> {
  return this
}

function isInstant(value: number): boolean {
  return value > 1e12 && value < Infinity
}

/** Whether two are the same except for the delay of a reply: instants may differ by some seconds. */
function isSame(one: unknown, other: unknown): boolean {
  if (typeof one === 'number' && typeof other === 'number' && isInstant(one)) {
    return Math.abs(one - other) < 5000
  }
  if (typeof one !== 'object' || typeof other !== 'object' || !one || !other) return one === other
  const [ofOne, ofOther] = [Object.entries(one), Object.entries(other)]
  return (
    ofOne.length === ofOther.length &&
    ofOne.every(([name, value]) => name in other && isSame(value, Reflect.get(other, name)))
  )
}

function statusIn(answer: unknown): string {
  if (typeof answer === 'object' && answer !== null && 'status' in answer) {
    return String(answer.status)
  }
  return Array.isArray(answer) ? `${answer.length} sessions` : String(answer)
}

function idIn(answer: unknown): string {
  return typeof answer === 'object' && answer !== null && 'id' in answer ? String(answer.id) : ''
}

function text(answer: unknown): string {
  return JSON.stringify(answer) ?? 'nothing'
}
