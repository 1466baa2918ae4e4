import { defineScript, type Script } from '../script.ts'
import { clock } from './shared.ts'

/** Returns the time. KEYS: `session`, a key on the server to ask. Reply: `time` and epoch ms. */
export const tellTime: Script<'session', never, number> = defineScript({
  keys: ['session'],
  args: [],
  shared: [clock],
  lua: `return say('time', now)`,
  parse: ({ numbers: [now = Number.NaN] }) => now,
})
