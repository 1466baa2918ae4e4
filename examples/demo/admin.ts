import { findForm } from './admin-sessions.ts'
import { html } from './html.ts'
import type { Html } from './html.ts'
import { show } from './layout.ts'
import type { ShopContext } from './shop.ts'
import { users } from './users.ts'

/** `GET /admin`, behind `requirePrivilege('WebAdmin')`. */
export function showAdmin(ctx: ShopContext): void {
  const { visits, signIns, sessions, startedAt, place } = ctx.state.shop
  const { rss, heapUsed } = process.memoryUsage()
  show(ctx, {
    title: 'Admin',
    main: html`<p>It takes the privilege <code>WebAdmin</code> to be here.</p>
      <section aria-labelledby="find">
        <h2 id="find">Sessions of a user</h2>
        ${findForm()}
      </section>
      ${table(
        'Users',
        ['Name', 'Role', 'Times signed in'],
        users.map(({ name, role }) => [name, role, signIns.get(name) ?? 0]),
      )}
      ${table('Visits', ['Page', 'Times'], [...visits])}
      ${table(
        'Sessions that this process has seen',
        ['What', 'How many'],
        [
          ['begun', sessions.created],
          ['signed in', sessions.signedIn],
          ['ended or found gone', sessions.ended],
        ],
      )}
      ${table(
        'This process',
        ['What', 'How much'],
        [
          ['sessions', `kept ${place}`],
          ['open since', new Date(startedAt).toISOString()],
          ['memory', `${megabytes(rss)}, ${megabytes(heapUsed)} of it in use by JavaScript`],
          ['Node.js', process.version],
        ],
      )}
      <section aria-labelledby="faults">
        <h2 id="faults">Faults</h2>
        <p>
          <a href="/admin/fault">This page breaks</a>: it writes to the session and then fails, so
          that none of it is kept.
        </p>
      </section>`,
  })
}

/** `GET /admin/fault`: half of the work is done when it fails. */
export function fail(ctx: ShopContext): void {
  ctx.session.storage.notice = 'This is never shown.'
  throw new TypeError('a fault, asked for on the admin page')
}

function table(
  caption: string,
  head: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): Html {
  return html`<div class="scroll">
    <table>
      <caption>
        ${caption}
      </caption>
      <thead>
        <tr>
          ${head.map((name) => html`<th scope="col">${name}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          ([first, ...others]) =>
            html`<tr>
              <th scope="row">${first}</th>
              ${others.map((value) => html`<td>${value}</td>`)}
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MB`
}
