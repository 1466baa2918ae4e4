import { unknownClient, type ClientDescription } from '../client/description.ts'
import { escapeText, unescapeText } from './storage-texts.ts'

// In the order of their tags, A to K.
const clientNames = [
  'appName',
  'appVersion',
  'platform',
  'systemVersion',
  'country',
  'region',
  'deviceModel',
  'applicationId',
  'machineName',
  'systemUserName',
  'persistentID',
] as const satisfies (keyof ClientDescription)[]
const officialTag = 'L'

// Caches by description and by text: there are far fewer clients than sessions.
const clientTexts = new WeakMap<ClientDescription, string>()
const clientsByText = new Map<string, ClientDescription>()
const maxClients = 1000

/** Returns the items of a session's text that describe its client. */
export function clientItems(client: ClientDescription): string {
  const known = clientTexts.get(client)
  if (known !== undefined) return known
  let items = ''
  for (const [index, name] of clientNames.entries()) {
    const text = client[name]
    if (text !== '') items += `\t${String.fromCharCode(0x41 + index)}${escapeText(text)}`
  }
  if (client.isOfficialApp) items += `\t${officialTag}1`
  if (Object.isFrozen(client)) clientTexts.set(client, items)
  return items
}

/** Returns the client, frozen, that items from {@link clientItems} describe. */
export function readClient(items: string): ClientDescription {
  if (items === '') return unknownClient
  const known = clientsByText.get(items)
  if (known) return known
  const client = { ...unknownClient }
  for (const item of items.slice(1).split('\t')) {
    const name = clientNames[item.charCodeAt(0) - 0x41]
    if (name) client[name] = unescapeText(item.slice(1))
    else client.isOfficialApp = true
  }
  if (clientsByText.size >= maxClients) clientsByText.clear()
  // A copy, since a slice would keep the whole session's text in memory.
  clientsByText.set(Buffer.from(items).toString(), Object.freeze(client))
  return client
}
