import type { SessionRecord, SessionSummary, SessionType } from '../store/record.ts'
import { systemUser, typeRules } from './session-types.ts'

/** Whether a client is using its session. */
export type SessionActivity =
  /** Used in the last minute, or up to `refreshSeconds` earlier. */
  | 'active'
  /** The client has announced that it suspends, and has not returned. */
  | 'postponed'
  /** Used longer ago. */
  | 'sleeping'

/** What is known of a session, under 4D's names. Unknown texts are `''`. */
export interface SessionInfo {
  /** Who or what is behind the session. */
  readonly type: SessionType
  /** Same as `session.userName`. */
  readonly userName: string
  /** The client machine's name; `''` for browsers. */
  readonly machineName: string
  /** The user of the client's operating system; `''` for browsers. */
  readonly systemUserName: string
  /** The client's IP address when the session was created. */
  readonly IPAddress: string
  /** The client's system; `browser` for web sessions. */
  readonly hostType: 'browser' | 'windows' | 'mac' | 'linux' | 'ios' | 'android' | 'other'
  /** When the session was created: ISO 8601 with milliseconds, UTC. */
  readonly creationDateTime: string
  /** Whether the client uses the session. */
  readonly state: SessionActivity
  /** Same as `session.id`. */
  readonly ID: string
  /** The client installation's own id if it gave one, else the same as `ID`. */
  readonly persistentID: string
}

/** One live session of a user, as a list of devices shows it. Unknown texts are `''`. */
export interface ActiveSession {
  /** The session's id, for `terminate()`. */
  readonly id: string
  /** Whether it is the caller's own session. */
  readonly isCurrent: boolean
  /** The application's id in the option `applications`. */
  readonly appId: string
  /** The application or browser, such as `Firefox`. */
  readonly appName: string
  /** Its version, such as `131`. */
  readonly appVersion: string
  /** Whether the option `applications` marks it as official. */
  readonly isOfficialApp: boolean
  /** Such as `iPhone`. */
  readonly deviceModel: string
  /** The operating system, such as `Windows`. */
  readonly platform: string
  /** Its version, such as `11`. */
  readonly systemVersion: string
  /** When the user signed in, in seconds since 1970. */
  readonly dateCreated: number
  /** When the session was last used, in seconds since 1970; up to `refreshSeconds` too early. */
  readonly dateActive: number
  /** The client's IP address when the session was created. */
  readonly ip: string
  /** The country of that address, as the option `locate` gave it then. */
  readonly country: string
  /** The region within the country. */
  readonly region: string
}

export function infoOf(
  session: Pick<SessionRecord, 'id' | 'type' | 'userName' | 'ip' | 'client' | 'createdAt'>,
  state: SessionActivity,
): SessionInfo {
  const { id, type, userName, ip, client, createdAt } = session
  const hostType = hostTypes.get(client.platform.toLowerCase()) ?? 'other'
  return {
    type,
    userName: typeRules[type].user === 'server' ? systemUser : userName,
    machineName: client.machineName,
    systemUserName: client.systemUserName,
    IPAddress: ip,
    hostType: typeRules[type].hasCookie ? 'browser' : hostType,
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

const activeForMs = 60_000

/** @param refreshMs By how much the recorded activity may be too early. */
export function activityOf(
  summary: Pick<SessionSummary, 'isPostponed' | 'activeAt' | 'now' | 'idleTimeoutMs'>,
  refreshMs: number,
): SessionActivity {
  const { isPostponed, activeAt, now, idleTimeoutMs } = summary
  if (isPostponed) return 'postponed'
  // The activity of a session that never expires is not recorded.
  if (idleTimeoutMs === Infinity) return 'active'
  return now - activeAt <= activeForMs + refreshMs ? 'active' : 'sleeping'
}

/** Returns a user's sessions for a list: the current one first, then the most recently active. */
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
    // The caller is active now.
    dateActive: inSeconds(isCurrent ? now : Math.max(activeAt, signedInAt)),
    ip,
    country: client.country,
    region: client.region,
  }
}

function inSeconds(ms: number): number {
  return Math.floor(ms / 1000)
}
