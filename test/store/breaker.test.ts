import { MemoryStore } from 'koa-user-sessions'
import type { SessionStore } from 'koa-user-sessions'
import type { CreateOutcome, NewSession, SessionCredential } from 'koa-user-sessions/store'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { DeadlineStore } from '../../src/store/deadline-store.ts'
import { newSession, policy } from './contract-parts.ts'

const timeoutMs = 1000

describe('a store that does not answer', () => {
  it('F1: gets no more calls after three timeouts in a row, and calls fail at once', async () => {
    const { store, asked, errors } = frozenStore()

    await timeOut(store, 3)
    await expect(store.destroy('4')).rejects.toMatchObject({
      code: 'ERR_SESSION_STORE',
      status: 503,
      headers: { 'Retry-After': '1' },
    })

    expect(asked.filter((name) => name === 'destroy')).toHaveLength(3)
    expect(errors).toHaveLength(4)
  })

  it('F1: still gets calls after two timeouts, and after three that are not in a row', async () => {
    const { store, asked, answer } = frozenStore()

    await timeOut(store, 2)
    answer.now = true
    await store.destroy('3')
    answer.now = false
    await timeOut(store, 2)

    expect(asked.filter((name) => name === 'destroy')).toHaveLength(5)
  })

  it('F4: gets nothing but a probe until it answers one, then everything', async () => {
    const { store, asked, answer } = frozenStore()
    await timeOut(store, 3)

    await vi.advanceTimersByTimeAsync(250)
    const probes = asked.filter((name) => name === 'load').length
    await vi.advanceTimersByTimeAsync(10_000)
    const later = asked.filter((name) => name === 'load').length
    answer.now = true
    await vi.advanceTimersByTimeAsync(timeoutMs)

    expect(probes).toBe(1)
    // One per deadline: each may be waiting in the client.
    expect(later).toBe(11)
    expect(await store.destroy('5')).toBe(true)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('F4: gets calls again as soon as an old probe is answered', async () => {
    const { store, answer } = frozenStore()
    await timeOut(store, 3)
    await vi.advanceTimersByTimeAsync(250)

    answer.now = true
    answer.late.forEach((resolve) => resolve())
    await vi.advanceTimersByTimeAsync(0)

    expect(await store.destroy('5')).toBe(true)
  })

  it('F4: is probed again when a probe fails', async () => {
    const { store, asked, answer } = frozenStore()
    await timeOut(store, 3)
    answer.fails = true

    await vi.advanceTimersByTimeAsync(250 * 4)
    const probes = asked.filter((name) => name === 'load').length
    await expect(store.destroy('5')).rejects.toMatchObject({ code: 'ERR_SESSION_STORE' })

    expect(probes).toBe(4)
  })

  it('F8, M11: is no longer probed once it is closed', async () => {
    const { store } = frozenStore()
    await timeOut(store, 3)

    await store.close()

    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('a store of several servers', () => {
  it('F1, F6: loses only the calls to the one that does not answer', async () => {
    const { store, asked, answer } = frozenStore((id) => id?.charAt(0))
    answer.from = 'b'

    await timeOut(store, 3, 'a1')
    await expect(store.destroy('a2')).rejects.toMatchObject({ code: 'ERR_SESSION_STORE' })

    expect(asked.filter((name) => name === 'destroy')).toHaveLength(3)
    expect(await store.destroy('b1')).toBe(true)
  })

  it('F1, F6: blames none of them for a call to several', async () => {
    const { store, asked, answer } = frozenStore((id) => id?.charAt(0))
    answer.from = 'nobody'
    const credential = { id: 'a1', secretHash: 'hash' }
    const signIn = { ...newSession({ userName: 'ann' }), credential }

    for (let time = 0; time < 4; time++) {
      await timesOut(store.create(signIn, policy))
      await timesOut(store.list('ann', policy))
    }
    answer.from = 'a'

    expect(await store.destroy('a2')).toBe(true)
    expect(asked).toEqual([
      ...Array.from({ length: 4 }, () => ['create', 'list']).flat(),
      'destroy',
    ])
  })

  it('F4: is probed with a session of that server until it answers', async () => {
    const { store, asked, answer } = frozenStore((id) => id?.charAt(0))
    answer.from = 'b'
    await timeOut(store, 3, 'a1')

    await vi.advanceTimersByTimeAsync(2000)
    await expect(store.destroy('a2')).rejects.toMatchObject({ code: 'ERR_SESSION_STORE' })
    answer.from = 'a'
    await vi.advanceTimersByTimeAsync(timeoutMs)

    expect(asked).toContain('load')
    expect(await store.destroy('a3')).toBe(true)
    expect(vi.getTimerCount()).toBe(0)
  })
})

interface Frozen {
  readonly store: SessionStore
  /** The calls that reached the inner store. */
  readonly asked: readonly string[]
  /**
   * Whether it answers calls, or fails those still pending, and the start of the ids that it
   * answers anyway.
   */
  readonly answer: { now: boolean; fails: boolean; late: (() => void)[]; from?: string }
  readonly errors: readonly unknown[]
}

function frozenStore(nodeOf?: (id?: string) => string | undefined): Frozen {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  onTestFinished(() => {
    vi.useRealTimers()
  })
  const asked: string[] = []
  const errors: unknown[] = []
  const answer: Frozen['answer'] = { now: false, fails: false, late: [] }
  const ask = async (name: string, id: string): Promise<void> => {
    asked.push(name)
    if (answer.fails) throw new Error('broken')
    if (answer.from !== undefined && id.startsWith(answer.from)) return
    if (!answer.now) await new Promise<void>((resolve) => answer.late.push(resolve))
  }
  const inside = Object.assign(new MemoryStore(), {
    ...(nodeOf && { nodeOf }),
    async create({ credential: { id } }: NewSession): Promise<CreateOutcome> {
      await ask('create', id)
      return { status: 'created', now: 0 }
    },
    async list(): Promise<readonly []> {
      await ask('list', '')
      return []
    },
    async destroy(id: string): Promise<boolean> {
      await ask('destroy', id)
      return true
    },
    async load({ id, secretHash }: SessionCredential): Promise<undefined> {
      await ask(secretHash === '' ? 'load' : 'load by a secret', id)
    },
  })
  const store = new DeadlineStore(inside, timeoutMs, (_operation, error) => errors.push(error))
  return { store, asked, answer, errors }
}

/** Lets calls time out, one after the other. */
async function timeOut(store: SessionStore, times: number, id = '1'): Promise<void> {
  for (let time = 0; time < times; time++) await timesOut(store.destroy(id))
}

async function timesOut(call: Promise<unknown>): Promise<void> {
  const refused = expect(call).rejects.toMatchObject({ code: 'ERR_SESSION_STORE' })
  await vi.advanceTimersByTimeAsync(timeoutMs)
  await refused
}
