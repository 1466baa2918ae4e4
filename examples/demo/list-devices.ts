import type { ActiveSession, Sessions } from 'koa-user-sessions'

import type { Device } from './device-words.ts'
import type { ShopStorage } from './shop.ts'

/** A user's devices, as `sessions.list()` has them, with the names of their machines. */
export async function listDevices(
  sessions: Sessions<ShopStorage>,
  userName: string,
  current: { readonly id: string },
): Promise<Device[]> {
  const list = await sessions.list(userName, { current })
  return Promise.all(list.map((session) => withMachine(sessions, session)))
}

async function withMachine(
  sessions: Sessions<ShopStorage>,
  session: ActiveSession,
): Promise<Device> {
  // Browsers do not tell it.
  if (session.appId === '') return session
  const info = await sessions.info(session.id)
  return { ...session, machineName: info?.machineName ?? '' }
}
