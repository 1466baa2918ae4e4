import { fileURLToPath } from 'node:url'

import { defineConfig, mergeConfig } from 'vitest/config'

import tests from '../vitest.config.ts'

/** The tests of the example alone, on a Node that has SQLite; they need no Redis. */
export default mergeConfig(
  { ...tests, test: { ...tests.test, globalSetup: [] } },
  defineConfig({
    test: { root: fileURLToPath(new URL('../..', import.meta.url)) },
  }),
)
