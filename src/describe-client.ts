import { browserOf } from './client/browser.ts'
import { completeClient } from './core/client.ts'
import type { ClientDescription, HeaderReader, KnownOfClient } from './core/client.ts'
import type { ClientAddition, RequestContext } from './options.ts'
import type { Services } from './services.ts'

/** What a client is described by. */
export interface ClientRequest {
  readonly header: HeaderReader
  /** The client's IP address; `''` when not known. */
  readonly ip: string
  readonly ctx: RequestContext
}

/**
 * Finds out who a request's client is: what its headers tell, where its address is, and what the
 * app adds. Never rejects: what a callback of the app throws is warned of once and adds nothing.
 *
 * @param services Of the `Sessions`.
 * @param request The request.
 */
export async function describeClient(
  services: Services,
  { header, ip, ctx }: ClientRequest,
): Promise<ClientDescription> {
  const { settings } = services
  const located = await locateClient(services, ip, browserOf(header))
  const describe = settings.describeClient
  const client = describe
    ? await known(services, 'describeClient', located, () => describe(ctx, located))
    : located
  const application = settings.applications.get(client.applicationId)
  if (!application) return client
  return { ...client, appName: application.name, isOfficialApp: application.official }
}

/**
 * Adds where a client is.
 *
 * @param services Of the `Sessions`.
 * @param ip Its address; `''` when not known.
 * @param client What is known of it.
 */
export async function locateClient(
  services: Services,
  ip: string,
  client: ClientDescription,
): Promise<ClientDescription> {
  const { locate } = services.settings
  if (!locate || ip === '') return client
  return known(services, 'locate', client, async () => {
    const place = await locate(ip)
    return { country: place?.country, region: place?.region }
  })
}

/** Adds what a callback of the app knows. */
async function known(
  { warnOnce }: Services,
  name: 'locate' | 'describeClient',
  base: ClientDescription,
  callback: () => KnownOfClient | ClientAddition | Promise<KnownOfClient | ClientAddition>,
): Promise<ClientDescription> {
  try {
    return completeClient((await callback()) ?? undefined, base)
  } catch {
    warnOnce(name, `the option "${name}" has thrown: what it could tell of a client is missing`)
    return base
  }
}
