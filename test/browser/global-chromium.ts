import { findChromium } from './chromium.ts'

/** Ends the run before its first test when there is no Chromium. */
export function setup(): void {
  findChromium()
}
