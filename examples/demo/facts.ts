import { html } from './html.ts'
import type { Content, Html } from './html.ts'

/** Names with what they stand for. */
export function facts(rows: readonly (readonly [name: string, value: Content])[]): Html {
  return html`<dl>
    ${rows.map(
      ([name, value]) =>
        html`<div>
          <dt>${name}</dt>
          <dd>${value}</dd>
        </div>`,
    )}
  </dl>`
}

/** Said in place of something that is not there. */
export function nothing(text: string): Html {
  return html`<span class="faint">${text}</span>`
}
