// A store of an app's own, written with the rules of the packed package; compiled like the app.

import { changeSession, newSession, decodeSession } from 'koa-user-sessions/store'
import { encodeSession, endedBySignIn, expiryOf, summaryOf } from 'koa-user-sessions/store'
import type { CommitOutcome, SessionStore, StoredSession } from 'koa-user-sessions/store'
import { describeSessionStore } from 'koa-user-sessions/store-contract'
import type { StoreHarness, TestRunner } from 'koa-user-sessions/store-contract'

const texts = new Map<string, string>()
const nowOf = (session: StoredSession): number => summaryOf(session, Date.now()).now

export const create: SessionStore['create'] = async (session, policy) => {
  const now = Date.now()
  const stored = newSession(session, now, policy)
  if (!stored) return { status: 'tooLarge' }
  const ended: readonly string[] | undefined = endedBySignIn('id', [], policy.maxSessions)
  if (!ended) return { status: 'refused' }
  const until: number = expiryOf(stored, policy.expiry)
  texts.set(session.credential.id, encodeSession(stored))
  return { status: 'created', now: Math.min(now, until), ended }
}

export const commit: SessionStore['commit'] = async (credential, commit, policy) => {
  const session = decodeSession('id', texts.get('id') ?? '')
  if (!session) return { status: 'ended' }
  const change = changeSession(session, credential, commit, { now: Date.now(), policy })
  // @ts-expect-error not every change has a session
  void change.session
  const outcome: CommitOutcome =
    change.status === 'ended' ? change : { status: 'committed', now: nowOf(session) }
  return outcome
}

export const test = (harness: StoreHarness, runner: TestRunner): void => {
  describeSessionStore('own', () => harness, runner)
  // @ts-expect-error no store
  describeSessionStore('own', () => ({ passTime: async () => {} }), runner)
  // @ts-expect-error no runner
  describeSessionStore('own', () => harness)
}
