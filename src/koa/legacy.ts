import type { Context } from 'koa'

import { legacyCookiesIn } from '../cookie/legacy-cookies.ts'
import { SessionError, SessionStoreError } from '../errors/errors.ts'
import type { LegacySettings } from '../options/options.ts'
import { parseGrant } from '../privileges/privileges.ts'
import { debug } from '../session/deployment.ts'
import type { Attachment } from './attachment.ts'

/**
 * Carries the client's session of another package over into a new one, unless something in the
 * request opens a session here. Never rejects. Returns `undefined` when there is nothing to await.
 */
export function carryOver(ctx: Context, attachment: Attachment): Promise<void> | undefined {
  const { legacy } = attachment.deployment.settings
  const { cookie } = ctx.req.headers
  if (!legacy || cookie === undefined) return undefined
  if (legacyCookiesIn(cookie, legacy.cookies).size === 0) return undefined
  return attachment.requestSession.isUnknown ? readFor(ctx, attachment, legacy) : undefined
}

async function readFor(
  ctx: Context,
  { requestSession: request, deployment }: Attachment,
  legacy: LegacySettings,
): Promise<void> {
  let answer: unknown
  try {
    answer = await within(deployment.settings.policy.timeoutMs, () => legacy.read(ctx))
  } catch {
    // The thrown error may quote the old session, so it is not passed on.
    const error = new SessionStoreError('the option "legacy.read" failed')
    debug('%s', error.message)
    deployment.events.emit('session:storeError', { operation: 'legacy', error })
    request.fail(error)
    return
  }
  try {
    if (answer === null || answer === undefined) return
    const { storage, ...settings } = { storage: {}, ...plain(answer) }
    request.carryOver(plain(storage), parseGrant(settings))
  } catch (error) {
    const reason = error instanceof SessionError ? error.code : 'it is of another form'
    deployment.warnOnce(
      'legacy',
      `the option "legacy.read" returned what a session cannot hold, which was ignored: ${reason}`,
    )
  }
}

async function within<T>(timeoutMs: number, work: () => T | Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error('late')), timeoutMs)
  })
  try {
    return await Promise.race([work(), late])
  } finally {
    clearTimeout(timer)
  }
}

function plain(value: unknown): object {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  throw new TypeError('not an object')
}
