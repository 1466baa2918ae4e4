import type { ActiveSession } from 'koa-user-sessions'

import { devicesOf, kindOf, placeOfClient } from './device-words.ts'
import type { Device } from './device-words.ts'
import { html } from './html.ts'
import type { Html } from './html.ts'
import { ago, at } from './moment.ts'

/**
 * Sessions as cards, each with a button that ends it: for a form that takes the id as `end`.
 *
 * @param more What a card has besides.
 */
export function deviceList(
  sessions: readonly Device[],
  more?: (session: ActiveSession, device: string) => Html,
): Html {
  const devices = devicesOf(sessions)
  return html`<ul class="devices">
    ${sessions.map((session) => {
      const device = devices.get(session.id) ?? ''
      return html`<li ${session.isCurrent && html`class="current"`}>
        ${icons[kindOf(session)]}
        <div>
          <h3>${device}${session.isCurrent && html` <span class="tag">This device</span>`}</h3>
          ${facts(session)} ${more?.(session, device)}
        </div>
        ${endButton(session, device)}
      </li>`
    })}
  </ul>`
}

function facts(session: ActiveSession): Html {
  return html`<dl class="seen">
    <div>
      <dt>Place</dt>
      <dd>
        <span class="said">${placeOfClient(session)}</span>
        <span class="faint">${session.ip}</span>
      </dd>
    </div>
    <div>
      <dt>Signed in</dt>
      <dd>
        <span class="said">${ago(session.dateCreated)}</span>
        <span class="faint">${at(session.dateCreated)}</span>
      </dd>
    </div>
    <div>
      <dt>Last active</dt>
      <dd>
        ${
          session.isCurrent
            ? 'Now'
            : html`<span class="said">${ago(session.dateActive)}</span>
                <span class="faint">${at(session.dateActive)}</span>`
        }
      </dd>
    </div>
  </dl>`
}

function endButton({ id, isCurrent, dateCreated }: ActiveSession, device: string): Html {
  return html`<button name="end" value="${id}" id="end-${id}" class="quiet">
    End<span class="unseen">
      ${device}, ${isCurrent ? 'this device' : html`signed in ${ago(dateCreated)}`}</span
    >
  </button>`
}

const icons: Record<ReturnType<typeof kindOf>, Html> = {
  phone: html`<svg class="kind" viewBox="0 0 24 24" aria-hidden="true">
    <rect x="7" y="2.5" width="10" height="19" rx="2" />
    <path d="M11 18.5h2" />
  </svg>`,
  computer: html`<svg class="kind" viewBox="0 0 24 24" aria-hidden="true">
    <rect x="4" y="4.5" width="16" height="11" rx="1.5" />
    <path d="M1.5 19.5h21" />
  </svg>`,
}
