import { hostname, platform } from 'node:os'

import { locateClient } from '../client/describe-client.ts'
import { cleanText, completeClient, unknownClient } from '../client/description.ts'
import { noCarrier } from '../cookie/carrier.ts'
import { newSessionId, trustedCredential } from '../cookie/credential.ts'
import { SessionLimitError, SessionStoreError } from '../errors/errors.ts'
import { Grants, nothingGranted } from '../privileges/grants.ts'
import { parseGrant } from '../privileges/privileges.ts'
import type { PrivilegeSettings } from '../privileges/privileges.ts'
import { UnitOfWork } from '../session/live-session.ts'
import { addressOf } from '../session/request-session.ts'
import type { SessionRequest } from '../session/request-session.ts'
import type { Services } from '../session/services.ts'
import { SessionState } from '../session/session-state.ts'
import { Session } from '../session/session.ts'
import { maxIdleTimeout, minutesToMs } from '../store/expiry.ts'
import type { RecordDraft } from '../store/record.ts'
import type { CreateOutcome } from '../store/session-store.ts'

/** What a remote client says of itself. Texts are cleaned, and kept to 64 bytes. */
export interface RemoteClient {
  /** The machine's name. */
  readonly machineName?: string
  /** The user that is signed in to its operating system. */
  readonly systemUserName?: string
  /** The application's version, such as `2.4`. */
  readonly appVersion?: string
  /** Such as `MacBook Air`. */
  readonly deviceModel?: string
  /** The operating system: `Windows`, `macOS`, `Linux`, `iOS`, `Android` or another one. */
  readonly platform?: string
  /** Its version. */
  readonly systemVersion?: string
  /** The installation's own id, by which one device is known over time. */
  readonly persistentID?: string
  /** Its IP address, as the server sees it. */
  readonly ip?: string
}

/** What `sessions.open()` takes. */
export interface OpenInput {
  /** Whose session it is, for all its life. Not empty, at most 256 characters. */
  readonly userName: string
  /** Which application opens it; the option `applications` knows it by this id. */
  readonly applicationId: string
  /** What the client says of itself. */
  readonly client?: RemoteClient
  /** In the forms of `setPrivileges()`; nothing where remote sessions have no privileges. */
  readonly privileges?: PrivilegeSettings['privileges']
  /** As `privileges`. */
  readonly roles?: PrivilegeSettings['roles']
  /** Minutes, as `session.idleTimeout`. By default that of all sessions. */
  readonly idleTimeout?: number
}

/** What `sessions.open()` answers. */
export interface OpenedSession<S> {
  /** The new session, for the server's own use. */
  readonly session: Session<S>
  /** For the client alone: whoever has it is let in. */
  readonly token: string
}

const inputNames = ['userName', 'applicationId', 'client', 'privileges', 'roles', 'idleTimeout']

/** The session of the server's own code has the same id in every deployment. */
export const storedProcedureId = '00000000-0000-4000-8000-000000000000'

/** A request that comes from the server's own code. */
export const serverRequest: SessionRequest = {
  cookies: [],
  carrier: noCarrier,
  ip: '',
  header: () => '',
  describeClient: () => Promise.resolve(unknownClient),
  isActivity: () => true,
}

/**
 * Opens a remote session.
 *
 * @param services Of the `Sessions`.
 * @param input What the app gave.
 */
export async function openSession<S>(
  services: Services,
  input: OpenInput,
): Promise<OpenedSession<S>> {
  const { tokens, store, policy, rules, events } = services
  if (!tokens) throw new TypeError('open() needs the option "tokens"')
  const id = newSessionId()
  const draft = await remoteDraft(services, input)
  const { userName } = draft
  const credential = trustedCredential(id)
  const outcome = await store.create({ credential, draft, signsIn: true }, policy)
  if (outcome.status === 'refused') {
    const error = new SessionLimitError()
    events.emit('session:refused', { userName, code: error.code })
    throw error
  }
  if (outcome.status !== 'created') throw new SessionStoreError('the session could not be stored')
  tellOpened(services, id, userName, outcome)
  try {
    const endsAt = outcome.now + policy.expiry.absoluteTimeoutMs
    const { applicationId } = input
    const exp = tokens.expiry(endsAt)
    const token = await tokens.issue(
      { sub: userName, sid: id, exp, client_id: applicationId },
      false,
    )
    const record = { ...draft, id, createdAt: outcome.now, signedInAt: outcome.now, endsAt }
    const origin = { ...serverRequest, now: outcome.now }
    const { seen } = outcome
    const state = new SessionState(rules, origin, { record, seen, credential })
    return { session: sessionOf<S>(services, state), token }
  } catch (error) {
    // Nobody can ever use it.
    await store.destroy(id)
    events.emit('session:ended', { id, reason: 'destroyed' })
    throw error
  }
}

function tellOpened(
  { events }: Services,
  id: string,
  userName: string,
  { ended = [] }: Extract<CreateOutcome, { status: 'created' }>,
): void {
  events.emit('session:created', { id, userName })
  events.emit('session:signedIn', { id, userName })
  for (const one of ended) events.emit('session:ended', { id: one, reason: 'exceeded' })
}

async function remoteDraft(services: Services, input: OpenInput): Promise<RecordDraft> {
  const { rules, settings } = services
  const { userName, applicationId, client = {}, idleTimeout, ...named } = { ...input }
  const unknown = Object.keys({ ...input }).find((name) => !inputNames.includes(name))
  if (unknown !== undefined) throw new TypeError(`open() takes ${inputNames.join(', ')} only`)
  if (typeof userName !== 'string' || userName === '' || userName.length > 256) {
    throw new TypeError('"userName" must be text of 1 to 256 characters')
  }
  if (
    typeof applicationId !== 'string' ||
    applicationId === '' ||
    cleanText(applicationId) !== applicationId
  ) {
    throw new TypeError('"applicationId" must be text of 1 to 64 plain bytes')
  }
  const grants = new Grants(nothingGranted, rules.roles, rules.onUndeclared)
  const grant = parseGrant(named)
  if (rules.privilegedTypes.has('remote')) grants.add(grant)
  const { machineName, systemUserName, appVersion, deviceModel } = client
  const { platform: system, systemVersion, persistentID, ip = '' } = client
  const said = { machineName, systemUserName, appVersion, deviceModel, systemVersion, persistentID }
  const address = addressOf(ip)
  const application = settings.applications.get(applicationId)
  return {
    type: 'remote',
    ip: address,
    client: await locateClient(
      services,
      address,
      completeClient({
        ...said,
        platform: system,
        applicationId,
        appName: application?.name,
        isOfficialApp: application?.official,
      }),
    ),
    idleTimeoutMs: idleTimeoutMs(services, idleTimeout),
    userName,
    privileges: grants.granted.privileges,
    roles: grants.granted.roles,
    storage: new Map(),
  }
}

function idleTimeoutMs({ settings }: Services, minutes: number | undefined): number {
  if (minutes === undefined) return settings.idleTimeoutMs
  if (typeof minutes !== 'number' || !Number.isFinite(minutes) || minutes > maxIdleTimeout) {
    throw new TypeError(`idleTimeout must be a number of minutes, at most ${maxIdleTimeout}`)
  }
  return Math.max(minutesToMs(minutes), settings.minIdleTimeoutMs)
}

/**
 * Finds the session of the server's own code, and makes it when it is not there yet.
 *
 * @param services Of the `Sessions`.
 */
export async function storedProcedure<S>(services: Services): Promise<Session<S>> {
  const { store, policy, rules } = services
  const credential = trustedCredential(storedProcedureId)
  let found = await store.load(credential, policy, false)
  if (!found) {
    const expiry = { ...policy.expiry, absoluteTimeoutMs: Infinity }
    const draft = storedProcedureDraft()
    // Another process may be first, which is as good.
    await store.create({ credential, draft, signsIn: false }, { ...policy, expiry })
    found = await store.load(credential, policy, false)
  }
  if (found?.status !== 'live') throw new SessionStoreError('the session could not be stored')
  const { record, seen, now } = found
  const state = new SessionState(rules, { ...serverRequest, now }, { record, seen, credential })
  return sessionOf<S>(services, state)
}

const systems: Readonly<Record<string, string>> = {
  win32: 'Windows',
  darwin: 'macOS',
  linux: 'Linux',
}

function storedProcedureDraft(): RecordDraft {
  return {
    type: 'storedProcedure',
    ip: '',
    client: completeClient({
      machineName: hostname(),
      platform: systems[platform()] ?? platform(),
    }),
    idleTimeoutMs: Infinity,
    // Its user is nobody who could sign in, and is in no list.
    userName: '',
    privileges: [],
    roles: [],
    storage: new Map(),
  }
}

function sessionOf<S>(services: Services, state: SessionState): Session<S> {
  return new Session<S>(new UnitOfWork(services, { state, carrier: noCarrier }))
}
