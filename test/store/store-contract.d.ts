/**
 * The declarations of `koa-user-sessions/store-contract`: the suite that every `SessionStore` must
 * pass, for any test runner that works like Vitest or Jest.
 *
 * @module
 */

import type { SessionStore } from 'koa-user-sessions/store'

/** A store to be tested, empty, and a hand on its time. */
export interface StoreHarness {
  /** The store. */
  readonly store: SessionStore
  /**
   * Lets time pass for all sessions in the store and for their locks, without waiting: moves the
   * store's clock on, or moves the instants that it has stored back. The clock may stand still
   * otherwise.
   *
   * @param ms Milliseconds.
   */
  readonly passTime: (ms: number) => Promise<void>
}

/**
 * What the suite needs of a test runner. The `describe`, `it` and `expect` of Vitest and of Jest
 * are such.
 */
export interface TestRunner {
  /** Declares a group of tests. */
  readonly describe: (name: string, run: () => void) => unknown
  /** Declares a test; `each` declares one for each case, with the case in its name. */
  readonly it: {
    (name: string, run: () => Promise<void>): unknown
    readonly each: (
      cases: readonly any[],
    ) => (name: string, run: (...values: any[]) => Promise<void>) => unknown
  }
  /** Says what a value must be; `any` equals every value that the constructor makes. */
  readonly expect: {
    (actual: unknown): Matchers & { readonly not: Matchers }
    readonly any: (constructor: NumberConstructor) => any
  }
}

/** What the suite asks of a value. */
export type Matchers = Readonly<
  Record<
    | 'toBe'
    | 'toBeGreaterThan'
    | 'toBeGreaterThanOrEqual'
    | 'toBeLessThan'
    | 'toBeUndefined'
    | 'toContain'
    | 'toEqual'
    | 'toHaveLength'
    | 'toMatch'
    | 'toMatchObject',
    (expected?: any) => unknown
  >
>

/**
 * Declares the tests of the store contract. Each of them gets a store of its own.
 *
 * @example
 *   import { describeSessionStore } from 'koa-user-sessions/store-contract'
 *   import { describe, expect, it, vi } from 'vitest'
 *
 *   vi.useFakeTimers({ toFake: ['Date'] })
 *   describeSessionStore(
 *     'MyStore',
 *     () => ({
 *       store: new MyStore(),
 *       passTime: async (ms) => void vi.setSystemTime(Date.now() + ms),
 *     }),
 *     { describe, expect, it },
 *   )
 *
 * @param name What the store is called in the report.
 * @param makeStore Makes an empty store for one test.
 * @param runner The functions of the test runner.
 */
export function describeSessionStore(
  name: string,
  makeStore: () => StoreHarness | Promise<StoreHarness>,
  runner: TestRunner,
): void
