import { defineConfig } from 'vitest/config'

import { testsWith } from '../vitest.config.ts'

/** The tests of the example alone, on a Node that has SQLite; they need no Redis. */
export default defineConfig(testsWith({ globalSetup: [] }))
