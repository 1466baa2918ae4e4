import { Console } from 'node:console'
import { Writable } from 'node:stream'
import { inspect } from 'node:util'

import { pino } from 'pino'
import { describe, expect, it } from 'vitest'

import { cookieOf, makeApp } from '../support/apps.ts'

/** An error of an app that tells about itself by private members. */
class ShopError extends Error {
  readonly status = 409
  readonly #reason = 'sold out'

  toJSON(): object {
    return { reason: this.#reason }
  }
}

const makers: readonly (readonly [string, () => unknown])[] = [
  ['an error of the app', () => Object.assign(new Error('no'), { status: 403, expose: true })],
  [
    'an error with headers of its own',
    () => Object.assign(new Error('no'), { headers: { A: 'b' } }),
  ],
  ['an error with private members', () => new ShopError('no')],
  ['a DOMException', () => new DOMException('too slow', 'TimeoutError')],
  ['several errors', () => new AggregateError([new Error('one'), new Error('two')], 'both')],
  ['a frozen error', () => Object.freeze(new Error('no'))],
  ['an error with a cause', () => new Error('no', { cause: new TypeError('deeper') })],
]

/** Everything that usual loggers print about a value. */
function printed(value: unknown): string {
  let text = ''
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      text += chunk.toString()
      done()
    },
  })
  const logger = pino({}, stream)
  logger.error({ err: value }, 'request failed')
  logger.error(value)
  new Console(stream, stream).error(value)
  text += inspect(value, { depth: Infinity }) + JSON.stringify(value) + JSON.stringify({ value })
  return text + inspect(structuredClone(value), { depth: Infinity })
}

describe('what loggers print of an error in a request that gets a cookie', () => {
  it.each(makers)('H2, L7: holds no secret: %s', async (_name, makeError) => {
    const testApp = makeApp({
      '/fail': async ({ session }) => {
        session.setPrivileges({ userName: 'ann' })
        await session.save()
        throw makeError()
      },
    })

    const response = await testApp.visit('/fail')

    const cookie = cookieOf(response)
    const secret = cookie.split('=', 2)[1] ?? ''
    const [error] = testApp.errors
    expect(secret).toHaveLength(64)
    expect((await testApp.visit('/me', cookie)).body.userName).toBe('ann')
    expect(printed(error)).not.toContain(secret)
    expect(printed(error)).not.toContain('Set-Cookie')
  })

  it('H2: is what the error says of itself', async () => {
    const testApp = makeApp({
      '/fail': async ({ session }) => {
        await session.save()
        throw new ShopError('no')
      },
    })

    await testApp.visit('/fail')

    const [error] = testApp.errors
    expect(JSON.stringify(error)).toBe('{"reason":"sold out"}')
    expect(inspect(error)).toContain('error-logs.test.ts')
    expect(error).toBeInstanceOf(ShopError)
  })
})
