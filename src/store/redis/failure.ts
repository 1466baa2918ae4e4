import { SessionStoreError } from '../../errors/errors.ts'

/** What a caller may know of an error that Redis or its client has told. */
export function storeError(error: unknown): SessionStoreError {
  if (error instanceof SessionStoreError) return error
  return new SessionStoreError(`Redis failed: ${reasonOf(error)}`)
}

/**
 * What may be told of an error. An error of ioredis has the arguments of its command, stored data
 * among them, and Redis' text can quote them: of a reply only the code is safe, such as
 * `READONLY`.
 */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown reason'
  if (error.name !== 'ReplyError') return error.message
  return /^[A-Z]{2,}/.exec(error.message)?.[0] ?? 'an error reply'
}
