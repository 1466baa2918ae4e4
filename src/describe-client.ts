import { describeBrowser } from './client/browser.ts'
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
  const { settings, warnOnce } = services
  const known = async (
    name: 'locate' | 'describeClient',
    base: ClientDescription,
    callback: () => KnownOfClient | ClientAddition | Promise<KnownOfClient | ClientAddition>,
  ): Promise<ClientDescription> => {
    try {
      return completeClient((await callback()) ?? undefined, base)
    } catch {
      warnOnce(name, `the option "${name}" has thrown: what it could tell of a client is missing`)
      return base
    }
  }
  const browser = completeClient(describeBrowser(header))
  const located = await known('locate', browser, async () => {
    const place = ip === '' ? undefined : await settings.locate?.(ip)
    return { country: place?.country, region: place?.region }
  })
  const client = await known('describeClient', located, () =>
    settings.describeClient?.(ctx, located),
  )
  const application = settings.applications.get(client.applicationId)
  if (!application) return client
  return { ...client, appName: application.name, isOfficialApp: application.official }
}
