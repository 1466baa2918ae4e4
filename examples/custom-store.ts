// A store of one's own: this one times every call of another store. Whatever implements `SessionStore`
// will do; the comments of that interface say what each method promises.
//
//   npx tsx --tsconfig test/tsconfig.json examples/custom-store.ts
//
//   curl -c jar -b jar -X POST localhost:3000/visits      1
//   curl -c jar -b jar -X POST localhost:3000/visits      2
//   curl localhost:3000/timings                           {"create":{"calls":1,"ms":0.2}, …}

import { pathToFileURL } from 'node:url'

import Koa from 'koa'
import { MemoryStore, session } from 'koa-user-sessions'
import type { SessionStore } from 'koa-user-sessions'

export class TimedStore implements SessionStore {
  readonly timings: Record<string, { calls: number; ms: number }> = {}
  readonly #store: SessionStore

  constructor(store: SessionStore) {
    this.#store = store
  }

  create: SessionStore['create'] = (...args) => this.#time('create', this.#store.create(...args))
  load: SessionStore['load'] = (...args) => this.#time('load', this.#store.load(...args))
  commit: SessionStore['commit'] = (...args) => this.#time('commit', this.#store.commit(...args))
  touch: SessionStore['touch'] = (...args) => this.#time('touch', this.#store.touch(...args))
  lock: SessionStore['lock'] = (...args) => this.#time('lock', this.#store.lock(...args))
  extendLock: SessionStore['extendLock'] = (...args) =>
    this.#time('extendLock', this.#store.extendLock(...args))
  unlock: SessionStore['unlock'] = (...args) => this.#time('unlock', this.#store.unlock(...args))
  addOTP: SessionStore['addOTP'] = (...args) => this.#time('addOTP', this.#store.addOTP(...args))
  redeemOTP: SessionStore['redeemOTP'] = (...args) =>
    this.#time('redeemOTP', this.#store.redeemOTP(...args))
  read: SessionStore['read'] = (...args) => this.#time('read', this.#store.read(...args))
  describe: SessionStore['describe'] = (...args) =>
    this.#time('describe', this.#store.describe(...args))
  list: SessionStore['list'] = (...args) => this.#time('list', this.#store.list(...args))
  grant: SessionStore['grant'] = (...args) => this.#time('grant', this.#store.grant(...args))
  destroy: SessionStore['destroy'] = (...args) =>
    this.#time('destroy', this.#store.destroy(...args))
  destroyAll: SessionStore['destroyAll'] = (...args) =>
    this.#time('destroyAll', this.#store.destroyAll(...args))
  close: SessionStore['close'] = () => this.#store.close()

  async #time<T>(method: string, call: Promise<T>): Promise<T> {
    const start = performance.now()
    try {
      return await call
    } finally {
      const timing = (this.timings[method] ??= { calls: 0, ms: 0 })
      timing.calls += 1
      timing.ms += performance.now() - start
    }
  }
}

export const store = new TimedStore(new MemoryStore())
export const app = new Koa()

app.use(session({ store }))
app.use((ctx) => {
  if (ctx.path === '/timings') {
    ctx.body = store.timings
  } else if (ctx.path === '/visits' && ctx.method === 'POST') {
    const { storage } = ctx.session
    storage.visits = (storage.visits ?? 0) + 1
    ctx.body = String(storage.visits)
  }
})

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  app.listen(3000, () => console.log('http://localhost:3000'))
}
