import type { ActiveSession, SessionInfo } from 'koa-user-sessions'

import { deviceList } from './device-list.ts'
import { devicesOf } from './device-words.ts'
import type { Device } from './device-words.ts'
import { facts, nothing } from './facts.ts'
import { quoted, readForm } from './form.ts'
import { html } from './html.ts'
import type { Html } from './html.ts'
import { seeOther, show } from './layout.ts'
import { listDevices } from './list-devices.ts'
import type { ShopContext } from './shop.ts'

/** `GET /admin/sessions?user=…`, behind `requirePrivilege('WebAdmin')`. */
export function showUserSessions(ctx: ShopContext): Promise<void> {
  return showPage(ctx, new URLSearchParams(ctx.querystring).get('user') ?? '')
}

/** `POST /admin/sessions`, behind the same guard: the button says which session is to end. */
export async function endUserSessions(ctx: ShopContext): Promise<void> {
  const form = await readForm(ctx)
  const user = form.get('user') ?? ''
  const end = form.get('end')
  const { session } = ctx
  const { sessions } = ctx.state
  const list = await listDevices(sessions, user, session)
  const ending = end === 'all' ? list : list.filter(({ id }) => id === end)
  if (end === 'all') {
    const count = await sessions.terminateAll(user)
    session.storage.notice =
      count === 0
        ? `${quoted(user)} had no session.`
        : `Ended: ${counted(count)} of ${quoted(user)}.`
  } else if (ending[0]) {
    await sessions.terminate(ending[0].id)
    session.storage.notice = `Ended: ${devicesOf(list).get(ending[0].id)} of ${quoted(user)}.`
  } else {
    await showPage(ctx, user, `${quoted(user)} has no such session, or it has ended already.`)
    return
  }
  // An admin may end the session that asks.
  if (ending.some(({ isCurrent }) => isCurrent)) ctx.session = null
  seeOther(ctx, `/admin/sessions?user=${encodeURIComponent(user)}`)
}

/** The form that finds the sessions of a user. */
export function findForm(user = ''): Html {
  return html`<form method="get" action="/admin/sessions" class="row">
    <label for="user">User name</label>
    <input
      id="user"
      name="user"
      value="${user}"
      autocomplete="off"
      autocapitalize="none"
      spellcheck="false"
      required
    />
    <button>Find</button>
  </form>`
}

async function showPage(ctx: ShopContext, user: string, problem?: string): Promise<void> {
  const { sessions } = ctx.state
  const list = await listDevices(sessions, user, ctx.session)
  const infos = await Promise.all(list.map(({ id }) => sessions.info(id)))
  const infoById = new Map(list.map(({ id }, index) => [id, infos[index]]))
  show(ctx, {
    title: 'Sessions of a user',
    status: problem === undefined ? 200 : 404,
    main: html`${problem !== undefined && html`<p class="problem" role="alert">${problem}</p>`}
      ${findForm(user)}
      ${user !== '' && found(user, list, ({ id }, device) => details(device, infoById.get(id) ?? undefined))}
      <p><a href="/admin">Back to the admin page</a></p>`,
  })
}

function found(
  user: string,
  list: readonly Device[],
  more: (session: ActiveSession, device: string) => Html,
): Html {
  if (list.length === 0) return html`<p>${quoted(user)} has no session.</p>`
  return html`<section aria-labelledby="found">
    <h2 id="found">${quoted(user)} has ${counted(list.length)}</h2>
    <form method="post" action="/admin/sessions">
      <input type="hidden" name="user" value="${user}" />
      ${deviceList(list, more)}
      <p>
        <button name="end" value="all">
          End all<span class="unseen"> of ${quoted(user)}</span>
        </button>
      </p>
    </form>
  </section>`
}

function details(device: string, info?: SessionInfo): Html {
  return html`<details>
    <summary>info<span class="unseen"> of ${device}</span></summary>
    ${
      info
        ? facts(Object.entries(info).map(([name, value]) => [name, value || nothing('not known')]))
        : html`<p>It has just ended.</p>`
    }
  </details>`
}

function counted(count: number): string {
  return count === 1 ? 'one session' : `${count} sessions`
}
