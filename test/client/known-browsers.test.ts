import { expect, it } from 'vitest'

import { browserOf, describeBrowser } from '../../src/client/browser.ts'
import { unknownClient } from '../../src/client/description.ts'

const firefox = 'Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0'

function headers(all: Readonly<Record<string, string>>): (name: string) => string {
  return (name) => all[name] ?? ''
}

it('K1: describes the same headers once', () => {
  const first = browserOf(headers({ 'user-agent': firefox }))
  const again = browserOf(headers({ 'user-agent': firefox }))

  expect(first).toEqual({
    ...unknownClient,
    ...describeBrowser(headers({ 'user-agent': firefox })),
  })
  expect(again).toBe(first)
  expect(Object.isFrozen(first)).toBe(true)
})

it.each([
  'sec-ch-ua',
  'sec-ch-ua-platform',
  'sec-ch-ua-model',
  'sec-ch-ua-platform-version',
  'sec-ch-ua-full-version-list',
])('K1: tells apart clients that differ in %s only', (name) => {
  const one = browserOf(headers({ 'user-agent': firefox, [name]: '"Windows"' }))
  const other = browserOf(headers({ 'user-agent': firefox, [name]: '"macOS"' }))

  expect(one).not.toBe(other)
})

it('K1: never mistakes one header for another', () => {
  const one = browserOf(headers({ 'sec-ch-ua-platform': '"Windows"' }))
  const other = browserOf(headers({ 'sec-ch-ua-model': '"Windows"' }))

  expect(one.platform).toBe('Windows')
  expect(other.platform).toBe('')
})

it('H1: forgets clients not heard from for long, so that the memory cannot fill up', () => {
  const first = browserOf(headers({ 'user-agent': 'first/1.0' }))
  for (let number = 0; number < 600; number++) {
    browserOf(headers({ 'user-agent': `client${number}/1.0 ${'x'.repeat(10_000)}` }))
  }

  expect(browserOf(headers({ 'user-agent': 'first/1.0' }))).not.toBe(first)
})
