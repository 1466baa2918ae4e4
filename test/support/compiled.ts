import { createHash } from 'node:crypto'
import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { build } from 'esbuild'

const root = fileURLToPath(new URL('../..', import.meta.url))
// From here packages are found, and git ignores the files.
const folder = join(root, 'node_modules/.cache/koa-user-sessions')

const made = new Map<string, Promise<string>>()

/**
 * Bundles a program of the tests into one JavaScript file, which a process starts in half of the
 * time that `tsx` takes. Packages are loaded as usual.
 *
 * @param url The program, in TypeScript.
 * @returns The path of the file.
 */
export function compiled(url: URL): Promise<string> {
  const path = fileURLToPath(url)
  const making = made.get(path) ?? compile(path)
  made.set(path, making)
  return making
}

async function compile(path: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [path],
    tsconfig: join(root, 'test/tsconfig.json'),
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'node',
    target: 'node20.19',
    packages: 'external',
    logLevel: 'warning',
  })
  const text = outputFiles[0]?.text ?? ''
  // The same text gets the same name, so that several processes may write it at once.
  const hash = createHash('sha256').update(text).digest('hex').slice(0, 16)
  const file = join(folder, `${basename(path, '.ts')}-${hash}.mjs`)
  mkdirSync(folder, { recursive: true })
  writeFileSync(`${file}.${process.pid}`, text)
  renameSync(`${file}.${process.pid}`, file)
  return file
}
