import type { Context } from 'koa'

const maxBytes = 64 * 1024

/**
 * Reads what a form has sent. Throws 415 for another kind of body, 413 for one over 64 KB, and 400
 * for one that breaks off.
 */
export async function readForm(
  ctx: Pick<Context, 'req' | 'is' | 'throw'>,
): Promise<URLSearchParams> {
  if (!ctx.is('urlencoded')) ctx.throw(415, 'this page takes forms only')
  return new URLSearchParams(await readText(ctx))
}

/** Reads the fields of a form or of a JSON object with texts. Throws as {@link readForm} does. */
export async function readFields(
  ctx: Pick<Context, 'req' | 'is' | 'throw'>,
): Promise<URLSearchParams> {
  if (!ctx.is('json', 'urlencoded')) ctx.throw(415, 'send JSON or a form')
  const text = await readText(ctx)
  if (ctx.is('urlencoded')) return new URLSearchParams(text)
  const fields = Object.entries(objectOf(text) ?? ctx.throw(400, 'the body is no JSON object'))
  return new URLSearchParams(
    fields.map(([name, value]) => [
      name,
      typeof value === 'string' ? value : ctx.throw(400, 'each field is to be text'),
    ]),
  )
}

function objectOf(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}

async function readText(ctx: Pick<Context, 'req' | 'throw'>): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    // To the end, though no more than the limit is kept: a browser that is cut off while it sends
    // shows a lost connection and not the answer. Node limits the time.
    for await (const chunk of ctx.req) {
      const buffer = Buffer.from(chunk)
      bytes += buffer.length
      if (bytes <= maxBytes) chunks.push(buffer)
    }
  } catch {
    ctx.throw(400, 'the form did not arrive as a whole')
  }
  if (bytes > maxBytes) ctx.throw(413, 'the form is larger than 64 KB')
  return Buffer.concat(chunks).toString('utf8')
}

/** A whole number from 0 up, of at most four digits; `undefined` for anything else. */
export function wholeNumber(text: string | null): number | undefined {
  return text !== null && /^\d{1,4}$/.test(text.trim()) ? Number(text) : undefined
}

/** What somebody has typed, short enough to be said back. */
export function quoted(text: string | null): string {
  const short = (text ?? '').slice(0, 40)
  return `“${short}${short === (text ?? '') ? '' : '…'}”`
}
