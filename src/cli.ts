#!/usr/bin/env node
import { main } from './cli/main.ts'

// Somebody downstream, such as `head`, has read enough.
process.stdout.on('error', () => process.exit(0))

async function run(): Promise<void> {
  process.exitCode = await main(process.argv.slice(2), process)
}

void run()
