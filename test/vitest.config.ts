import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { defineConfig } from 'vitest/config'
import type { TestProjectInlineConfiguration, ViteUserConfig } from 'vitest/config'
import type { ProjectConfig } from 'vitest/node'

import { LongestFirst } from './support/longest-first.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

// Their files follow each other in one process, which loads the code only once.
const sharedFolders = [
  'client',
  'cookie',
  'errors',
  'events',
  'hostile',
  'koa',
  'manager',
  'options',
  'privileges',
  'session',
  'storage',
  'store',
  'tokens',
]

// These run alone: a mock works only if the real module was not loaded before, and another file may
// leave behind what a process holds.
const needsOwnProcess = /vi\.mock\(|getActiveResourcesInfo/

const sharedFiles = sharedFolders.flatMap((folder) =>
  readdirSync(join(root, 'test', folder), { recursive: true, encoding: 'utf8' })
    .map((name) => `test/${folder}/${name}`)
    .filter((file) => file.endsWith('.test.ts'))
    .filter((file) => !needsOwnProcess.test(readFileSync(join(root, file), 'utf8'))),
)

const alias = {
  'koa-user-sessions/routes': join(root, 'src/routes.ts'),
  'koa-user-sessions/store': join(root, 'src/store.ts'),
  'koa-user-sessions/store-contract': join(root, 'test/store/session-store-contract.ts'),
  'koa-user-sessions/testing': join(root, 'src/testing.ts'),
  'koa-user-sessions': join(root, 'src/index.ts'),
}

/** What runs before all files, and what runs before each file in addition. */
interface Setup {
  readonly globalSetup?: readonly string[]
  readonly setupFiles?: readonly string[]
}

/**
 * The suite of `npm test`.
 *
 * @param setup For runs in another environment.
 */
export function testsWith({
  globalSetup = ['test/support/global-redis.ts'],
  setupFiles = [],
}: Setup = {}): ViteUserConfig {
  const project = (name: string, files: ProjectConfig): TestProjectInlineConfiguration => ({
    resolve: { alias },
    test: {
      name,
      root,
      // Tests wait for conditions; a busy machine may take time.
      testTimeout: 30_000,
      hookTimeout: 30_000,
      setupFiles: ['test/support/close-clients.ts', ...setupFiles],
      ...files,
    },
  })
  return {
    test: {
      root,
      globalSetup: [...globalSetup],
      projects: [
        project('alone', {
          include: ['test/**/*.test.ts'],
          exclude: [
            'test/browser/**',
            'test/consumers/**',
            'test/*/node_modules/**',
            ...sharedFiles,
          ],
        }),
        project('together', { include: sharedFiles, isolate: false }),
      ],
      // More than there are cores, because the longest files mostly wait.
      maxWorkers: 4,
      sequence: { sequencer: LongestFirst },
      coverage: {
        include: ['src/**'],
        thresholds: { lines: 95, branches: 95 },
      },
    },
  }
}

export default defineConfig(testsWith())
