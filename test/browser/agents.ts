import type { BrowserContextOptions } from 'playwright-core'

import { userAgents } from '../support/user-agents.ts'

// Whatever the user agent says, Chromium sends its own client hints unless told otherwise.
const noHints = { 'Sec-CH-UA': '', 'Sec-CH-UA-Platform': '' }
const chromeHints = {
  'Sec-CH-UA': '"Google Chrome";v="131", "Chromium";v="131", "Not_A Brand";v="24"',
  'Sec-CH-UA-Platform': '"Windows"',
  'Sec-CH-UA-Platform-Version': '"10.0.0"',
}

/** A phone. */
export const phone: BrowserContextOptions = {
  userAgent: userAgents.phone,
  extraHTTPHeaders: noHints,
  viewport: { width: 390, height: 844 },
  isMobile: true,
  hasTouch: true,
}

/** A computer with Linux. */
export const linux: BrowserContextOptions = {
  userAgent: userAgents.linux,
  extraHTTPHeaders: noHints,
  viewport: { width: 1000, height: 800 },
}

/** A computer with Windows. */
export const windows: BrowserContextOptions = {
  userAgent: userAgents.windows,
  extraHTTPHeaders: chromeHints,
  viewport: { width: 1000, height: 800 },
}
