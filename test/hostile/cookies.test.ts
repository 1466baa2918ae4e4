import { describe, expect, it } from 'vitest'

import { cookieOf, makeApp, storeKinds } from '../support/apps.ts'
import type { TestApp } from '../support/apps.ts'
import { hostileCookies, mutate, seededRandom } from './inputs.ts'
import { prototypes } from './prototypes.ts'
import { exchange, requestText } from './wire.ts'
import type { Reply } from './wire.ts'

const mutations = 10_000
const batch = 500

/** An app with a session of `ann`, and the value of her cookie. */
async function signedIn(
  makeStore: (typeof storeKinds)[number][1],
): Promise<{ testApp: TestApp; good: string }> {
  const testApp = makeApp({}, { store: makeStore() })
  const good = cookieOf(await testApp.visit('/login')).slice('session='.length)
  testApp.store.calls.length = 0
  return { testApp, good }
}

/** What `/me` returns for each value of the cookie. */
async function answersTo({ app }: TestApp, values: readonly string[]): Promise<Reply[]> {
  const requests = values.map((value) => requestText('GET', '/me', `Cookie: session=${value}`))
  const replies: Reply[] = []
  for (let at = 0; at < requests.length; at += batch) {
    replies.push(...(await exchange(app, requests.slice(at, at + batch))))
  }
  return replies
}

/** The values of the cookie in a header, found in another way than in the package. */
function valuesIn(value: string): string[] {
  return `session=${value}`
    .split(';')
    .map((pair) => /^[ \t]*session=[ \t]*(.*?)[ \t]*$/.exec(pair)?.[1])
    .filter((found) => found !== undefined)
}

function isWellFormed(value: string): boolean {
  return valuesIn(value).some((found) => /^[\w-]{64}$/.test(found))
}

describe.each(storeKinds)('hostile cookies, on %s', (_, makeStore) => {
  it.each(hostileCookies)(
    'H1: are answered correctly, number %d: %s',
    async (_number, _what, headers, expected) => {
      const { testApp, good } = await signedIn(makeStore)
      const before = prototypes()

      const [reply] = await exchange(testApp.app, [requestText('GET', '/me', headers(good))])

      expect({
        status: reply?.status,
        isOpen: reply?.body.includes('"ann"'),
        calls: testApp.store.calls.length,
      }).toEqual(expected)
      expect(reply?.head).not.toContain('set-cookie')
      expect(testApp.errors).toEqual([])
      expect(prototypes()).toEqual(before)
    },
  )

  it('H1: never open a session with one of 10 000 mutations of its value', async () => {
    const { testApp, good } = await signedIn(makeStore)
    const random = seededRandom(20_261_122)
    const values: string[] = []
    while (values.length < mutations) {
      const value = Buffer.from(mutate(good, random), 'utf8').toString('latin1')
      // Node's parser refuses all other characters.
      if (/^[\t\x20-\x7E\x80-\xFF]*$/.test(value)) values.push(value)
    }
    const malformed = values.filter((value) => !isWellFormed(value))
    const wellFormed = values.filter(isWellFormed)
    const before = prototypes()

    const refused = await answersTo(testApp, malformed)
    expect(testApp.store.calls).toEqual([])
    const asked = await answersTo(testApp, wellFormed)

    expect(refused).toHaveLength(malformed.length)
    expect(asked).toHaveLength(wellFormed.length)
    expect(malformed.length).toBeGreaterThan(mutations / 2)
    expect(wellFormed.length).toBeGreaterThan(mutations / 10)
    expect(new Set(testApp.store.calls)).toEqual(new Set(['load']))
    expect(testApp.store.calls.length).toBeLessThanOrEqual(wellFormed.length)
    const replies = [...refused, ...asked]
    expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([200]))
    expect(replies.filter(({ head }) => head.includes('set-cookie'))).toEqual([])
    expect(refused.filter(({ body }) => body.includes('"ann"'))).toEqual([])
    const opening = wellFormed.filter((_value, index) => asked[index]?.body.includes('"ann"'))
    expect(opening.filter((value) => !valuesIn(value).includes(good))).toEqual([])
    expect(testApp.errors).toEqual([])
    expect(prototypes()).toEqual(before)
  })

  it('H1: are answered one by one when Node refuses the rest of the connection', async () => {
    const { testApp, good } = await signedIn(makeStore)
    const refused = Array.from({ length: 32 }, (_byte, code) => String.fromCharCode(code)).filter(
      (character) => character !== '\t',
    )

    for (const character of [...refused, '\x7F']) {
      const value = `${good.slice(0, 20)}${character}${good.slice(20)}`
      const [reply] = await answersTo(testApp, [value])
      expect(reply?.status).toBe(400)
    }
    expect(testApp.store.calls).toEqual([])
  })

  it('H1: cost at most four store calls, however many there are', async () => {
    const { testApp } = await signedIn(makeStore)
    const costs = []

    for (const count of [5, 50, 200]) {
      testApp.store.calls.length = 0
      const values = Array.from({ length: count }, (_value, index) =>
        String(index).padStart(64, 'x'),
      )
      const [reply] = await answersTo(testApp, [values.join('; session=')])
      expect(reply?.status).toBe(200)
      costs.push(testApp.store.calls.length)
    }

    expect(costs).toEqual([4, 4, 4])
  })

  it('H1: make a new session only when something is written, with a fresh value', async () => {
    const { testApp, good } = await signedIn(makeStore)
    const lines = hostileCookies
      .filter(([, , , { status, isOpen }]) => status === 200 && !isOpen)
      .map(([, , headers]) => headers(good))

    const replies = await exchange(
      testApp.app,
      lines.map((line) => requestText('GET', '/write?a=1', line)),
    )

    const values = replies.map(({ head }) => /^set-cookie: session=([\w-]{64});/m.exec(head)?.[1])
    expect(new Set(values).size).toBe(lines.length)
    expect(values).not.toContain(undefined)
    expect(testApp.store.calls.filter((call) => call === 'create')).toHaveLength(lines.length)
    expect(testApp.errors).toEqual([])
  })
})
