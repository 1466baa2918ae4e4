import { locateClient } from '../client/describe-client.ts'
import { cleanText, completeClient } from '../client/description.ts'
import { newSessionId, trustedCredential } from '../cookie/cookie.ts'
import { SessionLimitError, SessionStoreError } from '../errors/errors.ts'
import { Grants, nothingGranted } from '../privileges/grants.ts'
import { parseGrant, type PrivilegeSettings } from '../privileges/privileges.ts'
import type { Deployment } from '../session/deployment.ts'
import { addressOf } from '../session/request-session.ts'
import { idleTimeoutMsOf } from '../session/session-times.ts'
import type { Session } from '../session/session.ts'
import type { RecordDraft } from '../store/record.ts'
import { serverSession } from './server-session.ts'

/** What a remote client says about itself. Texts are cleaned and cut to 64 bytes. */
export interface RemoteClient {
  /** The machine's name. */
  readonly machineName?: string
  /** The user of the machine's operating system. */
  readonly systemUserName?: string
  /** The application's version, such as `2.4`. */
  readonly appVersion?: string
  /** Such as `MacBook Air`. */
  readonly deviceModel?: string
  /** The operating system, such as `Windows`, `macOS`, `Linux`, `iOS` or `Android`. */
  readonly platform?: string
  /** Its version. */
  readonly systemVersion?: string
  /** The installation's own id, which identifies the device over time. */
  readonly persistentID?: string
  /** The client's IP address, as the server sees it. */
  readonly ip?: string
}

/** The argument of `sessions.open()`. */
export interface OpenInput {
  /** The session's user for all its life: text of 1 to 256 characters. */
  readonly userName: string
  /** The application that opens it, by its id in the option `applications`: 1 to 64 bytes. */
  readonly applicationId: string
  /** What the client says of itself. */
  readonly client?: RemoteClient
  /** In the forms of `setPrivileges()`; ignored where remote sessions cannot have privileges. */
  readonly privileges?: PrivilegeSettings['privileges']
  /** As `privileges`. */
  readonly roles?: PrivilegeSettings['roles']
  /** Minutes, as in `session.idleTimeout`. By default the option `idleTimeout`. */
  readonly idleTimeout?: number
}

/** What `sessions.open()` returns. */
export interface OpenedSession<S> {
  /** The new session, for the server's own use. */
  readonly session: Session<S>
  /** For the client only: it admits anyone who has it. */
  readonly token: string
}

const inputNames = ['userName', 'applicationId', 'client', 'privileges', 'roles', 'idleTimeout']

/** Opens a remote session; see `Sessions.open()`. */
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
  const { seen, now, ended = [] } = outcome
  events.emit('session:created', { id, userName })
  events.emit('session:signedIn', { id, userName })
  for (const one of ended) events.emit('session:ended', { id: one, reason: 'exceeded' })
  try {
    const endsAt = now + policy.expiry.absoluteTimeoutMs
    const exp = tokens.expiry(endsAt)
    const claims = { sub: userName, sid: id, exp, client_id: input.applicationId }
    const token = await tokens.issue(claims, false)
    const record = { ...draft, id, createdAt: now, signedInAt: now, endsAt, generation: 0 }
    return { session: serverSession<S>(deployment, { record, seen, now, credential }), token }
  } catch (error) {
    // Without a token it cannot be used.
    await store.destroy(id)
    events.emit('session:ended', { id, reason: 'destroyed' })
    throw error
  }
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
    !applicationId ||
    cleanText(applicationId) !== applicationId
  ) {
    throw new TypeError('"applicationId" must be text of 1 to 64 plain bytes')
  }
  const grants = new Grants(nothingGranted, settings.roles, onUndeclared)
  const grant = parseGrant(named)
  if (settings.privilegedTypes.has('remote')) grants.add(grant)
  const { machineName, systemUserName, appVersion, deviceModel } = client
  const { platform, systemVersion, persistentID, ip: address = '' } = client
  const ip = addressOf(address)
  const application = settings.applications.get(applicationId)
  const described = completeClient({
    machineName,
    systemUserName,
    appVersion,
    deviceModel,
    platform,
    systemVersion,
    persistentID,
    applicationId,
    appName: application?.name,
    isOfficialApp: application?.official,
  })
  return {
    type: 'remote',
    ip,
    client: await locateClient(deployment, ip, described),
    idleTimeoutMs:
      idleTimeout === undefined ? settings.idleTimeoutMs : idleTimeoutMsOf(idleTimeout, settings),
    userName,
    privileges: grants.granted.privileges,
    roles: grants.granted.roles,
    storage: new Map(),
  }
}
