import { printable } from '../errors/printable.ts'
import type { Sessions } from '../manager/sessions.ts'
import type { ActiveSession } from '../session/session-info.ts'
import type { CommandOptions, SessionCommandName } from './arguments.ts'
import { CommandFailure, exitCodes, type Answer } from './outcome.ts'
import { printableJson, tableOf } from './terminal.ts'

/** The input of a command about sessions. */
export interface SessionCommand {
  readonly subject: string
  readonly options: CommandOptions
  /** Connects for one job. Must not span a question, as the user may take long to answer. */
  readonly withSessions: <T>(job: (sessions: Sessions) => Promise<T>) => Promise<T>
  /** Asks the user a yes/no question. */
  readonly confirm: (question: string) => Promise<boolean>
}

/** The commands about sessions, by name. */
export const sessionCommands: Readonly<
  Record<SessionCommandName, (command: SessionCommand) => Promise<Answer>>
> = {
  async list({ subject, options, withSessions }) {
    const found = await withSessions((sessions) => sessions.list(subject))
    if (options.json) return done(printableJson(found))
    return done(found.length === 0 ? `${named(subject)} has no sessions` : tableOfSessions(found))
  },

  async info({ subject, options, withSessions }) {
    const info = await withSessions((sessions) => sessions.info(subject))
    if (!info) throw noSession()
    if (options.json) return done(printableJson(info))
    return done(tableOf(Object.entries(info).map(([name, value]) => [name, String(value)])))
  },

  async end({ subject, options, withSessions }) {
    if (!(await withSessions((sessions) => sessions.terminate(subject)))) throw noSession()
    return done(options.json ? printableJson({ ended: 1 }) : 'ended')
  },

  async 'end-all'({ subject, options, withSessions, confirm }) {
    const { length: count } = await withSessions((sessions) => sessions.list(subject))
    if (count > 1 && !options.yes) {
      const isMeant = await confirm(`End ${count} sessions of ${named(subject)}?`)
      if (!isMeant) return { text: 'nothing ended', exitCode: exitCodes.negative }
    }
    const ended = await withSessions((sessions) => sessions.terminateAll(subject))
    const words = ended === 1 ? '1 session ended' : `${ended} sessions ended`
    const exitCode = ended === 0 ? exitCodes.negative : exitCodes.done
    return { text: options.json ? printableJson({ ended }) : words, exitCode }
  },
}

function done(text: string): Answer {
  return { text, exitCode: exitCodes.done }
}

function noSession(): CommandFailure {
  return new CommandFailure('there is no such session', exitCodes.negative)
}

function named(userName: string): string {
  return printable(JSON.stringify(userName))
}

function tableOfSessions(sessions: readonly ActiveSession[]): string {
  const head = ['ID', 'SIGNED IN', 'LAST USED', 'APPLICATION', 'DEVICE', 'ADDRESS', 'PLACE']
  const rows = sessions.map((session) => [
    session.id,
    dateOf(session.dateCreated),
    dateOf(session.dateActive),
    joined(session.appName || session.appId, session.appVersion),
    joined(session.deviceModel, session.platform, session.systemVersion),
    session.ip,
    joined(session.region, session.country),
  ])
  return tableOf([head, ...rows])
}

function dateOf(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace('.000', '')
}

function joined(...texts: readonly string[]): string {
  return texts.filter((text) => text !== '').join(' ')
}
