import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import type { TestProject } from 'vitest/node'

declare module 'vitest' {
  interface ProvidedContext {
    /** An empty project with the packed package and its peers installed. */
    projectPath: string
  }
}

const root = fileURLToPath(new URL('../..', import.meta.url))
const consumers = fileURLToPath(new URL('.', import.meta.url))

// What the README tells you to install, in the versions that the tests run with.
const peers = ['@koa/router', '@types/koa', '@types/node', 'ioredis', 'koa']

/**
 * Packs the package, and installs it into an empty project, as a user would.
 *
 * @param project The vitest project that is given the folder.
 */
export function setup(project: TestProject): () => void {
  if (!existsSync(join(consumers, 'node_modules/.package-lock.json'))) npm(consumers, 'ci')
  const path = mkdtempSync(join(tmpdir(), 'koa-user-sessions-consumer-'))
  const remove = (): void => rmSync(path, { recursive: true, force: true })
  try {
    const tarball = npm(root, 'pack', '--silent', '--pack-destination', path)
      .trim()
      .split('\n')
      .at(-1)
    writeFileSync(join(path, 'package.json'), JSON.stringify({ private: true, type: 'module' }))
    npm(path, 'install', '--no-audit', '--no-fund', join(path, tarball ?? ''), ...peers.map(asHere))
  } catch (error) {
    remove()
    throw error
  }
  project.provide('projectPath', path)
  return remove
}

function npm(cwd: string, ...args: readonly string[]): string {
  return execFileSync('npm', args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
}

/** A package with the version that is installed here. */
function asHere(name: string): string {
  const manifest: unknown = JSON.parse(
    readFileSync(join(root, 'node_modules', name, 'package.json'), 'utf8'),
  )
  if (typeof manifest !== 'object' || manifest === null || !('version' in manifest)) {
    throw new Error(`${name} is not installed`)
  }
  return `${name}@${String(manifest.version)}`
}
