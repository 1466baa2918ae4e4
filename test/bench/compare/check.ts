import type { Server } from './server.ts'
import type { Size } from './works.ts'

const idleMs = 3_600_000
// Ours lets a session live `refreshSeconds` longer, koa-session keeps it 10 s longer than its cookie.
const graceMs = 61_000

/**
 * Makes sure that a server really reads, changes and keeps sessions alive, and does not mix them
 * up.
 *
 * @param server A fresh one.
 * @param size Of the session.
 * @throws {Error} When an answer is wrong.
 */
export async function checkServer(server: Server, size: Size): Promise<void> {
  const { contestant, redis } = server
  const expect = (what: string, got: unknown, wanted: unknown): void => {
    if (got === wanted) return
    throw new Error(
      `${contestant.name}, ${size.name}, ${what}: ${String(got)}, not ${String(wanted)}`,
    )
  }
  expect('a page', await server.get('/page'), 'page')
  expect('a guest', await server.get('/read'), 'guest')
  if (!contestant.hasSessions) return

  if (redis) expect('keys after guests', await redis.dbsize(), 0)
  const { cookie, body } = await server.signIn(size)
  const [userName = ''] = body.split(' ')
  expect('the sign-in', body, `${userName} 00000000`)
  const other = await server.signIn(size)
  expect('the read', await server.get('/read', { cookie }), `${userName} 00000000`)
  expect('the change', await server.get('/change', { cookie }), `${userName} 00000001`)
  expect('the read after it', await server.get('/read', { cookie }), `${userName} 00000001`)
  const ofOther = await server.get('/read', { cookie: other.cookie })
  expect('the other session', ofOther, other.body)
  expect('a guest after it', await server.get('/read'), 'guest')
  if (!redis) return

  for (const key of await redis.keys('*')) await redis.pexpire(key, idleMs / 2)
  await server.get('/read', { cookie })
  const lives = await Promise.all((await redis.keys('*')).map((key) => redis.pttl(key)))
  const kept = lives.filter((ms) => ms > idleMs - 5000 && ms <= idleMs + graceMs)
  expect('sessions kept alive by a read', kept.length, 1)
  await redis.flushall()
}
