// Runs before each test file, also before one whose process has loaded `redis-client.ts` already.

import { afterAll } from 'vitest'

import { disconnectClients } from './redis-client.ts'

// Registered first, so it runs after the file's own hooks.
afterAll(disconnectClients)
