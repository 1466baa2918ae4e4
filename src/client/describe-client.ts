import { browserOf } from './browser.ts'
import { completeClient } from './description.ts'
import type { ClientDescription, HeaderReader, KnownOfClient } from './description.ts'

/** What kind of client a session has; exactly one of them. */
export type ClientKind = 'web' | 'desktop' | 'other'

/** What callbacks among the options get of a request: Koa's context has all of it. */
export interface RequestContext {
  /** The path of the URL, without its query. */
  readonly path: string
  /** The HTTP method in capitals, such as `GET`. */
  readonly method: string
  /** The parsed query of the URL: an array where a name is there more than once. */
  readonly query: Readonly<Record<string, string | string[] | undefined>>
  /** Reads a header by its name in any case; `''` when it is missing. */
  get(header: string): string
}

/** What one application is. */
export interface Application {
  /** What lists of sessions call it. */
  readonly name: string
  /** What kind of client it is. */
  readonly client: ClientKind
  /**
   * Whether it is one of the app's own.
   *
   * @default false
   */
  readonly official?: boolean
}

/** Where an address is; what is not known may be left out. */
export interface ClientLocation {
  /** Such as `CH`. */
  readonly country?: string | undefined
  /** A part of the country, such as `Zürich`. */
  readonly region?: string | undefined
}

/** What `describeClient` answers: what it knows, or nothing. */
export type ClientAddition = KnownOfClient | null | undefined | void

/** What the app says of clients. */
export interface ClientSources {
  readonly settings: {
    readonly applications: ReadonlyMap<string, Required<Application>>
    readonly locate?:
      | ((
          ip: string,
        ) => ClientLocation | null | undefined | Promise<ClientLocation | null | undefined>)
      | undefined
    readonly describeClient?:
      | ((
          ctx: RequestContext,
          client: ClientDescription,
        ) => ClientAddition | Promise<ClientAddition>)
      | undefined
  }
  /** Warns the process, once a topic. */
  readonly warnOnce: (topic: string, message: string) => void
}

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
 * @param sources What the app says of clients.
 * @param request The request.
 */
export async function describeClient(
  sources: ClientSources,
  { header, ip, ctx }: ClientRequest,
): Promise<ClientDescription> {
  const { settings } = sources
  const located = await locateClient(sources, ip, browserOf(header))
  const describe = settings.describeClient
  const client = describe
    ? await known(sources, 'describeClient', located, () => describe(ctx, located))
    : located
  const application = settings.applications.get(client.applicationId)
  if (!application) return client
  return { ...client, appName: application.name, isOfficialApp: application.official }
}

/**
 * Adds where a client is.
 *
 * @param sources What the app says of clients.
 * @param ip Its address; `''` when not known.
 * @param client What is known of it.
 */
export async function locateClient(
  sources: ClientSources,
  ip: string,
  client: ClientDescription,
): Promise<ClientDescription> {
  const { locate } = sources.settings
  if (!locate || ip === '') return client
  return known(sources, 'locate', client, async () => {
    const place = await locate(ip)
    return { country: place?.country, region: place?.region }
  })
}

/** Adds what a callback of the app knows. */
async function known(
  { warnOnce }: ClientSources,
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
