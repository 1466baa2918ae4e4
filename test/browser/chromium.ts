import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

import { chromium } from 'playwright-core'
import type { Browser } from 'playwright-core'

const names = ['chromium', 'chromium-browser', 'google-chrome']
const launchWaitMs = 20_000

/**
 * Starts a headless Chromium.
 *
 * @returns It; the caller closes it.
 * @throws {Error} When there is none on the PATH.
 */
export function launchChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: findChromium(),
    // Chromium refuses to run as root in its sandbox.
    chromiumSandbox: process.getuid?.() !== 0,
    timeout: launchWaitMs,
  })
}

/**
 * Finds Chromium on the PATH.
 *
 * @throws {Error} When there is none.
 */
export function findChromium(): string {
  const folders = (process.env['PATH'] ?? '').split(delimiter)
  const paths = names.flatMap((name) => folders.map((folder) => join(folder, name)))
  const found = paths.find(isProgram)
  if (found === undefined) throw new Error('Chromium is not on the PATH: run ./test/setup.sh')
  return found
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
