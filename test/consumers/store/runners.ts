// The runners fit: compiled, not run.

import * as jest from '@jest/globals'
import { MemoryStore } from 'koa-user-sessions'
import { describeSessionStore } from 'koa-user-sessions/store-contract'
import type { StoreHarness } from 'koa-user-sessions/store-contract'
import * as vitest from 'vitest'

const makeStore = (): StoreHarness => ({ store: new MemoryStore(), passTime: async () => {} })
describeSessionStore('MemoryStore', makeStore, vitest)
describeSessionStore('MemoryStore', async () => makeStore(), jest)
// @ts-expect-error no `expect`
describeSessionStore('MemoryStore', makeStore, { describe: jest.describe, it: jest.it })
