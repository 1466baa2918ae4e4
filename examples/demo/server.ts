// A small shop with pages: sign in, fill a cart, look at your session.
//
//   npm start                                              http://localhost:3000
//   PORT=3001 npm start                                    on another port
//   HOST=0.0.0.0 npm start                                 also for a phone in the same network
//   REDIS_URL=redis://127.0.0.1:6379 npm start             sessions in Redis; they survive a restart

import { SessionStoreError } from 'koa-user-sessions'

import { createApp } from './app.ts'
import { connectRedis } from './redis.ts'
import { readSettings, SettingsError } from './settings.ts'
import type { Settings } from './settings.ts'

function start({ port, host, redisUrl }: Settings): void {
  const redis = redisUrl === undefined ? undefined : connectRedis(redisUrl)
  const app = createApp({ ...(redis && { redis }) })
  app.on('error', logError)

  const server = app.listen(port, host)
  server.on('listening', () => {
    const name = host === '127.0.0.1' ? 'localhost' : host
    const address = server.address()
    // A PORT of 0 lets the system choose.
    console.log(`http://${name}:${typeof address === 'object' ? address?.port : port}`)
  })
  server.on('error', ({ code }: NodeJS.ErrnoException) => {
    giveUp(
      code === 'EADDRINUSE'
        ? `Port ${port} is taken. Choose another one: PORT=${(port + 1) % 65_536} npm start`
        : `Cannot listen on port ${port} of ${host}: ${code}.`,
    )
  })

  let isClosing = false
  const close = (): void => {
    // Ctrl-C reaches this process twice, from the terminal and from npm.
    if (isClosing) return
    isClosing = true
    server.close(() => redis?.disconnect())
    // Browsers keep connections open that they do not use.
    setTimeout(() => server.closeAllConnections(), 2000).unref()
  }
  process.on('SIGINT', close)
  process.on('SIGTERM', close)
}

/** Writes down what went wrong: a line for a store that is away, everything for a fault. */
function logError(error: unknown): void {
  console.error(error instanceof SessionStoreError ? `503 ${error.message}` : error)
}

function giveUp(message: string): never {
  console.error(message)
  process.exit(1)
}

try {
  start(readSettings(process.env))
} catch (error) {
  if (error instanceof SettingsError) giveUp(error.message)
  throw error
}
