import { defineScript } from '../script.ts'
import type { Script } from '../script.ts'

/**
 * Tells the time.
 *
 * KEYS: `session`, which is on the server that is asked.
 *
 * Reply: epoch ms.
 */
export const tellTime: Script<'session', never> = defineScript({
  keys: ['session'],
  args: [],
  lua: /* lua */ `
local time = redis.call('TIME')
return time[1] * 1000 + math.floor(time[2] / 1000)
`,
})
