import { defineScript } from '../script.ts'
import type { Script } from '../script.ts'

/**
 * Ends a session. Deletes only, and without a shebang, so that it works on a Redis that is full.
 *
 * KEYS: `session` (hash).
 *
 * Reply: 1; 0 when it was not there.
 */
export const destroySession: Script<'session', never> = defineScript({
  keys: ['session'],
  args: [],
  lua: /* lua */ `
local session = KEYS[1]

return redis.call('DEL', session)
`,
})
