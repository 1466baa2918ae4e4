import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'

import { describe, expect, it, onTestFinished } from 'vitest'

import { compiled } from '../support/compiled.ts'
import { startRedisServer } from '../support/redis-server.ts'
import type { VisitedOptions, VisitedReport } from './visited.ts'

const patienceMs = 60_000

describe('a process that has served 3 000 requests', () => {
  it(
    'F8, M11: keeps nothing of them, with Redis away in between, and exits',
    async () => {
      const redis = await start()

      const { report, code } = await visited({ requests: 3000, redis })

      expect(report.after).toEqual(report.before)
      expect(report.complaints).toEqual([])
      expect(Object.keys(report.statuses).toSorted()).toEqual(
        expect.arrayContaining(['200', '503']),
      )
      expect(report.isClientOpen).toBe(true)
      expect(code).toBe(0)
    },
    patienceMs,
  )

  it(
    'F8, M11: keeps nothing of them in a MemoryStore, and exits',
    async () => {
      const { report, code } = await visited({ requests: 3000 })

      expect(report.after).toEqual(report.before)
      expect(report.complaints).toEqual([])
      expect(Object.keys(report.statuses)).toEqual(['200', '403'])
      expect(code).toBe(0)
    },
    patienceMs,
  )

  it(
    'F8, M11: exits while Redis does not answer and is being probed',
    async () => {
      const redis = await start()

      const { report, code } = await visited({ requests: 100, redis, endsFrozen: true })

      expect(report.wasRefused).toBe(true)
      expect(report.complaints).toEqual([])
      expect(code).toBe(0)
    },
    patienceMs,
  )
})

async function start(): Promise<NonNullable<VisitedOptions['redis']>> {
  const server = await startRedisServer()
  onTestFinished(() => server.stop())
  return { url: server.url, pid: server.pid }
}

/** Waits for the process to exit on its own. One that does not is ended with the test. */
async function visited(
  options: VisitedOptions,
): Promise<{ readonly report: VisitedReport; readonly code: number | null }> {
  // Without a channel to this process, which could keep it alive.
  const program = await compiled(new URL('visited.ts', import.meta.url))
  const flags = ['--expose-gc', '--disable-warning=ExperimentalWarning']
  const child = spawn(process.execPath, [...flags, program], {
    env: {
      ...process.env,
      VISITED: JSON.stringify(options),
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const output = text(child.stdout)
  await once(child, 'exit')
  return { report: JSON.parse(await output), code: child.exitCode }
}
