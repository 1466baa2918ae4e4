// Runs before each test file, in the process of that file, and records what is loaded there.

import { appendFileSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

function versionOf(name: string): string {
  const path = require.resolve(`${name}/package.json`)
  const { version }: { readonly version: string } = JSON.parse(readFileSync(path, 'utf8'))
  return `${name} ${version}`
}

const loaded = ['koa', '@types/koa', 'ioredis'].map(versionOf)
const line = [`node ${process.versions.node}`, ...loaded].join(', ')
appendFileSync(process.env['MATRIX_LOADED']!, `${line}\n`)
