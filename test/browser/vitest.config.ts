import { fileURLToPath } from 'node:url'

import { defineConfig } from 'vitest/config'

export default defineConfig({
  resolve: {
    alias: {
      'koa-user-sessions': fileURLToPath(new URL('../../src/index.ts', import.meta.url)),
    },
  },
  test: {
    root: fileURLToPath(new URL('../..', import.meta.url)),
    include: ['test/browser/**/*.test.ts'],
    setupFiles: ['test/support/close-clients.ts'],
    globalSetup: ['test/support/global-redis.ts', 'test/browser/global-chromium.ts'],
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
})
