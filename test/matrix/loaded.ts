// Runs before each test file, in the process of that file, and writes down what is loaded there.

import { appendFileSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

function versionOf(name: string): string {
  const manifest: { readonly version: string } = JSON.parse(
    readFileSync(require.resolve(`${name}/package.json`), 'utf8'),
  )
  return manifest.version
}

const line = `Node ${process.version.slice(1)}, Koa ${versionOf('koa')}, ioredis ${versionOf('ioredis')}`
appendFileSync(process.env['MATRIX_LOADED']!, `${line}\n`)
