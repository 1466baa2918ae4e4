import { newSecret, type NewSecret, type SessionCredential } from '../cookie/cookie.ts'
import {
  SessionEndedError,
  SessionHeadersSentError,
  SessionLimitError,
  SessionLockTimeoutError,
  SessionStoreError,
  StorageSizeError,
} from '../errors/errors.ts'
import type { SessionEndReason } from '../events/events.ts'
import type { GrantChanges } from '../privileges/grants.ts'
import type { CommitOutcome } from '../store/session-store.ts'
import type { Deployment } from './deployment.ts'
import type { LiveSession } from './live-session.ts'
import type { SessionState } from './session-state.ts'
import type { HeldLock } from './use-lock.ts'

/**
 * Who wants a commit. `save()` stores an unchanged session too. `save()` and a block of `use()`
 * reject when the session has ended; the end of a request drops the changes.
 */
export type Caller = 'save' | 'block' | 'request'

export interface CommitOptions {
  /** Whether to rotate the secret, whatever has changed. */
  readonly rotates?: boolean
  /** Notes that the client suspends. */
  readonly postpones?: boolean
  /** The lock under which the changes were made. */
  readonly lock?: HeldLock | undefined
}

/**
 * Stores what a request has changed, and sets the session's cookie: by one create or one commit, or
 * in a new session where the old one has ended. Returns the state to continue with.
 */
export async function commit(
  live: LiveSession,
  state: SessionState,
  caller: Caller,
  options: CommitOptions,
): Promise<SessionState> {
  const { credential } = state
  if (credential) return update(live, state, { ...options, credential, caller })
  const creates = caller === 'save' || state.isTouched
  if (creates || state.hasReplaced) await create(live, state, creates)
  return state
}

/** Ends a session in the store, and emits `session:ended` if it was live. */
export async function endSession(
  { store, events }: Deployment,
  id: string,
  reason: SessionEndReason,
): Promise<void> {
  if (await store.destroy(id)) events.emit('session:ended', { id, reason })
}

/** Stores a new session, and ends those that it replaces. */
async function create(live: LiveSession, state: SessionState, creates: boolean): Promise<void> {
  const { deployment, cookie, readOnlyReason } = live
  if (creates && readOnlyReason) throw readOnlyReason
  if (creates && !cookie.canSet) throw new SessionHeadersSentError()
  const storing = creates ? store(live, state) : undefined
  // A refused sign-in must not end any session.
  if (deployment.settings.policy.maxSessions?.onExceed === 'refuse') await storing
  const reason = creates ? 'replaced' : 'destroyed'
  await Promise.all([storing, ...state.replaces.map((id) => endSession(deployment, id, reason))])
  state.replacedEnded()
  if (!creates && cookie.canSet) cookie.clear()
}

async function store({ deployment, cookie }: LiveSession, state: SessionState): Promise<void> {
  const { events, settings } = deployment
  const client = await state.origin.request.describeClient()
  const storage = state.storage.changes()
  const draft = state.draft(client, storage)
  const grants = state.grants.takeChanges()
  const signsIn = grants?.signsIn ?? false
  const { id } = state
  const secret = newSecret(id)
  const credential = { id, secretHash: secret.secretHash }
  let ended: readonly string[] | undefined
  try {
    const outcome = await deployment.store.create({ credential, draft, signsIn }, settings.policy)
    if (outcome.status === 'exists') throw new SessionStoreError('the session id is taken')
    if (outcome.status === 'tooLarge') throw tooLarge(deployment)
    if (outcome.status === 'refused') throw refused(state)
    state.created(draft, { ...outcome, credential }, { storage, grants })
    ended = outcome.ended
  } catch (error) {
    takeBack(state, grants, error)
    // Otherwise every request of this client would be refused, its next sign-in included.
    if (state.isCarried && error instanceof SessionLimitError) cookie.clearLegacy()
    throw error
  }
  cookie.set(secret.value, state.times.lifetimeMs)
  const { userName } = draft
  events.emit('session:created', { id, userName })
  if (signsIn) events.emit('session:signedIn', { id, userName })
  if (ended) exceeded(deployment, ended)
}

async function update(
  live: LiveSession,
  state: SessionState,
  how: CommitOptions & { readonly credential: SessionCredential; readonly caller: Caller },
): Promise<SessionState> {
  const { deployment } = live
  const { credential, caller, rotates = false, postpones = false, lock } = how
  const changes = state.changes()
  if (!changes && caller !== 'save') return state
  // An earlier block or save() has already told the app.
  if (caller === 'request' && !changes?.grants?.signsIn && state.isGone) return state

  const { storage, grants, idleTimeoutMs } = changes ?? {}
  const asksFor = grants && gainsRights(grants) ? 'rights' : rotates ? 'secret' : undefined
  const needsSecret = asksFor !== undefined || grants?.userName !== undefined
  const secret = needsSecret ? newSecretFor(live, state) : undefined
  const { settings, events } = deployment
  const claim = lock?.claim(caller === 'block')
  if (grants) state.grants.takeChanges()
  const sent = {
    seen: state.seen,
    storage,
    idleTimeoutMs,
    grants,
    userName: grants && state.grants.granted.userName,
    newSecretHash: secret?.secretHash,
    asksFor,
    // A session without a cookie has no secret to rotate.
    raisesGeneration: rotates && !secret,
    postpones,
    lock: claim,
  } as const
  let outcome: CommitOutcome
  try {
    outcome = await deployment.store.commit(credential, sent, settings.policy)
    if (outcome.status === 'tooLarge') throw tooLarge(deployment)
    if (outcome.status === 'refused') throw refused(state)
    if (outcome.status === 'unlocked') {
      throw new SessionLockTimeoutError('the block outlived its lock: nothing was stored')
    }
  } catch (error) {
    takeBack(state, grants, error)
    // These errors confirm that nothing was stored.
    const isRefusal = error instanceof StorageSizeError || error instanceof SessionLimitError
    if (lock && !isRefusal) lock.mayBeLost()
    throw error
  }
  if (outcome.status === 'ended' || outcome.status === 'rotated') {
    return moveOn(live, state, { status: outcome.status, caller, grants })
  }
  if (lock && claim?.leaseMs === 0) lock.released()
  state.committed({ storage, grants, idleTimeoutMs }, outcome.seen)
  if (grants?.signsIn) state.times.limitedFrom(outcome.now)
  if (outcome.status === 'committed') {
    if (secret) {
      const { id } = state
      state.rotated(secret.secretHash)
      live.cookie.set(secret.value, state.times.lifetimeMs)
      events.emit('session:rotated', { id })
      if (grants?.signsIn) {
        events.emit('session:signedIn', { id, userName: state.grants.granted.userName })
      }
    }
    if (lock && caller === 'block' && outcome.record) {
      const { record, seen, now } = outcome
      lock.handOn({ record, seen, now, credential: state.credential ?? credential })
    }
    if (outcome.ended) exceeded(deployment, outcome.ended)
  }
  return state
}

/** Returns `undefined` for a session that a token opened, because it has no secret. */
function newSecretFor({ cookie }: LiveSession, state: SessionState): NewSecret | undefined {
  if (state.credential?.secretHash === '') return undefined
  if (cookie.canSet) return newSecret(state.id)
  // Without these grants, later commits can still save the storage.
  state.grants.discard()
  throw new SessionHeadersSentError()
}

/**
 * Handles changes that met an ended session or a rotated secret. A sign-in goes into a new session
 * and, after a rotation, so does any right that was gained.
 */
async function moveOn(
  live: LiveSession,
  state: SessionState,
  lost: {
    readonly status: 'ended' | 'rotated'
    readonly caller: Caller
    readonly grants: GrantChanges | undefined
  },
): Promise<SessionState> {
  const { status, caller, grants } = lost
  const error = status === 'ended' ? state.gone() : new SessionEndedError()
  if (grants && (status === 'ended' ? grants.signsIn : gainsRights(grants))) {
    const next = state.successor(status === 'ended' ? 'changes' : 'storage', grants)
    try {
      await create(live, next, true)
    } catch (failure) {
      takeBack(state, grants, failure)
      throw failure
    }
    return next
  }
  if (grants) state.grants.restoreChanges(grants)
  if (caller !== 'request') throw error
  return state
}

/** Emits the end of sessions over the limit, possibly of the one that signs in. */
function exceeded({ events }: Deployment, ids: readonly string[]): void {
  for (const id of ids) events.emit('session:ended', { id, reason: 'exceeded' })
}

function refused(state: SessionState): SessionLimitError {
  const error = new SessionLimitError()
  state.deployment.events.emit('session:refused', {
    ...(!state.isNew && { id: state.id }),
    userName: state.grants.granted.userName,
    code: error.code,
  })
  return error
}

function tooLarge({ settings }: Deployment): StorageSizeError {
  const { storageBytes, storageKeys } = settings.policy.limits
  return new StorageSizeError(
    `storage would exceed its limits of ${storageBytes} bytes and ${storageKeys} keys`,
  )
}

/**
 * Restores the changes of a failed commit for another try, but not a refused sign-in: the session
 * must not look signed in, and its storage can still be saved.
 */
function takeBack(state: SessionState, grants: GrantChanges | undefined, error: unknown): void {
  if (error instanceof SessionLimitError) state.grants.discard()
  else if (grants) state.grants.restoreChanges(grants)
}

function gainsRights(grants: GrantChanges): boolean {
  return Boolean(grants.userName) || grants.privileges.length > 0 || grants.roles.length > 0
}
