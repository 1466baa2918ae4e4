// Stores of an app's own, which the suite of the packed package must pass and fail.

import { MemoryStore } from 'koa-user-sessions'
import { describeSessionStore } from 'koa-user-sessions/store-contract'

const now = Date.now
let passedMs = 0
Date.now = () => now() + passedMs

function wrappedStore() {
  const store = new MemoryStore()
  return {
    create: (...args) => store.create(...args),
    load: (...args) => store.load(...args),
    commit: (...args) => store.commit(...args),
    lock: (...args) => store.lock(...args),
    list: (...args) => store.list(...args),
    destroy: (...args) => store.destroy(...args),
    close: () => store.close(),
  }
}

/** Takes what is set in storage for all of it. */
function forgetfulStore() {
  const store = wrappedStore()
  return {
    ...store,
    async commit(credential, commit, policy) {
      const loaded = commit.storage && (await store.load(credential, policy, false))
      if (!loaded?.record) return store.commit(credential, commit, policy)
      const { set, removed } = commit.storage
      const others = [...loaded.record.storage.keys()].filter((name) => !set.has(name))
      const storage = { set, removed: [...new Set([...removed, ...others])] }
      return store.commit(credential, { ...commit, storage }, policy)
    },
  }
}

export function describeOwnStore(runner) {
  const isBroken = process.env.STORE === 'broken'
  describeSessionStore(
    'OwnStore',
    () => ({
      store: isBroken ? forgetfulStore() : wrappedStore(),
      passTime: async (ms) => {
        passedMs += ms
      },
    }),
    runner,
  )
}
