import type { ClientDescription } from '../client/description.ts'
import type { SessionSummary, SessionType } from '../store/record.ts'
import { systemUser, typeRules } from './session-types.ts'

/** Whether a client is using its session. */
export type SessionActivity =
  /** It was used in the last minute, give or take `refreshSeconds`. */
  | 'active'
  /** The client has said that it suspends, and has not come back. */
  | 'postponed'
  /** It was used longer ago. */
  | 'sleeping'

/** What is known of a session, with 4D's names. Unknown texts are `''`. */
export interface SessionInfo {
  /** The kind of session. */
  readonly type: SessionType
  /** Same as `session.userName`. */
  readonly userName: string
  /** The client machine's name; `''` for browsers. */
  readonly machineName: string
  /** The user that is signed in to the client's operating system; `''` for browsers. */
  readonly systemUserName: string
  /** The client's IP address when the session was made. */
  readonly IPAddress: string
  /** What the client runs on; `browser` for web sessions. */
  readonly hostType: 'browser' | 'windows' | 'mac' | 'linux' | 'ios' | 'android' | 'other'
  /** When the session was made, ISO 8601 with milliseconds, UTC. */
  readonly creationDateTime: string
  /** Whether the client is using the session. */
  readonly state: SessionActivity
  /** Same as `session.id`. */
  readonly ID: string
  /** Made with the session and kept for its life. */
  readonly persistentID: string
}

/** One live session of a user, as lists of devices show it. Unknown texts are `''`. */
export interface ActiveSession {
  /** Of the session, for `terminate()`. */
  readonly id: string
  /** Whether it is the session that asks. */
  readonly isCurrent: boolean
  /** The application's id, by which the `applications` option knows it. */
  readonly appId: string
  /** The application or browser, such as `Firefox`. */
  readonly appName: string
  /** Its version, such as `131`. */
  readonly appVersion: string
  /** Whether the `applications` option calls it official. */
  readonly isOfficialApp: boolean
  /** Such as `iPhone`. */
  readonly deviceModel: string
  /** The operating system, such as `Windows`. */
  readonly platform: string
  /** Its version, such as `11`. */
  readonly systemVersion: string
  /** When the user signed in. Seconds since 1970. */
  readonly dateCreated: number
  /** When the session was last used, `refreshSeconds` before it at most. Seconds since 1970. */
  readonly dateActive: number
  /** The client's IP address when the session was made. */
  readonly ip: string
  /** Where that is, as the `locate` option said then. */
  readonly country: string
  /** A part of the country. */
  readonly region: string
}

/** What {@link infoOf} needs of a session. */
export interface KnownSession {
  readonly id: string
  readonly type: SessionType
  readonly userName: string
  readonly ip: string
  readonly client: ClientDescription
  /** Epoch milliseconds. */
  readonly createdAt: number
}

/**
 * The info of a session.
 *
 * @param session What is known of it.
 * @param state Whether it is used.
 */
export function infoOf(session: KnownSession, state: SessionActivity): SessionInfo {
  const { id, type, userName, ip, client, createdAt } = session
  return {
    type,
    userName: typeRules[type].user === 'server' ? systemUser : userName,
    machineName: client.machineName,
    systemUserName: client.systemUserName,
    IPAddress: ip,
    hostType: hostTypeOf(type, client.platform),
    creationDateTime: new Date(createdAt).toISOString(),
    state,
    ID: id,
    persistentID: client.persistentID || id,
  }
}

const hostTypes: ReadonlyMap<string, SessionInfo['hostType']> = new Map([
  ['windows', 'windows'],
  ['macos', 'mac'],
  ['mac', 'mac'],
  ['linux', 'linux'],
  ['ios', 'ios'],
  ['ipados', 'ios'],
  ['android', 'android'],
])

function hostTypeOf(type: SessionType, platform: string): SessionInfo['hostType'] {
  if (typeRules[type].hasCookie) return 'browser'
  return hostTypes.get(platform.toLowerCase()) ?? 'other'
}

const activeForMs = 60_000

/**
 * Whether a stored session is used.
 *
 * @param summary As the store has it.
 * @param refreshMs By how much its last activity may be told too early.
 */
export function activityOf(
  summary: Pick<SessionSummary, 'isPostponed' | 'activeAt' | 'now' | 'idleTimeoutMs'>,
  refreshMs: number,
): SessionActivity {
  const { isPostponed, activeAt, now, idleTimeoutMs } = summary
  if (isPostponed) return 'postponed'
  // Nothing notes the activity of one that never expires.
  if (idleTimeoutMs === Infinity) return 'active'
  return now - activeAt <= activeForMs + refreshMs ? 'active' : 'sleeping'
}

/**
 * A user's sessions as lists show them: the current one first, then the most recently active.
 *
 * @param summaries As the store has them.
 * @param currentId Which one asks, if any.
 */
export function activeSessions(
  summaries: readonly SessionSummary[],
  currentId: string | undefined,
): ActiveSession[] {
  const sessions = summaries.map((summary) => activeSession(summary, summary.id === currentId))
  return sessions.toSorted(
    (one, other) =>
      Number(other.isCurrent) - Number(one.isCurrent) ||
      other.dateActive - one.dateActive ||
      other.dateCreated - one.dateCreated ||
      (one.id < other.id ? -1 : 1),
  )
}

function activeSession(summary: SessionSummary, isCurrent: boolean): ActiveSession {
  const { id, client, signedInAt, createdAt, activeAt, now, ip } = summary
  return {
    id,
    isCurrent,
    appId: client.applicationId,
    appName: client.appName,
    appVersion: client.appVersion,
    isOfficialApp: client.isOfficialApp,
    deviceModel: client.deviceModel,
    platform: client.platform,
    systemVersion: client.systemVersion,
    dateCreated: inSeconds(signedInAt || createdAt),
    // Whoever asks is active now.
    dateActive: inSeconds(isCurrent ? now : Math.max(activeAt, signedInAt)),
    ip,
    country: client.country,
    region: client.region,
  }
}

function inSeconds(ms: number): number {
  return Math.floor(ms / 1000)
}
