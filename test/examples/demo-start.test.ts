import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'

import { describe, expect, it } from 'vitest'

import { readSettings } from '../../examples/demo/settings.ts'
import { start } from '../support/shop-visits.ts'

describe('npm start', () => {
  it('serves, reports that its port is taken, and ends when told to', async () => {
    const first = start({ PORT: '0' })
    const url = (await firstLine(first)).trim()
    expect(url).toMatch(/^http:\/\/localhost:\d+$/)
    const port = new URL(url).port

    const page = await fetch(`http://127.0.0.1:${port}/`)
    expect(page.status).toBe(200)
    expect(await page.text()).toContain('<h1>Goods for wet days</h1>')

    const second = start({ PORT: port })
    expect(await outcome(second)).toEqual({
      code: 1,
      output: `Port ${port} is taken. Choose another one: PORT=${Number(port) + 1} npm start\n`,
    })

    const end = outcome(first)
    process.kill(first.pid!, 'SIGTERM')
    expect(await end).toEqual({ code: 0, output: '' })
  }, 30_000)

  it('explains in one line what is wrong with PORT', async () => {
    expect(await outcome(start({ PORT: 'x\n' }))).toEqual({
      code: 1,
      output: 'PORT is to be a number from 0 to 65535, not "x\\n".\n',
    })
  }, 30_000)

  it.each(['65536', '-1', '3.5', 'x', ' ', '1e3', '0x10', '99999999999'])(
    'refuses the PORT %j',
    (port) => {
      expect(() => readSettings({ PORT: port })).toThrow(/^PORT is to be/)
    },
  )

  it.each(['127.0.0.1', 'http://127.0.0.1', ':secret@', 'redis'])(
    'refuses the REDIS_URL %j without repeating it',
    (url) => {
      const message = 'REDIS_URL is to look like redis://127.0.0.1:6379.'
      expect(() => readSettings({ REDIS_URL: url })).toThrow(message)
    },
  )

  it('runs without any settings', () => {
    const settings = { port: 3000, host: '127.0.0.1', redisUrl: undefined }
    expect(readSettings({})).toEqual(settings)
    expect(readSettings({ PORT: '', HOST: '', REDIS_URL: '' })).toEqual(settings)
  })
})

async function firstLine(child: ChildProcess): Promise<string> {
  const [line] = await Promise.race([once(child.stdout!, 'data'), once(child.stderr!, 'data')])
  return String(line)
}

async function outcome(child: ChildProcess): Promise<{ code: number | null; output: string }> {
  let output = ''
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.on('data', (chunk: Buffer) => (output += chunk.toString()))
  }
  await once(child, 'close')
  return { code: child.exitCode, output }
}
