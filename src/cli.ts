#!/usr/bin/env node
import { readFileSync } from 'node:fs'

import { main } from './cli/main.ts'

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // A reader such as `head` has read enough.
  if (error.code === 'EPIPE') process.exit(0)
  process.stderr.write(`koa-user-sessions: cannot write the output: ${String(error.code)}\n`)
  process.exit(2)
})

async function run(): Promise<void> {
  // The manifest is next to `src`, and next to `dist`.
  const manifest = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  const { version }: { version: string } = JSON.parse(manifest)
  const code = await main(process.argv.slice(2), process, version)
  // Exits once everything is written, because an open connection would keep the process alive.
  process.stdout.write('', (error) => {
    if (!error) process.exit(code)
  })
}

void run()
