import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import * as entry from 'koa-user-sessions'
import * as routes from 'koa-user-sessions/routes'
import * as store from 'koa-user-sessions/store'
import * as storeContract from 'koa-user-sessions/store-contract'
import * as testing from 'koa-user-sessions/testing'
import { describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))

it('exports these names and no others', () => {
  expect(Object.keys(entry).toSorted()).toEqual([
    'MemoryStore',
    'RedisStore',
    'SessionCrossSiteError',
    'SessionEndedError',
    'SessionError',
    'SessionGuestError',
    'SessionHeadersSentError',
    'SessionLimitError',
    'SessionLockTimeoutError',
    'SessionNotMountedError',
    'SessionOptionError',
    'SessionPrivilegeError',
    'SessionPrivilegeUnknownError',
    'SessionRolesError',
    'SessionStoreError',
    'SessionTokenError',
    'Sessions',
    'StorageKeyError',
    'StorageSizeError',
    'StorageValueError',
    'defineRoles',
    'recommendedClusterOptions',
    'recommendedRedisOptions',
    'recommendedSentinelOptions',
    'requirePrivilege',
    'requireSameOrigin',
    'requireUser',
    'session',
  ])
})

it('exports the routes from their own entry only', () => {
  expect(Object.keys(routes)).toEqual(['sessionRoutes'])
})

it('exports what authors of stores need from separate entries', () => {
  expect(Object.keys(store).toSorted()).toEqual([
    'askForLock',
    'changeSession',
    'decodeSession',
    'encodeSession',
    'endedBySignIn',
    'expiryOf',
    'extendLock',
    'isRefreshDue',
    'lockTurnMs',
    'maxOTPs',
    'maxRevision',
    'newSession',
    'openingOf',
    'refreshed',
    'rotatedMemoryMs',
    'summaryOf',
    'unknownClient',
  ])
  expect(Object.keys(storeContract)).toEqual(['describeSessionStore'])
})

/** The exports of an entry that has no names of its own, types included. */
function namesOf(file: string): string[] {
  const text = readFileSync(`${root}/src/${file}`, 'utf8')
  return [...text.matchAll(/^export (?:type )?\{([^}]*)\}/gm)]
    .flatMap(([, names = '']) => names.split(','))
    .map((name) => name.replace(/^\s*type /, '').trim())
    .filter((name) => name !== '')
}

it('exports from both entries only the types of stores that options name', () => {
  const ofApps = namesOf('index.ts')

  expect(ofApps.length).toBeGreaterThan(70)
  expect(
    namesOf('store.ts')
      .filter((name) => ofApps.includes(name))
      .toSorted(),
  ).toEqual(['ClientDescription', 'SessionLimit', 'SessionStore', 'SessionType', 'StorageLimits'])
})

it('exports test helpers from a separate entry', () => {
  expect(Object.keys(testing)).toEqual(['signedIn'])
})

it('packs the code, its sources and the documents, and nothing else', async () => {
  const run = promisify(execFile)
  const options = ['pack', '--dry-run', '--json', '--ignore-scripts']
  const { stdout } = await run('npm', options, { cwd: root })
  const [{ files }]: [{ files: { path: string }[] }] = JSON.parse(stdout)

  const others = files
    .map(({ path }) => path)
    .filter((path) => !path.startsWith('src/') && !path.startsWith('dist/'))

  expect(others.toSorted()).toEqual(['CHANGELOG.md', 'LICENSE', 'README.md', 'package.json'])
  expect(files.some(({ path }) => path === 'src/index.ts')).toBe(true)
})

it('has four run-time dependencies only, none of them a peer', () => {
  const manifest: { dependencies: object; peerDependenciesMeta: object } = JSON.parse(
    readFileSync(`${root}/package.json`, 'utf8'),
  )

  expect(Object.keys(manifest.dependencies)).toEqual(['bowser', 'cookie', 'jose', 'lru-cache'])
  expect(Object.keys(manifest.peerDependenciesMeta)).toContain('ioredis')
})

it('has at most sixteen scripts', () => {
  const manifest: { scripts: object } = JSON.parse(readFileSync(`${root}/package.json`, 'utf8'))

  expect(Object.keys(manifest.scripts).length).toBeLessThanOrEqual(16)
})

/** How `npm run bench` ends: its output, or an error that contains it. */
async function runBench(...args: readonly string[]): Promise<unknown> {
  const command = ['run', '-s', 'bench', '--', ...args]
  return promisify(execFile)('npm', command, { cwd: root }).catch((error: unknown) => error)
}

describe('npm run bench', () => {
  it('lists the benchmarks when asked for help', async () => {
    const { stdout }: { stdout: string } = Object(await runBench('help'))

    expect(stdout).toContain('npm run bench -- NAME')
    expect(stdout).toMatch(/^ {2}leaks +\w/m)
  })

  it('exits with 2 and prints the list for an unknown benchmark', async () => {
    expect(await runBench('leak')).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^There is no benchmark "leak"\.[^]+^ {2}leaks +\w/m),
    })
  })

  it('passes the arguments after its name to a benchmark', async () => {
    expect(await runBench('leaks', '--only', 'tape')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('--only one of redis, memory, outage'),
    })
  })
})
