import { SessionStoreError } from '../../errors/errors.ts'

/** Converts an error of Redis or its client to one that is safe to show to the caller. */
export function storeError(error: unknown): SessionStoreError {
  if (error instanceof SessionStoreError) return error
  return new SessionStoreError(`Redis failed: ${reasonOf(error)}`)
}

// An error of ioredis has its command's arguments, such as stored data, and an error reply of Redis
// can quote them: only a reply's code, such as `READONLY`, is safe.
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown reason'
  if (error.name !== 'ReplyError') return error.message
  return /^[A-Z]{2,}/.exec(error.message)?.[0] ?? 'an error reply'
}
