/** The settings from the environment. */
export interface Settings {
  readonly port: number
  readonly host: string
  readonly redisUrl: string | undefined
}

/** A setting is wrong. The message is for the person who has started the shop. */
export class SettingsError extends Error {}

/** Reads `PORT`, `HOST` and `REDIS_URL`; none of them is needed. */
export function readSettings(env: NodeJS.ProcessEnv): Settings {
  const port = env['PORT'] || '3000'
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) {
    throw new SettingsError(`PORT is to be a number from 0 to 65535, not ${JSON.stringify(port)}.`)
  }
  const redisUrl = env['REDIS_URL'] || undefined
  if (redisUrl !== undefined && !isRedisUrl(redisUrl)) {
    // The URL itself is not said: it may hold a password.
    throw new SettingsError('REDIS_URL is to look like redis://127.0.0.1:6379.')
  }
  // The passwords are on the sign-in page: nobody but this machine gets in unless told.
  return { port: Number(port), host: env['HOST'] || '127.0.0.1', redisUrl }
}

function isRedisUrl(text: string): boolean {
  return URL.canParse(text) && ['redis:', 'rediss:'].includes(new URL(text).protocol)
}
