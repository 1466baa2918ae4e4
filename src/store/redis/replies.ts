import { unescapeText } from '../../core/record.ts'
import { SessionStoreError } from '../../errors.ts'

/** The lines of a reply, of which the first is the time. */
export function linesOf(reply: unknown): readonly string[] {
  const lines = typeof reply === 'string' ? reply.split('\n') : []
  timeOf(Number.parseInt(lines[0] ?? '', 10))
  return lines
}

/** Whose a session is; nobody's when its user name is corrupt, as no load can read it. */
export function ownerOf(escaped: string): string {
  try {
    return unescapeText(escaped)
  } catch {
    return ''
  }
}

export function timeOf(reply: unknown): number {
  if (typeof reply !== 'number' || Number.isNaN(reply)) {
    throw new SessionStoreError('Redis answered something unexpected')
  }
  return reply
}
