import { hostname, platform } from 'node:os'

import { completeClient, unknownClient } from '../client/description.ts'
import { noCarrier } from '../cookie/carrier.ts'
import { trustedCredential } from '../cookie/cookie.ts'
import { SessionStoreError } from '../errors/errors.ts'
import type { Deployment } from '../session/deployment.ts'
import { LiveSession } from '../session/live-session.ts'
import type { RequestFacts } from '../session/request-session.ts'
import { SessionState, type LoadedSession } from '../session/session-state.ts'
import { Session } from '../session/session.ts'
import type { RecordDraft } from '../store/record.ts'

/** The request of the server's own code. */
export const serverRequest: RequestFacts = {
  credentials: [],
  cookie: noCarrier,
  ip: '',
  header: () => '',
  describeClient: () => Promise.resolve(unknownClient),
  isActivity: () => true,
}

/** Makes a session for the server's own use. */
export function serverSession<S>(deployment: Deployment, loaded: LoadedSession): Session<S> {
  const origin = { request: serverRequest, now: loaded.now, token: undefined }
  const state = new SessionState(deployment, origin, loaded)
  return new Session<S>(new LiveSession(state, serverRequest))
}

/** Finds the stored-procedure session, or creates it. */
export async function storedProcedure<S>(deployment: Deployment): Promise<Session<S>> {
  const { store, settings } = deployment
  const { policy } = settings
  const credential = trustedCredential(deployment.storedProcedureId)
  let found = await store.load(credential, policy, false)
  if (!found) {
    const expiry = { ...policy.expiry, absoluteTimeoutMs: Infinity }
    const draft = storedProcedureDraft()
    // Another process may create it first, which is fine.
    await store.create({ credential, draft, signsIn: false }, { ...policy, expiry })
    found = await store.load(credential, policy, false)
  }
  if (found?.status !== 'live') throw new SessionStoreError('the session could not be stored')
  return serverSession<S>(deployment, { ...found, credential })
}

const systems: Readonly<Record<string, string>> = {
  win32: 'Windows',
  darwin: 'macOS',
  linux: 'Linux',
}

function storedProcedureDraft(): RecordDraft {
  const system = systems[platform()] ?? platform()
  return {
    type: 'storedProcedure',
    ip: '',
    client: completeClient({ machineName: hostname(), platform: system }),
    idleTimeoutMs: Infinity,
    // Its user cannot sign in, and is in no list.
    userName: '',
    privileges: [],
    roles: [],
    storage: new Map(),
  }
}
