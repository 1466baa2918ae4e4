import { fileURLToPath } from 'node:url'

import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    root: fileURLToPath(new URL('../..', import.meta.url)),
    include: ['test/consumers/*.test.ts'],
    globalSetup: ['test/support/global-redis.ts', 'test/consumers/global-project.ts'],
    // The number of compilers at once: each takes most of a core.
    maxConcurrency: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
})
