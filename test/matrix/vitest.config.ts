import { defineConfig } from 'vitest/config'

import { testsWith } from '../vitest.config.ts'

/** The suite of `npm test`, which also writes down the versions that it ran with. */
export default defineConfig(testsWith({ setupFiles: ['test/matrix/loaded.ts'] }))
