// Checks what processes did to shared sessions against the rules, from the calls that they recorded:
// no acknowledged change lost, no ended session back, no right that was never granted.
//
// A call is a request. It reads the whole session when it loads it, within [invoked, loaded], and
// its change takes effect within [committing, returned], `use()` within [loaded, returned]. A call
// whose outcome is unknown may have taken effect at any time after it began, or never.

import type { Outcome, View } from './worker.ts'

/** The task of a call. No two writes of a history have the same value. */
export type Action =
  | { readonly do: 'read' }
  | { readonly do: 'write'; readonly key: string; readonly value: string }
  /** With `use()`; counters have their own keys. */
  | { readonly do: 'increment'; readonly key: string }
  /** Signs in, then writes. */
  | {
      readonly do: 'login'
      readonly userName: string
      readonly privileges: readonly string[]
      readonly key: string
      readonly value: string
    }
  | { readonly do: 'regenerate' }
  | { readonly do: 'logout' }
  | { readonly do: 'terminate'; readonly id: string }

/** A request with its outcome. */
export interface Call extends Omit<Outcome, 'cookie' | 'sentBytes'> {
  /** The cookie value of the request. */
  readonly cookie?: string | undefined
  readonly action: Action
  /** The cookie value of the response; `null` when the cookie was cleared. */
  readonly set?: string | null
}

/** A violation of the rules. */
export interface Violation {
  readonly rule: Rule
  /** What is wrong. */
  readonly text: string
  /** The calls that show it. */
  readonly calls: readonly Call[]
}

/** The rules, by their violations. */
export type Rule =
  | 'back from the dead'
  | 'old value opens'
  | 'unknown value opens'
  | 'vanished'
  | 'lost sign-in'
  | 'lost change'
  | 'lost increment'
  | 'double increment'
  | 'stale or unknown value'
  | 'foreign user'
  | 'foreign right'
  | 'lost right'
  | 'foreign storage'

// For this long, changes by a value that was rotated out merge; later they may be dropped without an error.
const mergesForMs = 30_000

/**
 * Checks a history.
 *
 * @param calls All calls on a set of sessions, from the first one, in any order.
 * @returns What is wrong; empty when nothing is.
 */
export function checkHistory(calls: readonly Call[]): readonly Violation[] {
  const facts = new Facts(calls)
  return [
    ...checkEnds(calls, facts),
    ...checkValues(calls, facts),
    ...checkAnswers(calls),
    ...checkRights(calls, facts),
    ...checkNewSessions(calls, facts),
    ...checkStorage(facts),
  ]
}

/** What the rules need to know of a history. */
class Facts {
  /** The call whose response set a cookie value. */
  readonly issuerOf = new Map<string, Call>()
  /** Calls that found a session. */
  readonly onSession = new Map<string, Call[]>()
  /** Calls that stored a session for the first time. */
  readonly creatorOf = new Map<string, Call>()
  /** Calls that may have ended a session. */
  readonly endersOf = new Map<string, Call[]>()
  /** Calls that may have given a session a new secret. */
  readonly rotatorsOf = new Map<string, Call[]>()
  /** Calls that may have signed in with a session. */
  readonly loginsOf = new Map<string, Call[]>()

  constructor(calls: readonly Call[]) {
    for (const call of calls) this.#add(call)
  }

  #add(call: Call): void {
    const { action, view, after, set } = call
    if (typeof set === 'string') {
      this.issuerOf.set(set, call)
      if (after && after.id !== view?.id) this.creatorOf.set(after.id, call)
    }
    if (view) push(this.onSession, view.id, call)
    if (view && (action.do === 'logout' || switchesUser(call))) push(this.endersOf, view.id, call)
    if (action.do === 'terminate') push(this.endersOf, action.id, call)
    if (view && (action.do === 'login' || action.do === 'regenerate')) {
      push(this.rotatorsOf, view.id, call)
    }
    if (action.do !== 'login') return
    if (after) push(this.loginsOf, after.id, call)
    if (view && view.id !== after?.id) push(this.loginsOf, view.id, call)
  }
}

/** An acknowledged end is final. */
function checkEnds(calls: readonly Call[], facts: Facts): Violation[] {
  const endedBy = new Map<string, Call>()
  for (const [id, enders] of facts.endersOf) {
    const first = earliest(enders.filter(isAcknowledged))
    if (first) endedBy.set(id, first)
  }
  return calls.flatMap((call) => {
    const end = call.view && endedBy.get(call.view.id)
    if (!end || call.invoked <= end.returned) return []
    const text = 'a session was found after its end was acknowledged'
    return [{ rule: 'back from the dead', text, calls: [end, call] }]
  })
}

/** Which cookie values open what, and from when on they must not. */
function checkValues(calls: readonly Call[], facts: Facts): Violation[] {
  const { issuerOf, endersOf, rotatorsOf } = facts
  const violations: Violation[] = []
  const deadSince = new Map<string, { readonly at: number; readonly by: Call }>()
  const dies = (cookie: string, at: number, by: Call): void => {
    const present = deadSince.get(cookie)
    if (!present || at < present.at) deadSince.set(cookie, { at, by })
  }
  const issuedFor = new Map<string, Call[]>()
  for (const call of issuerOf.values()) if (call.after) push(issuedFor, call.after.id, call)

  for (const call of calls) {
    const { cookie, set, view, after } = call
    if (cookie === undefined || !call.isLoaded) continue
    // It never comes back, and the value that replaced it excludes it.
    if (!view) dies(cookie, call.loaded, call)
    if (typeof set !== 'string' || !isAcknowledged(call)) continue
    dies(cookie, call.returned, call)
    if (!view || view.id !== after?.id || isBesideAnother(call, rotatorsOf.get(view.id))) continue
    for (const issuer of issuedFor.get(view.id) ?? []) {
      if (issuer !== call && issuer.returned < call.invoked) dies(issuer.set!, call.returned, call)
    }
  }

  for (const call of calls) {
    const { cookie, view } = call
    if (cookie === undefined || !call.isLoaded) continue
    const issuer = issuerOf.get(cookie)
    const death = deadSince.get(cookie)
    if (view && death && call.invoked > death.at) {
      const text = 'a cookie value opens a session after it was replaced, or seen to open nothing'
      violations.push({ rule: 'old value opens', text, calls: [death.by, call] })
    }
    if (view && view.id !== issuer?.after?.id) {
      const text = 'a cookie value opens a session for which it was not issued'
      violations.push({ rule: 'unknown value opens', text, calls: [call] })
    }
    if (view || !issuer?.after) continue
    const { id } = issuer.after
    const isEnded = endersOf.get(id)?.some(({ invoked }) => invoked < call.loaded)
    const isRotated = rotatorsOf
      .get(id)
      ?.some(
        (rotator) =>
          rotator !== issuer &&
          rotator.invoked < call.loaded &&
          (rotator.returned > issuer.loaded || !isAcknowledged(rotator)),
      )
    if (!isEnded && !isRotated) {
      const text = 'a cookie value opens nothing, though nobody has ended or rotated the session'
      violations.push({ rule: 'vanished', text, calls: [issuer, call] })
    }
  }
  return violations
}

/**
 * Whether the secret may have been rotated out while a call ran, so that the call got a secret
 * beside others and not in place of them.
 */
function isBesideAnother(call: Call, rotators: readonly Call[] = []): boolean {
  return rotators.some(
    (other) =>
      other !== call &&
      other.invoked < call.returned &&
      (other.returned > call.invoked || !isAcknowledged(other)),
  )
}

/** A client must be able to reach what was acknowledged to it. */
function checkAnswers(calls: readonly Call[]): Violation[] {
  return calls.flatMap((call): Violation[] => {
    const { action, view, set } = call
    if (!isAcknowledged(call) || typeof set === 'string') return []
    if (action.do === 'login' && gains(call)) {
      const text = 'a sign-in was acknowledged without a cookie'
      return [{ rule: 'lost sign-in', text, calls: [call] }]
    }
    if (!view && (action.do === 'write' || action.do === 'increment')) {
      const text = "a guest's change was acknowledged without a cookie"
      return [{ rule: 'lost change', text, calls: [call] }]
    }
    return []
  })
}

/** The user and the rights of a session come from the sign-in that has issued the cookie. */
function checkRights(calls: readonly Call[], facts: Facts): Violation[] {
  const owners = new Map<string, string>()
  return calls.flatMap((call): Violation[] => {
    const { cookie, view } = call
    const issuer = cookie === undefined ? undefined : facts.issuerOf.get(cookie)
    if (!view || !issuer || cookie === undefined) return []
    const violations: Violation[] = []
    const owner = ownerOf(cookie, facts, owners)
    if (view.userName !== owner) {
      const text = `a cookie of ${nameOf(owner)} shows ${nameOf(view.userName)}`
      violations.push({ rule: 'foreign user', text, calls: [issuer, call] })
    }
    const logins = facts.loginsOf.get(view.id) ?? []
    for (const privilege of view.privileges) {
      const isGranted = logins.some(
        ({ action, invoked }) =>
          action.do === 'login' &&
          action.userName === view.userName &&
          action.privileges.includes(privilege) &&
          invoked < call.loaded,
      )
      if (isGranted) continue
      const text = `nobody has granted ${privilege} to this session of ${nameOf(view.userName)}`
      violations.push({ rule: 'foreign right', text, calls: [issuer, call] })
    }
    for (const privilege of rightsOf(issuer)) {
      if (view.privileges.includes(privilege)) continue
      const text = `a cookie has lost ${privilege}, with which it was issued`
      violations.push({ rule: 'lost right', text, calls: [issuer, call] })
    }
    return violations
  })
}

/** The user to whom a cookie value was issued; `''` for a guest. */
function ownerOf(cookie: string, facts: Facts, known: Map<string, string>): string {
  const chain: string[] = []
  let owner = ''
  for (let value: string | undefined = cookie; value !== undefined;) {
    const present = known.get(value)
    if (present !== undefined) {
      owner = present
      break
    }
    chain.push(value)
    const issuer = facts.issuerOf.get(value)
    if (issuer?.action.do === 'login') {
      owner = issuer.action.userName
      break
    }
    // Rotated for the same user, or the first value of a guest.
    value = issuer?.action.do === 'regenerate' && issuer.view ? issuer.cookie : undefined
  }
  for (const value of chain) known.set(value, owner)
  return owner
}

/** The grants with which a cookie was issued. */
function rightsOf({ action, view, after }: Call): readonly string[] {
  const kept = view && view.id === after?.id ? view.privileges : []
  return action.do === 'login' ? [...kept, ...action.privileges] : kept
}

/** What a new session starts with. */
function checkNewSessions(calls: readonly Call[], facts: Facts): Violation[] {
  return calls.flatMap((call): Violation[] => {
    const { action, view, after } = call
    if (!after || facts.creatorOf.get(after.id) !== call) return []
    const own: Record<string, unknown> = {}
    if (action.do === 'write' || action.do === 'login') own[action.key] = action.value
    if (action.do === 'increment') own[action.key] = 1
    const isEmptyAllowed =
      !view ||
      switchesUser(call) ||
      facts.endersOf.get(view.id)?.some((end) => end !== call && end.invoked < call.returned)
    // A sign-in with a value that was rotated out copies the storage that it had loaded.
    const isCopyAllowed =
      view &&
      !switchesUser(call) &&
      facts.rotatorsOf
        .get(view.id)
        ?.some((other) => other !== call && other.invoked < call.returned)
    const allowed = [isEmptyAllowed && own, isCopyAllowed && { ...view.storage, ...own }]
    if (allowed.some((storage) => storage && isSame(storage, after.storage))) return []
    const text = 'a new session has a storage that is neither its own nor what it may take along'
    return [{ rule: 'foreign storage', text, calls: [call] }]
  })
}

/** Each key of each session is a register or a counter, independent of all others. */
function checkStorage(facts: Facts): Violation[] {
  const violations: Violation[] = []
  const changes = new Map<string, Call[]>()
  for (const call of new Set([...facts.onSession.values()].flat())) {
    const { action, view, after } = call
    if (action.do === 'increment' && view) push(changes, view.id, call)
    if (action.do !== 'write' && action.do !== 'login') continue
    // Its final place is not known for sure.
    const ids = new Set([after?.id, isAcknowledged(call) ? undefined : view?.id])
    for (const id of ids) if (id !== undefined) push(changes, id, call)
  }
  for (const [id, creator] of facts.creatorOf) {
    const reads = facts.onSession.get(id) ?? []
    const onKey = new Map<string, Call[]>()
    const counters = new Set<string>()
    for (const call of changes.get(id) ?? []) {
      if (call === creator || !('key' in call.action)) continue
      push(onKey, call.action.key, call)
    }
    const keys = new Set([...onKey.keys(), ...Object.keys(creator.after?.storage ?? {})])
    for (const { view } of reads) for (const key of Object.keys(view?.storage ?? {})) keys.add(key)
    for (const key of keys) {
      const changers = onKey.get(key) ?? []
      if (isCounter(key, creator, reads, changers)) counters.add(key)
      const history = { key, creator, reads, changers }
      violations.push(...(counters.has(key) ? checkCounter(history) : checkRegister(history)))
    }
  }
  return violations
}

/** The operations on one key of one session. */
interface KeyHistory {
  readonly key: string
  /** The call that first stored the session, and gave the key its first value, if any. */
  readonly creator: Call
  /** Calls that have found the session. */
  readonly reads: readonly Call[]
  /** Calls whose task was to change the key. */
  readonly changers: readonly Call[]
}

function isCounter(
  key: string,
  creator: Call,
  reads: readonly Call[],
  changers: readonly Call[],
): boolean {
  if (changers.length > 0) return changers.some(({ action }) => action.do === 'increment')
  const values = [creator.after, ...reads.map(({ view }) => view)].map((view) => view?.storage[key])
  return values.some((value) => typeof value === 'number')
}

/** The span of all operations on one value of a register. */
interface Zone {
  /** The earliest end of an operation. */
  first: number
  /** The latest beginning of one. */
  last: number
  readonly calls: Call[]
}

/**
 * Whether a register is linearizable, for writes of distinct values (P. Gibbons and E. Korach,
 * "Testing shared memories", 1997): a value was the present one at least from the first end to the
 * last begin of its operations, if that is a forward span. Two of these must not overlap, and a
 * value that was never present for certain must not have come and gone within one.
 */
function checkRegister({ key, creator, reads, changers }: KeyHistory): Violation[] {
  const zones = new Map<unknown, Zone>()
  const violations: Violation[] = []
  const write = (value: unknown, call: Call): void => {
    if (!isAcknowledged(call) && !isUnknown(call)) return
    const isCertain = isAcknowledged(call) && call.returned - call.invoked < mergesForMs
    const end = isCertain ? call.returned : Infinity
    zones.set(value, { first: end, last: call.committing, calls: [call] })
  }
  write(creator.after?.storage[key], creator)
  for (const call of changers) if ('value' in call.action) write(call.action.value, call)

  for (const call of reads) {
    const value = call.view?.storage[key]
    const zone = zones.get(value)
    if (!zone || call.loaded < zone.calls[0]!.committing) {
      const text = `${key} has a value that nobody has written to this session yet`
      violations.push({ rule: 'stale or unknown value', text, calls: [creator, call] })
      continue
    }
    zone.first = Math.min(zone.first, call.loaded)
    zone.last = Math.max(zone.last, call.invoked)
    zone.calls.push(call)
  }

  // A write of unknown outcome that was never read may never have happened.
  const certain = [...zones.values()].filter(({ first }) => first !== Infinity)
  const forward = certain
    .filter(({ first, last }) => first < last)
    .toSorted((a, b) => a.first - b.first)
  const lost = (zone: Zone, other: Zone): void => {
    const text = `${key} was read with a value that a later, acknowledged write had replaced`
    violations.push({
      rule: 'lost change',
      text,
      calls: [...zone.calls.slice(0, 8), ...other.calls.slice(0, 8)],
    })
  }
  for (const [index, zone] of forward.entries()) {
    const next = forward[index + 1]
    if (next && next.first < zone.last) lost(zone, next)
  }
  for (const zone of certain) {
    if (zone.first < zone.last) continue
    const around = forward.findLast(({ first }) => first < zone.last)
    if (around && around.last > zone.first) lost(around, zone)
  }
  return violations
}

/** Whether a counter has counted every acknowledged increment once, in a possible order. */
function checkCounter({ key, creator, reads, changers }: KeyHistory): Violation[] {
  const violations: Violation[] = []
  const start = Number(creator.after?.storage[key] ?? 0)
  const steps: {
    readonly rank: number
    readonly from: number
    readonly to: number
    readonly call: Call
  }[] = []
  const byNumber = new Map<number, Call>()
  let unknown = 0
  for (const call of changers) {
    if (!isAcknowledged(call)) {
      if (isUnknown(call)) unknown++
      continue
    }
    const number = Number(call.values[0])
    const other = byNumber.get(number)
    if (other || number <= start) {
      const text = `two increments of ${key} were acknowledged as number ${number}`
      violations.push({ rule: 'lost increment', text, calls: [other ?? creator, call] })
    }
    byNumber.set(number, call)
    steps.push({ rank: 2 * number, from: call.loaded, to: call.returned, call })
  }
  let highest = Math.max(start, ...byNumber.keys())
  for (const call of reads) {
    const number = Number(call.view?.storage[key] ?? 0)
    highest = Math.max(highest, number)
    steps.push({ rank: 2 * number + 1, from: call.invoked, to: call.loaded, call })
  }
  if (highest - start > byNumber.size + unknown) {
    const text = `${key} has counted ${highest - start}, of ${byNumber.size} increments and ${unknown} of unknown outcome`
    violations.push({ rule: 'double increment', text, calls: [creator] })
  }

  let latest: (typeof steps)[number] | undefined
  let waiting: (typeof steps)[number] | undefined
  for (const step of steps.toSorted((a, b) => a.rank - b.rank)) {
    // Those of the same rank have no order.
    if (waiting && waiting.rank < step.rank && (!latest || waiting.from > latest.from)) {
      latest = waiting
    }
    if (!waiting || waiting.rank < step.rank || step.from > waiting.from) waiting = step
    if (latest && step.to < latest.from) {
      const text = `${key} went back, or was read before it was counted`
      violations.push({ rule: 'lost increment', text, calls: [latest.call, step.call] })
    }
  }
  return violations
}

function isAcknowledged({ error, isLoaded }: Call): boolean {
  return error === undefined && isLoaded
}

/** Whether a call may have taken effect although it failed. These codes say that it has not. */
function isUnknown({ error }: Call): boolean {
  return (
    error !== undefined && error !== 'ERR_SESSION_ENDED' && error !== 'ERR_SESSION_LOCK_TIMEOUT'
  )
}

/** Whether a sign-in names a user other than that of the session, which ends the session. */
function switchesUser({ action, view }: Call): boolean {
  return (
    action.do === 'login' && view !== undefined && !['', action.userName].includes(view.userName)
  )
}

/** Whether a sign-in changes anything. */
function gains({ action, view }: Call): boolean {
  if (action.do !== 'login') return false
  if (view?.userName !== action.userName) return true
  return action.privileges.some((name) => !view.privileges.includes(name))
}

function earliest(calls: readonly Call[]): Call | undefined {
  return calls.toSorted((a, b) => a.returned - b.returned)[0]
}

function isSame(a: View['storage'], b: View['storage']): boolean {
  return sortedText(a) === sortedText(b)
}

function sortedText(storage: View['storage']): string {
  return JSON.stringify(Object.entries(storage).toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

function nameOf(userName: string): string {
  return userName === '' ? 'nobody' : userName
}

function push<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const present = map.get(key)
  if (present) present.push(value)
  else map.set(key, [value])
}
