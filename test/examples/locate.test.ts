import { describe, expect, it } from 'vitest'

import { locate } from '../../examples/locate.ts'

describe('locate of examples/locate.ts', () => {
  it.each([
    ['ETH Zürich', '129.132.1.1', 'CH'],
    ['Google', '8.8.8.8', 'US'],
    ['the University of Tokyo', '133.11.0.1', 'JP'],
    ['the registry of Brazil', '200.160.2.3', 'BR'],
    ['Humboldt-Universität zu Berlin', '141.20.1.1', 'DE'],
    ['the University of Oxford', '129.67.242.154', 'GB'],
    ['Kungliga Tekniska högskolan', '130.237.28.40', 'SE'],
    ['the Czech Technical University', '147.32.1.1', 'CZ'],
    ['the University of British Columbia', '142.103.1.1', 'CA'],
    ['the Australian National University', '150.203.1.10', 'AU'],
    ['Google, by IPv6', '2001:4860:4860::8888', 'US'],
    ['the network of Swiss universities, by IPv6', '2001:620:0:ff::5c', 'CH'],
    ['RIPE, by IPv6', '2001:67c:2e8:22::c100:68b', 'NL'],
    ['ETH Zürich, as a server on IPv6 sees it', '::ffff:129.132.1.1', 'CH'],
    ['ETH Zürich, in upper case', '::FFFF:129.132.1.1', 'CH'],
  ])('K2: finds the country of %s (%s)', (_, ip, country) => {
    expect(locate(ip)).toEqual({ country, region: '' })
  })

  it.each([
    '10.0.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '127.0.0.1',
    '169.254.1.1',
    '100.64.0.1',
    '192.0.2.1',
    '198.51.100.7',
    '203.0.113.7',
    '0.0.0.0',
    '255.255.255.255',
    '::1',
    '::',
    'fc00::1',
    'fe80::1',
    '2001:db8::1',
    '::ffff:192.168.1.1',
    '::ffff:c0a8:101',
  ])('K2: finds no country for %s', (ip) => {
    expect(locate(ip)).toBeNull()
  })

  it.each([
    '',
    ' ',
    'localhost',
    '129.132.1',
    '129.132.1.1 ',
    '129.132.1.300',
    '129.132.1.1:80',
    '[2001:620::1]',
    '129.132.1.1, 8.8.8.8',
    '129.132.1.1\0',
    '1'.repeat(2 ** 20),
    '__proto__',
  ])('H1: finds no country for %j, which is not an address', (ip) => {
    expect(locate(ip)).toBeNull()
  })
})
