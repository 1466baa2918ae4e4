import { facts, nothing } from './facts.ts'
import { quoted, readForm } from './form.ts'
import { html } from './html.ts'
import type { Content, Html } from './html.ts'
import { seeOther, show } from './layout.ts'
import type { ShopContext } from './shop.ts'

/** The least idle timeout, in minutes: what `minIdleTimeout` of the app is set to. */
export const floorMinutes = 60

const mostMinutes = 525_600

/** `GET /session` */
export function showSession(ctx: ShopContext): void {
  show(ctx, { title: 'Your session', main: sessionPage(ctx) })
}

/** `POST /session`: another idle timeout. */
export async function changeIdleTimeout(ctx: ShopContext): Promise<void> {
  const text = (await readForm(ctx)).get('minutes')
  const minutes = text?.trim() ? Number(text) : Number.NaN
  if (!(minutes >= 1 && minutes <= mostMinutes)) {
    const problem = `${quoted(text)} is not an idle timeout: it takes 1 to ${mostMinutes} minutes.`
    show(ctx, { title: 'Your session', main: sessionPage(ctx, problem), status: 400 })
    return
  }
  const { session } = ctx
  session.idleTimeout = minutes
  session.storage.notice =
    session.idleTimeout > minutes
      ? `Your idle timeout is ${session.idleTimeout} minutes: ${minutes} was below the floor and was raised to it.`
      : `Your idle timeout is ${session.idleTimeout} minutes.`
  seeOther(ctx, '/session')
}

function sessionPage({ session, state }: ShopContext, problem?: string): Html {
  const { idleTimeout } = session
  const isGuest = session.isGuest()
  const privileges = session.getPrivileges()
  return html`${problem !== undefined && html`<p class="problem" role="alert">${problem}</p>`}
    ${
      session.isNew &&
      html`<p>
        This session is stored nowhere yet, and you have no cookie for it: that comes with its first
        change, such as the first thing in your cart. Until then each page gets another id.
      </p>`
    }
    ${facts([
      ['id', html`<code>${session.id}</code>`],
      ['type', session.type],
      ['userName', session.userName || nothing('nobody is signed in')],
      ['privileges', privileges.length > 0 ? privileges.join(', ') : nothing('none')],
      ['isGuest()', String(isGuest)],
      ['isNew', String(session.isNew)],
      ['idleTimeout', `${idleTimeout} minutes`],
      ['expirationDate', time(session.expirationDate)],
      ['clientCulture', session.clientCulture ?? nothing('not told')],
      ['clientUtcOffset', offset(session.clientUtcOffset)],
      ['kept', state.shop.place],
    ])}
    <section aria-labelledby="idle">
      <h2 id="idle">Idle timeout</h2>
      <p>
        Your session ends after so many minutes without a request. Less than ${floorMinutes} is
        raised to ${floorMinutes}, the floor that this shop has set; the most is ${mostMinutes}, a
        year.
      </p>
      <form method="post" action="/session" class="row">
        <label for="minutes">Minutes</label>
        <input
          id="minutes"
          name="minutes"
          type="number"
          inputmode="decimal"
          step="any"
          min="1"
          max="${mostMinutes}"
          value="${idleTimeout}"
          required
        />
        <button>Set</button>
      </form>
    </section>
    <section aria-labelledby="info">
      <h2 id="info">info</h2>
      ${facts(
        Object.entries(session.info).map(([name, value]) => [name, value || nothing('not known')]),
      )}
    </section>
    <section aria-labelledby="storage">
      <h2 id="storage">storage</h2>
      <pre tabindex="0">${JSON.stringify(session.storage, null, 2)}</pre>
    </section>`
}

function time(text: string): Html {
  return html`<time datetime="${text}">${text}</time>`
}

function offset(minutes: number | null): Content {
  return minutes === null ? nothing('not told') : `${minutes} minutes`
}
