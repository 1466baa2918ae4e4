import type * as crypto from 'node:crypto'
import type { scrypt } from 'node:crypto'

/**
 * `node:crypto` with an scrypt that costs next to nothing, for the many sign-ins of tests about
 * something else. `demo-sign-in.test.ts` and `demo-start.test.ts` use the real one.
 *
 * @param load Loads the real module, as `vi.mock()` passes it.
 */
export async function withQuickScrypt(load: () => Promise<typeof crypto>): Promise<typeof crypto> {
  const original = await load()
  const quick: typeof scrypt = (...[password, salt, keyLength, options, done]: unknown[]) => {
    const cheap = { ...Object(options), N: 2, p: 1 }
    Reflect.apply(original.scrypt, undefined, [password, salt, keyLength, cheap, done])
  }
  return { ...original, scrypt: quick }
}
