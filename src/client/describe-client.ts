import { browserOf } from './browser.ts'
import {
  completeClient,
  type ClientDescription,
  type HeaderReader,
  type KnownOfClient,
} from './description.ts'

/** The kind of client that a session has. */
export type ClientKind = 'web' | 'desktop' | 'other'

/** The part of a request that option callbacks see. Koa's context has all of it. */
export interface RequestContext {
  /** The URL's path, without the query. */
  readonly path: string
  /** The HTTP method in capitals, such as `GET`. */
  readonly method: string
  /** The URL's parsed query: an array for a name that occurs more than once. */
  readonly query: Readonly<Record<string, string | string[] | undefined>>
  /** Returns a header, named in any case, or `''` when it is missing. */
  get(header: string): string
}

/** One application, as the option `applications` declares it. */
export interface Application {
  /** The name in lists of sessions. */
  readonly name: string
  /** The kind of client that it is. */
  readonly client: ClientKind
  /**
   * Whether the application is one of your own.
   *
   * @default false
   */
  readonly official?: boolean
}

/** Where an IP address is located. Leave out what is not known. */
export interface ClientLocation {
  /** The country, such as `CH`. */
  readonly country?: string | undefined
  /** A part of the country, such as `Zürich`. */
  readonly region?: string | undefined
}

/** What the option `describeClient` returns: the properties that it knows, or nothing. */
export type ClientAddition = KnownOfClient | null | undefined | void

/** What the app's options say about clients. */
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
  /** Emits a process warning, once for each topic. */
  readonly warnOnce: (topic: string, message: string) => void
}

/** The request by which a client is described. */
export interface ClientRequest {
  readonly header: HeaderReader
  /** The client's IP address, or `''` when it is unknown. */
  readonly ip: string
  readonly ctx: RequestContext
}

/**
 * Describes a request's client by its headers, its location and the app's additions. Never rejects:
 * a callback that throws adds nothing and causes one warning.
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

/** Adds the location of an IP address, which is `''` when unknown, to a client's description. */
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

/** Adds what an app's callback returns to a description. */
async function known(
  { warnOnce }: ClientSources,
  name: 'locate' | 'describeClient',
  base: ClientDescription,
  callback: () => KnownOfClient | ClientAddition | Promise<KnownOfClient | ClientAddition>,
): Promise<ClientDescription> {
  try {
    return completeClient((await callback()) ?? undefined, base)
  } catch {
    warnOnce(name, `the option "${name}" threw: its information about a client is missing`)
    return base
  }
}
