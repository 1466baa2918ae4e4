import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import type { Redis } from 'ioredis'
import { describe, expect, it, vi } from 'vitest'

import { cookieOf, setCookies } from '../support/apps.ts'
import type { TestApp } from '../support/apps.ts'
import { keptDirectory, openStage } from '../support/fault-stage.ts'
import { loadThrough, statuses, users } from '../support/load.ts'
import type { Answered } from '../support/load.ts'

const fillBytes = 16_777_216

describe('a Redis without memory', () => {
  it('F1, F7: keeps reading and ending sessions, and refuses changes that grow', async () => {
    const { admin, testApp } = await openStage(['--maxmemory-policy', 'noeviction'])
    const leaving = cookieOf(await testApp.visit('/login?user=lea'))
    const { id } = (await testApp.visit('/who', cookieOf(await testApp.visit('/login?user=tim'))))
      .body

    const answered = await loadThrough(testApp, {
      async begin() {
        const used = await usedMemory(admin)
        await admin.set('fill', Buffer.alloc(fillBytes))
        await admin.config('SET', 'maxmemory', used + fillBytes / 2)
      },
      async end() {
        expect((await testApp.visit('/logout', leaving)).status).toBe(200)
        expect((await testApp.visit('/who', leaving)).body).toMatchObject({ user: '' })
        expect(await testApp.sessions.terminate(id)).toBe(true)
        expect(await testApp.sessions.terminateAll('bob')).toBe(1)
        await admin.del('fill')
      },
    })

    expectReadsOnly(answered)
    expect(statuses(answered.after, 'other')).toEqual([401])
  })
})

describe('a Redis that cannot save', () => {
  it('F1, F7: keeps reading, and does not claim that a sign-out worked', async () => {
    const directory = keptDirectory()
    const args = ['--dir', directory, '--save', '3600', '1000000']
    const { admin, testApp } = await openStage(args)
    const leaving = cookieOf(await testApp.visit('/login?user=lea'))
    const inTheWay = join(directory, 'dump.rdb')

    const answered = await loadThrough(testApp, {
      async begin() {
        mkdirSync(inTheWay)
        writeFileSync(join(inTheWay, 'file'), '')
        await saved(admin, 'err')
      },
      async end() {
        await expectNotEnded(testApp, leaving)
        rmSync(inTheWay, { recursive: true })
        await saved(admin, 'ok')
      },
    })

    expectReadsOnly(answered)
    expect((await testApp.visit('/who', leaving)).body).toMatchObject({ user: 'lea' })
  })
})

describe('a Redis without enough replicas', () => {
  it('F1, F7: keeps reading, and refuses changes', async () => {
    const { admin, testApp } = await openStage()
    const leaving = cookieOf(await testApp.visit('/login?user=lea'))

    const answered = await loadThrough(testApp, {
      begin: () => admin.config('SET', 'min-replicas-to-write', 1),
      async end() {
        await expectNotEnded(testApp, leaving)
        await admin.config('SET', 'min-replicas-to-write', 0)
      },
    })

    expectReadsOnly(answered)
    expect((await testApp.visit('/who', leaving)).body).toMatchObject({ user: 'lea' })
  })
})

function expectReadsOnly({ during, all }: Answered): void {
  expect(statuses(during, 'reader', 'admin')).toEqual([200])
  expect(statuses(during, 'writer', 'counter', 'signIn')).toEqual([503])
  expect(users(all, 'reader')).toEqual(['ann'])
}

/** A refused sign-out must not look like a sign-out. */
async function expectNotEnded(testApp: TestApp, cookie: string): Promise<void> {
  const response = await testApp.visit('/logout', cookie)
  expect(response.status).toBe(503)
  expect(setCookies(response)).toEqual([])
}

async function usedMemory(admin: Redis): Promise<number> {
  return Number(/^used_memory:(\d+)/m.exec(await admin.info('memory'))?.[1])
}

async function saved(admin: Redis, outcome: 'ok' | 'err'): Promise<void> {
  await vi.waitFor(
    async () => {
      await admin.bgsave().catch(() => {})
      expect(await admin.info('persistence')).toContain(`rdb_last_bgsave_status:${outcome}`)
    },
    { timeout: 15_000, interval: 200 },
  )
}
