import { fileURLToPath } from 'node:url'

import { defineConfig } from 'vitest/config'

export default defineConfig({
  resolve: {
    alias: {
      'koa-user-sessions/routes': fileURLToPath(new URL('../src/routes.ts', import.meta.url)),
      'koa-user-sessions/store': fileURLToPath(new URL('../src/store.ts', import.meta.url)),
      'koa-user-sessions/store-contract': fileURLToPath(
        new URL('store/session-store-contract.ts', import.meta.url),
      ),
      'koa-user-sessions/testing': fileURLToPath(new URL('../src/testing.ts', import.meta.url)),
      'koa-user-sessions': fileURLToPath(new URL('../src/index.ts', import.meta.url)),
    },
  },
  test: {
    root: fileURLToPath(new URL('..', import.meta.url)),
    include: ['test/**/*.test.ts'],
    // Tests wait for conditions; a busy machine may take its time.
    testTimeout: 30_000,
    exclude: ['test/browser/**', 'test/consumers/**', 'test/*/node_modules/**'],
    globalSetup: ['test/support/global-redis.ts'],
    coverage: {
      include: ['src/**'],
      thresholds: { lines: 95, branches: 95 },
    },
  },
})
