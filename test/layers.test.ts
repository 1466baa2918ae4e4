import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'

import { expect, it } from 'vitest'

const src = fileURLToPath(new URL('../src', import.meta.url))

/** What each layer may import: those before it, and packages. A folder or a file is one layer. */
const mayImport: Record<string, readonly string[]> = {
  'errors.ts': [],
  'option-checks.ts': ['errors.ts'],
  core: ['errors.ts', 'node:crypto', 'node:util'],
  client: ['core', 'bowser', 'lru-cache'],
  'koa.ts': ['core', 'koa'],
  store: [
    'core',
    'errors.ts',
    'option-checks.ts',
    'lru-cache',
    'node:crypto',
    'node:diagnostics_channel',
  ],
  'store.ts': ['store', 'core'],
  carrier: ['core', 'errors.ts', 'option-checks.ts', 'cookie'],
  token: ['core', 'errors.ts', 'option-checks.ts', 'lru-cache', 'jose', 'node:crypto'],
  'options.ts': ['carrier', 'store', 'token', 'core', 'koa'],
  'resolve-options.ts': [
    'options.ts',
    'carrier',
    'store',
    'token',
    'core',
    'errors.ts',
    'option-checks.ts',
    'node:fs',
    'node:os',
  ],
  'events.ts': ['store', 'errors.ts', 'node:diagnostics_channel', 'node:events'],
  'locks.ts': ['store', 'core', 'errors.ts', 'node:crypto', 'node:timers/promises'],
  'services.ts': [
    'options.ts',
    'events.ts',
    'locks.ts',
    'store',
    'token',
    'core',
    'node:async_hooks',
    'node:util',
  ],
  'joining.ts': ['token', 'core'],
  'block.ts': ['node:async_hooks'],
  'committer.ts': ['services.ts', 'locks.ts', 'events.ts', 'carrier', 'store', 'core', 'errors.ts'],
  'unit-of-work.ts': [
    'committer.ts',
    'block.ts',
    'joining.ts',
    'services.ts',
    'carrier',
    'store',
    'core',
    'errors.ts',
  ],
  'request-session.ts': [
    'unit-of-work.ts',
    'services.ts',
    'carrier',
    'store',
    'core',
    'errors.ts',
    'node:net',
  ],
  'describe-client.ts': ['client', 'services.ts', 'options.ts', 'core'],
  'open-session.ts': [
    'describe-client.ts',
    'request-session.ts',
    'unit-of-work.ts',
    'services.ts',
    'carrier',
    'store',
    'core',
    'errors.ts',
    'node:os',
  ],
  'sessions.ts': [
    'open-session.ts',
    'resolve-options.ts',
    'request-session.ts',
    'services.ts',
    'options.ts',
    'events.ts',
    'carrier',
    'core',
    'errors.ts',
    'node:http',
  ],
  middleware: [
    'sessions.ts',
    'request-session.ts',
    'describe-client.ts',
    'services.ts',
    'options.ts',
    'events.ts',
    'carrier',
    'core',
    'errors.ts',
    'option-checks.ts',
    'koa',
    'node:http',
    'node:util',
  ],
  cli: [
    'sessions.ts',
    'store',
    'core',
    'errors.ts',
    'ioredis',
    'node:fs',
    'node:readline/promises',
    'node:stream',
    'node:util',
  ],
  'cli.ts': ['cli', 'node:fs'],
  'testing.ts': [
    'open-session.ts',
    'request-session.ts',
    'sessions.ts',
    'services.ts',
    'carrier',
    'core',
    'errors.ts',
    'option-checks.ts',
  ],
  'routes.ts': [
    'middleware',
    'sessions.ts',
    'core',
    'errors.ts',
    'option-checks.ts',
    '@koa/router',
    'koa',
    'node:http',
  ],
}

function layerOf(file: string): string {
  return file.split('/')[0] ?? ''
}

function importsOf(file: string): string[] {
  const text = readFileSync(join(src, file), 'utf8')
  return [...text.matchAll(/^(?:import '|(?:import |export |\} )[^'\n]*from ')([^']+)'$/gm)].map(
    (match) => {
      const target = match[1] ?? ''
      return target.startsWith('.') ? layerOf(normalize(join(dirname(file), target))) : target
    },
  )
}

it('imports only from the layers before, and each package in one place', () => {
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' })
  const modules = files.filter((file) => file.endsWith('.ts') && file !== 'index.ts')

  const found = modules.flatMap((file) =>
    importsOf(file)
      .filter((target) => target !== layerOf(file))
      .filter((target) => !mayImport[layerOf(file)]?.includes(target))
      .map((target) => `${file} imports ${target}`),
  )

  expect(modules.length).toBeGreaterThan(25)
  expect(found).toEqual([])
})

it('re-exports each name in index.ts by name, from its owner', () => {
  const index = readFileSync(join(src, 'index.ts'), 'utf8')

  expect(index).not.toMatch(/export \*|export default/)
  expect(index.replaceAll(/export (?:type )?\{[^}]*\} from '[^']+'\s*/g, '').trim()).toBe(
    "import './koa.ts'",
  )
})
