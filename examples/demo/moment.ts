import { html } from './html.ts'
import type { Html } from './html.ts'

// devices.js says the same in the browser, where the time zone is known and time goes on.
const relative = new Intl.RelativeTimeFormat('en-GB', { numeric: 'auto' })
const absolute = new Intl.DateTimeFormat('en-GB', {
  day: 'numeric',
  month: 'short',
  year: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
  timeZone: 'UTC',
  timeZoneName: 'short',
})

/** How long ago something was: `5 minutes ago`. */
export function ago(unixSeconds: number): Html {
  return time(unixSeconds, 'ago', agoText(Date.now() / 1000 - unixSeconds))
}

/** When something was: `21 Aug 2026, 14:05 UTC`. */
export function at(unixSeconds: number): Html {
  return time(unixSeconds, 'at', absolute.format(unixSeconds * 1000))
}

/** The words for so many seconds. */
export function agoText(seconds: number): string {
  if (seconds < 45) return 'just now'
  if (seconds < 45 * 60) return relative.format(-Math.round(seconds / 60), 'minute')
  if (seconds < 22 * 3600) return relative.format(-Math.round(seconds / 3600), 'hour')
  return relative.format(-Math.round(seconds / 86_400), 'day')
}

function time(unixSeconds: number, shows: string, text: string): Html {
  const iso = new Date(unixSeconds * 1000).toISOString()
  return html`<time datetime="${iso}" data-shows="${shows}">${text}</time>`
}
