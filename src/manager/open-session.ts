import { locateClient } from '../client/describe-client.ts'
import { cleanText, completeClient } from '../client/description.ts'
import { newSessionId, trustedCredential } from '../cookie/cookie.ts'
import { SessionLimitError, SessionStoreError } from '../errors/errors.ts'
import { Grants, nothingGranted } from '../privileges/grants.ts'
import { parseGrant, type PrivilegeSettings } from '../privileges/privileges.ts'
import type { Deployment } from '../session/deployment.ts'
import { addressOf } from '../session/request-session.ts'
import type { Session } from '../session/session.ts'
import { maxIdleTimeout, minutesToMs } from '../store/expiry.ts'
import type { RecordDraft } from '../store/record.ts'
import type { CreateOutcome } from '../store/session-store.ts'
import { serverSession } from './server-session.ts'

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

/**
 * Opens a remote session.
 *
 * @param deployment Of the `Sessions`.
 * @param input What the app gave.
 */
export async function openSession<S>(
  deployment: Deployment,
  input: OpenInput,
): Promise<OpenedSession<S>> {
  const { tokens, store, settings, events } = deployment
  const { policy } = settings
  if (!tokens) throw new TypeError('open() needs the option "tokens"')
  const id = newSessionId()
  const draft = await remoteDraft(deployment, input)
  const { userName } = draft
  const credential = trustedCredential(id)
  const outcome = await store.create({ credential, draft, signsIn: true }, policy)
  if (outcome.status === 'refused') {
    const error = new SessionLimitError()
    events.emit('session:refused', { userName, code: error.code })
    throw error
  }
  if (outcome.status !== 'created') throw new SessionStoreError('the session could not be stored')
  tellOpened(deployment, id, userName, outcome)
  try {
    const endsAt = outcome.now + policy.expiry.absoluteTimeoutMs
    const { applicationId } = input
    const exp = tokens.expiry(endsAt)
    const token = await tokens.issue(
      { sub: userName, sid: id, exp, client_id: applicationId },
      false,
    )
    const { seen, now } = outcome
    const record = { ...draft, id, createdAt: now, signedInAt: now, endsAt }
    return { session: serverSession<S>(deployment, { record, seen, now, credential }), token }
  } catch (error) {
    // Nobody can ever use it.
    await store.destroy(id)
    events.emit('session:ended', { id, reason: 'destroyed' })
    throw error
  }
}

function tellOpened(
  { events }: Deployment,
  id: string,
  userName: string,
  { ended = [] }: Extract<CreateOutcome, { status: 'created' }>,
): void {
  events.emit('session:created', { id, userName })
  events.emit('session:signedIn', { id, userName })
  for (const one of ended) events.emit('session:ended', { id: one, reason: 'exceeded' })
}

async function remoteDraft(deployment: Deployment, input: OpenInput): Promise<RecordDraft> {
  const { settings, onUndeclared } = deployment
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
  const grants = new Grants(nothingGranted, settings.roles, onUndeclared)
  const grant = parseGrant(named)
  if (settings.privilegedTypes.has('remote')) grants.add(grant)
  const { machineName, systemUserName, appVersion, deviceModel } = client
  const { platform: system, systemVersion, persistentID, ip = '' } = client
  const said = { machineName, systemUserName, appVersion, deviceModel, systemVersion, persistentID }
  const address = addressOf(ip)
  const application = settings.applications.get(applicationId)
  return {
    type: 'remote',
    ip: address,
    client: await locateClient(
      deployment,
      address,
      completeClient({
        ...said,
        platform: system,
        applicationId,
        appName: application?.name,
        isOfficialApp: application?.official,
      }),
    ),
    idleTimeoutMs: idleTimeoutMs(deployment, idleTimeout),
    userName,
    privileges: grants.granted.privileges,
    roles: grants.granted.roles,
    storage: new Map(),
  }
}

function idleTimeoutMs({ settings }: Deployment, minutes: number | undefined): number {
  if (minutes === undefined) return settings.idleTimeoutMs
  if (typeof minutes !== 'number' || !Number.isFinite(minutes) || minutes > maxIdleTimeout) {
    throw new TypeError(`idleTimeout must be a number of minutes, at most ${maxIdleTimeout}`)
  }
  return Math.max(minutesToMs(minutes), settings.minIdleTimeoutMs)
}
