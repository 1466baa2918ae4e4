import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

import { RedisStore, Sessions } from 'koa-user-sessions'
import { describe, expect, inject, it, onTestFinished } from 'vitest'

import { connectRedis } from '../support/redis-client.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

async function job(args: readonly string[], env: Record<string, string>) {
  const child = spawn(process.execPath, ['--import', 'tsx', 'examples/job.ts', ...args], {
    cwd: root,
    env: { PATH: process.env['PATH'], TSX_TSCONFIG_PATH: 'test/tsconfig.json', ...env },
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  let [out, error] = ['', '']
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (error += chunk.toString()))
  await once(child, 'close')
  const counted = /^system on \S+ counted to (\d+)\n$/.exec(out)?.[1]
  return { code: child.exitCode, error, counted: Number(counted) }
}

describe('examples/job.ts', { timeout: 60_000 }, () => {
  it('M8: counts exactly, in two processes at once', async () => {
    const env = { REDIS_URL: inject('redisUrl') }
    const store = new RedisStore(connectRedis(), { prefix: 'job:' })
    const sessions = new Sessions<{ count: number }>({ store })

    const both = await Promise.all([job(['--times', '300'], env), job(['--times', '500'], env)])

    expect(both.map(({ code, error }) => ({ code, error }))).toEqual([
      { code: 0, error: '' },
      { code: 0, error: '' },
    ])
    expect(Math.max(...both.map(({ counted }) => counted))).toBe(800)
    expect((await sessions.storedProcedure()).storage.count).toBe(800)

    expect(await job(['--times', '1'], env)).toEqual({ code: 0, error: '', counted: 801 })
  })

  it.each([
    ['no Redis', [], {}],
    ['an invalid number', ['--times', 'many'], { REDIS_URL: 'redis://127.0.0.1:1' }],
  ])('explains how to start it for %s', async (_what, args, env) => {
    const { code, error } = await job(args, env)

    expect({ code, error }).toEqual({
      code: 1,
      error: 'usage: REDIS_URL=redis://… job.ts [--times N]\n',
    })
  })
})
