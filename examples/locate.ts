// Where a session's client is, looked up in a database file: no address leaves this machine. This
// file has only countries; with a file that has more, such as GeoLite2 City, return a region too.
// The makers of this file ask to be named: country data by nro.net, CC BY 4.0.
//
//   npx tsx --tsconfig test/tsconfig.json examples/locate.ts
//
//   curl -H 'X-Forwarded-For: 129.132.1.1' localhost:3000            {"country":"CH","region":""}
//   curl -H 'X-Forwarded-For: 2001:4860:4860::8888' localhost:3000   {"country":"US","region":""}
//   curl -H 'X-Forwarded-For: 192.168.1.1' localhost:3000            not known

import { createRequire } from 'node:module'
import { BlockList, isIP } from 'node:net'
import { pathToFileURL } from 'node:url'

import Koa from 'koa'
import { session } from 'koa-user-sessions'
import { open, type CountryResponse } from 'maxmind'

const file = '@ip-location-db/geo-whois-asn-country-mmdb/geo-whois-asn-country.mmdb'

type Entry = CountryResponse & { readonly country_code?: string }
const database = await open<Entry>(createRequire(import.meta.url).resolve(file))

// Addresses that are nowhere: private ones, and those for examples. The file is wrong about some.
const nowhere = new BlockList()
for (const [net, prefix] of [
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.2.0', 24],
  ['192.168.0.0', 16],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
] as const) {
  nowhere.addSubnet(net, prefix)
}
for (const [net, prefix] of [
  ['::', 127],
  ['2001:db8::', 32],
  ['fc00::', 7],
  ['fe80::', 10],
] as const) {
  nowhere.addSubnet(net, prefix, 'ipv6')
}

export function locate(ip: string): { country: string; region: string } | null {
  // A server that listens on IPv6 too sees addresses of IPv4 in this form.
  const address = ip.replace(/^::ffff:(?=\d+\.)/i, '')
  const family = isIP(address)
  if (family === 0 || nowhere.check(address, family === 6 ? 'ipv6' : 'ipv4')) return null

  const country = database.get(address)?.country_code
  return country === undefined ? null : { country, region: '' }
}

// `proxy` believes X-Forwarded-For: only behind a proxy that writes it, or anybody is anywhere.
export const app = new Koa({ proxy: true })

app.use(session({ locate }))
app.use((ctx) => {
  // What the session will record at its first change.
  ctx.session.storage.visited = true
  ctx.body = locate(ctx.ip) ?? 'not known'
})

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  app.listen(3000, () => console.log('http://localhost:3000'))
}
