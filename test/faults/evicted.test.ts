import { expect, it } from 'vitest'

import { sessionKey } from '../../src/store/redis/keys.ts'
import { cookieOf } from '../support/apps.ts'
import { openStage } from '../support/fault-stage.ts'
import { Load, statuses } from '../support/load.ts'

it.each(['allkeys-lru', 'volatile-lru'])(
  'F1, M2, G4: a session that Redis has evicted by %s is gone, and no longer listed',
  async (evictionPolicy) => {
    const { admin, testApp } = await openStage(['--maxmemory-policy', evictionPolicy])
    const people: { user: string; cookie: string; id: string }[] = []
    for (let index = 0; index < 40; index++) {
      const user = `user${index % 10}`
      const { headers, body } = await testApp.visit(`/sign-in?user=${user}`)
      const cookie = String(headers['set-cookie']).split(';', 1)[0]!
      people.push({ user, cookie, id: body.id })
    }
    const load = await Load.start(testApp)
    await load.watch()

    const used = Number(/^used_memory:(\d+)/m.exec(await admin.info('memory'))?.[1])
    await admin.config('SET', 'maxmemory', used + 262_144)
    const fill = admin.pipeline()
    for (let index = 0; index < 200; index++) {
      fill.set(`fill:${index}`, Buffer.alloc(4096), 'EX', 3600)
    }
    await fill.exec()
    await load.watch()
    await load.stop()

    const kept = new Set<string>()
    for (const { user, cookie, id } of people) {
      const isKept = (await admin.exists(sessionKey('sess:', id))) === 1
      if (isKept) kept.add(id)
      const response = await testApp.visit('/who', cookie)
      expect(response.status).toBe(200)
      expect(response.body.user).toBe(isKept ? user : '')
    }
    expect(kept.size).toBeLessThan(people.length)
    for (const user of new Set(people.map((person) => person.user))) {
      const listed = await testApp.sessions.list(user)
      expect([...kept]).toEqual(expect.arrayContaining(listed.map(({ id }) => id)))
    }
    expect((await testApp.visit('/who', cookieOf(await testApp.visit('/login')))).status).toBe(200)
    load.expectPromises()
    expect(statuses(load.answers)).not.toContain(503)
  },
)
