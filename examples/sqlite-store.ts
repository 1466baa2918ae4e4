// A store of your own: sessions in a SQLite file. They survive a restart, and several processes on
// one machine can share them. The package has the rules as pure functions; the store runs them in a
// transaction. It uses only what `node:sqlite` of Node 22.13 and better-sqlite3 have in common.
//
//   npx tsx --tsconfig test/tsconfig.json examples/sqlite-store.ts
//
//   curl -c jar -b jar -X POST localhost:3000/visits      1
//   curl -c jar -b jar -X POST localhost:3000/visits      2; then restart the program:
//   curl -c jar -b jar -X POST localhost:3000/visits      3

import { DatabaseSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'

import Koa from 'koa'
import { session } from 'koa-user-sessions'
import * as rules from 'koa-user-sessions/store'
import type { LockState, SessionStore, StoredSession, StorePolicy } from 'koa-user-sessions/store'

/** The part of a connection that is used. */
export interface Database {
  exec(sql: string): unknown
  prepare(sql: string): {
    run(...values: (string | number)[]): unknown
    get(...values: (string | number)[]): unknown
    all(...values: (string | number)[]): unknown[]
  }
}

// `busy_timeout`: for how long a process waits for another one, and does nothing else, in ms.
// `synchronous`: the end of a process undoes nothing, but a power cut may undo the last moments.
// `number`: the order of sign-ins; a row that is put in anew gets the highest one.
const schema = `
  PRAGMA busy_timeout = 5000;
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = NORMAL;
  CREATE TABLE IF NOT EXISTS sessions (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, text TEXT NOT NULL,
    user TEXT NOT NULL, expires_at REAL NOT NULL, lock TEXT NOT NULL
  );
  CREATE INDEX IF NOT EXISTS sessions_by_user ON sessions (user);
  CREATE INDEX IF NOT EXISTS sessions_by_expiry ON sessions (expires_at);`
const columns = 'SELECT id, text, lock FROM sessions'
const upsert = `
  INSERT INTO sessions (id, text, user, expires_at, lock) VALUES (?, ?, ?, ?, ?)
  ON CONFLICT (id) DO UPDATE SET text = excluded.text, user = excluded.user,
    expires_at = excluded.expires_at, lock = excluded.lock`
const sweepMs = 60_000

export class SQLiteStore implements SessionStore {
  readonly #database: Database
  readonly #statements
  #sweepAt = 0

  /** @param database A connection that nothing else uses. */
  constructor(database: Database) {
    database.exec(schema)
    this.#database = database
    this.#statements = {
      find: database.prepare(`${columns} WHERE id = ? AND expires_at > ?`),
      list: database.prepare(`${columns} WHERE user = ? AND expires_at > ? ORDER BY number`),
      write: database.prepare(upsert),
      setLock: database.prepare('UPDATE sessions SET lock = ? WHERE id = ?'),
      remove: database.prepare('DELETE FROM sessions WHERE id = ?'),
      sweep: database.prepare('DELETE FROM sessions WHERE expires_at <= ?'),
    }
  }

  create: SessionStore['create'] = async (newSession, policy) =>
    this.#transaction((now) => {
      const { credential, draft } = newSession
      if (this.#find(credential.id, now)) return { status: 'exists' }
      const stored = rules.newSession(newSession, now, policy)
      if (!stored) return { status: 'tooLarge' }
      const ended = this.#signIn(draft.userName, credential.id, { now, policy })
      if (!ended) return { status: 'refused' }
      this.#write(stored, {}, policy)
      return { status: 'created', now, ...(ended.length > 0 && { ended }) }
    })

  load: SessionStore['load'] = async (credential, policy, isActivity) => {
    const now = Date.now()
    const row = this.#find(credential.id, now)
    if (!row) return undefined
    if (!row.session) return { status: 'unreadable' }
    const opening = rules.openingOf(row.session, credential, now)
    if (opening !== 'good') return opening && { status: opening }
    const isDue = isActivity && rules.isRefreshDue(row.session, now, policy.expiry)
    const isLonger = isDue && this.#refresh(credential.id, policy)
    const { record, activeAt, isPostponed } = row.session
    const refreshed = isLonger && record.idleTimeoutMs < Infinity
    return { status: 'live', record, now, activeAt, isPostponed, refreshed }
  }

  commit: SessionStore['commit'] = async (credential, commit, policy) =>
    this.#transaction((now) => {
      const row = this.#find(credential.id, now)
      if (!row?.session) return { status: 'ended' }
      const change = rules.changeSession(row.session, credential, commit, { now, policy })
      if (change.status === 'ended' || change.status === 'rotated') return change
      const lock = commit.lock ? rules.extendLock(row.lock, commit.lock, now) : row.lock
      if (!lock) return { status: 'unlocked' }
      if (change.status === 'tooLarge') return change
      // What the server itself changes, by `ownedBy`, is no sign-in.
      const newUser = commit.ownedBy === undefined ? (commit.grants?.userName ?? '') : ''
      const ended = this.#signIn(newUser, credential.id, { now, policy })
      if (!ended) return { status: 'refused' }
      this.#write(change.session, lock, policy)
      if (change.status === 'merged') return { status: 'merged', now }
      const tells = commit.redeemsOTP !== undefined || Boolean(commit.lock?.leaseMs)
      const record = tells ? change.session.record : undefined
      return { status: 'committed', now, record, ...(ended.length > 0 && { ended }) }
    })

  lock: SessionStore['lock'] = async (credential, lock) =>
    this.#transaction((now) => {
      const row = this.#find(credential.id, now)
      const opening = row?.session && rules.openingOf(row.session, credential, now)
      if (!row?.session || opening !== 'good') return undefined
      const { isLocked, state } = rules.askForLock(row.lock, lock, now)
      this.#statements.setLock.run(JSON.stringify(state), credential.id)
      if (!isLocked) return { status: 'busy' }
      return { status: 'locked', record: row.session.record, now }
    })

  list: SessionStore['list'] = async (userName) => {
    const now = Date.now()
    return this.#sessionsOf(userName, now).map((stored) => rules.summaryOf(stored, now))
  }

  destroy: SessionStore['destroy'] = async (id, userName) =>
    this.#transaction((now) => {
      const owner = this.#find(id, now)?.session?.record.userName
      if (owner === undefined || owner !== (userName ?? owner)) return false
      this.#statements.remove.run(id)
      return true
    })

  // The connection is the app's, which closes it.
  close: SessionStore['close'] = async () => {}

  /** One process at a time. */
  #transaction<T>(work: (now: number) => T): T {
    this.#database.exec('BEGIN IMMEDIATE')
    try {
      const now = Date.now()
      if (now >= this.#sweepAt) {
        this.#statements.sweep.run(now)
        this.#sweepAt = now + sweepMs
      }
      const result = work(now)
      this.#database.exec('COMMIT')
      return result
    } catch (error) {
      this.#database.exec('ROLLBACK')
      throw error
    }
  }

  /** Makes a session its user's last one, and ends others for it. `undefined` when it is refused. */
  #signIn(
    userName: string,
    id: string,
    { now, policy }: { readonly now: number; readonly policy: StorePolicy },
  ): readonly string[] | undefined {
    if (userName === '') return []
    const sessions = policy.maxSessions ? this.#sessionsOf(userName, now) : []
    const ids = sessions.map(({ record }) => record.id)
    const ended = rules.endedBySignIn(id, ids, policy.maxSessions)
    for (const other of ended ? [id, ...ended] : []) this.#statements.remove.run(other)
    return ended
  }

  /** A refresh that fails does not fail the load. */
  #refresh(id: string, policy: StorePolicy): boolean {
    try {
      return this.#transaction((now) => {
        const row = this.#find(id, now)
        if (row?.session) this.#write(rules.refreshed(row.session, now), row.lock, policy)
        return row !== undefined
      })
    } catch {
      return false
    }
  }

  #find(id: string, now: number): Row | undefined {
    return [this.#statements.find.get(id, now)].filter(isColumns).map(rowOf)[0]
  }

  #sessionsOf(userName: string, now: number): readonly StoredSession[] {
    const rows = this.#statements.list.all(JSON.stringify(userName), now).filter(isColumns)
    return rows.flatMap((columns) => rowOf(columns).session ?? [])
  }

  #write(session: StoredSession, lock: LockState, policy: StorePolicy): void {
    const { id, userName } = session.record
    const expiresAt = rules.expiryOf(session, policy.expiry)
    // As JSON, as different names may be one text to SQLite; guests have none.
    const user = userName && JSON.stringify(userName)
    const text = rules.encodeSession(session)
    this.#statements.write.run(id, text, user, expiresAt, JSON.stringify(lock))
  }
}

interface Row {
  /** `undefined` when this version cannot read it. */
  readonly session: StoredSession | undefined
  readonly lock: LockState
}

type Columns = Readonly<Record<'id' | 'text' | 'lock', string>>

function isColumns(found: unknown): found is Columns {
  return typeof found === 'object' && found !== null
}

function rowOf({ id, text, lock }: Columns): Row {
  return { session: rules.decodeSession(id, text), lock: JSON.parse(lock) }
}

const database = new DatabaseSync(process.env['SESSIONS_FILE'] ?? 'sessions.db')
export const app = new Koa()

app.use(session({ store: new SQLiteStore(database) }))
app.use((ctx) => {
  if (ctx.path !== '/visits' || ctx.method !== 'POST') return
  const { storage } = ctx.session
  storage['visits'] = Number(storage['visits'] ?? 0) + 1
  ctx.body = String(storage['visits'])
})

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  app.listen(3000, () => console.log('http://localhost:3000'))
}
