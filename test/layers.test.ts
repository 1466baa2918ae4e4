import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'

import { expect, it } from 'vitest'

const src = fileURLToPath(new URL('../src', import.meta.url))

/**
 * What each room may import: the rooms above it in the table, and packages. A file at the top is a
 * room, too.
 */
const mayImport: Record<string, readonly string[]> = {
  'errors/': [],
  'storage/': ['errors/', 'node:util'],
  'privileges/': ['errors/'],
  'cookie/': ['errors/', 'cookie', 'node:crypto'],
  'tokens/': ['errors/', 'cookie/', 'lru-cache', 'jose', 'node:crypto'],
  'client/': ['bowser', 'lru-cache'],
  'store/': [
    'errors/',
    'storage/',
    'privileges/',
    'cookie/',
    'client/',
    'lru-cache',
    'node:crypto',
    'node:diagnostics_channel',
  ],
  'store.ts': ['store/', 'storage/', 'privileges/', 'cookie/', 'client/'],
  'events/': ['errors/', 'store/', 'node:diagnostics_channel', 'node:events'],
  'options/': [
    'errors/',
    'storage/',
    'privileges/',
    'cookie/',
    'tokens/',
    'client/',
    'store/',
    'koa',
    'node:fs',
    'node:os',
  ],
  'session/': [
    'errors/',
    'storage/',
    'privileges/',
    'cookie/',
    'tokens/',
    'client/',
    'store/',
    'events/',
    'options/',
    'node:async_hooks',
    'node:crypto',
    'node:net',
    'node:timers/promises',
    'node:util',
  ],
  'manager/': [
    'errors/',
    'storage/',
    'privileges/',
    'cookie/',
    'tokens/',
    'client/',
    'store/',
    'events/',
    'options/',
    'session/',
    'node:http',
    'node:os',
  ],
  'koa/': [
    'errors/',
    'storage/',
    'privileges/',
    'cookie/',
    'tokens/',
    'client/',
    'events/',
    'options/',
    'session/',
    'manager/',
    'koa',
    'node:http',
    'node:util',
  ],
  'routes.ts': ['errors/', 'storage/', 'manager/', 'koa/', 'koa', '@koa/router', 'node:http'],
  'testing.ts': ['errors/', 'storage/', 'privileges/', 'cookie/', 'store/', 'session/', 'manager/'],
  'cli/': [
    'errors/',
    'privileges/',
    'store/',
    'session/',
    'manager/',
    'ioredis',
    'node:fs',
    'node:readline/promises',
    'node:stream',
    'node:util',
  ],
  'cli.ts': ['cli/', 'node:fs'],
}

/** The folder of a file in `src`, with a slash at its end; the file itself at the top. */
function roomOf(file: string): string {
  const [first = '', ...rest] = file.split('/')
  return rest.length === 0 ? first : `${first}/`
}

function importsOf(file: string): string[] {
  const text = readFileSync(join(src, file), 'utf8')
  return [...text.matchAll(/^(?:import '|(?:import |export |\} )[^'\n]*from ')([^']+)'$/gm)].map(
    (match) => {
      const target = match[1] ?? ''
      return target.startsWith('.') ? roomOf(normalize(join(dirname(file), target))) : target
    },
  )
}

it('imports only from layers above, and each package in few places', () => {
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' })
  const modules = files.filter((file) => file.endsWith('.ts') && file !== 'index.ts')

  const found = modules.flatMap((file) =>
    importsOf(file)
      .filter((target) => target !== roomOf(file))
      .filter((target) => !mayImport[roomOf(file)]?.includes(target))
      .map((target) => `${file} imports ${target}`),
  )

  expect(modules.length).toBeGreaterThan(25)
  expect(found).toEqual([])
  // A room listed below one that imports it would be a way back up.
  const rooms = Object.keys(mayImport)
  for (const [index, room] of rooms.entries()) {
    const later = (mayImport[room] ?? []).filter((other) => rooms.indexOf(other) > index)
    expect(`${room}: ${later.join(', ')}`).toBe(`${room}: `)
  }
})

it('has only entries at the top of src', () => {
  const top = readdirSync(src, { withFileTypes: true }).filter((entry) => entry.isFile())

  expect(top.map((entry) => entry.name)).toEqual([
    'cli.ts',
    'index.ts',
    'routes.ts',
    'store.ts',
    'testing.ts',
  ])
})

it('re-exports each name in index.ts by name, from its owner', () => {
  const index = readFileSync(join(src, 'index.ts'), 'utf8')

  expect(index).not.toMatch(/export \*|export default/)
  expect(index.replaceAll(/export (?:type )?\{[^}]*\} from '[^']+'\s*/g, '').trim()).toBe(
    "import './koa/context.ts'",
  )
})
