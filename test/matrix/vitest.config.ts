import { defineConfig, mergeConfig } from 'vitest/config'

import tests from '../vitest.config.ts'

/** The suite of `npm test`, which also writes down the versions that it ran with. */
export default mergeConfig(tests, defineConfig({ test: { setupFiles: ['test/matrix/loaded.ts'] } }))
