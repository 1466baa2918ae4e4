import { deviceList } from './device-list.ts'
import { devicesOf } from './device-words.ts'
import { readForm } from './form.ts'
import { html } from './html.ts'
import { seeOther, show } from './layout.ts'
import { listDevices } from './list-devices.ts'
import type { ShopContext } from './shop.ts'

/** `GET /devices`, behind `requireUser()`. */
export function showDevices(ctx: ShopContext): Promise<void> {
  return showPage(ctx)
}

/** `POST /devices`, behind the same guard: the button says which session is to end. */
export async function endDevice(ctx: ShopContext): Promise<void> {
  const end = (await readForm(ctx)).get('end')
  const { session } = ctx
  const { sessions } = ctx.state
  if (end === session.id) {
    ctx.session = null
    seeOther(ctx, '/')
    return
  }
  if (end === 'others') {
    const count = await sessions.terminateOthers(session)
    session.storage.notice = othersEnded(count)
    seeOther(ctx, '/devices')
    return
  }
  // Only one's own: the id of a stranger's session is not in the list.
  const mine = await listDevices(sessions, session.userName, session)
  const found = mine.find(({ id }) => id === end)
  if (!found) {
    await showPage(ctx, 'That session is none of yours, or it has ended already.')
    return
  }
  await sessions.terminate(found.id)
  session.storage.notice = `Ended: ${devicesOf(mine).get(found.id)}.`
  seeOther(ctx, '/devices')
}

async function showPage(ctx: ShopContext, problem?: string): Promise<void> {
  const { session } = ctx
  const list = await listDevices(ctx.state.sessions, session.userName, session)
  const others = list.filter(({ isCurrent }) => !isCurrent).length
  show(ctx, {
    title: 'Your devices',
    script: '/devices.js',
    status: problem === undefined ? 200 : 404,
    main: html`${problem !== undefined && html`<p class="problem" role="alert">${problem}</p>`}
      <p id="said" role="status"></p>
      <section id="devices" aria-labelledby="devices-title" data-now="${Date.now()}">
        <h2 id="devices-title" tabindex="-1">
          ${others === 0 ? 'Signed in here only' : `Signed in on ${list.length} devices`}
        </h2>
        <p>
          If you do not know one of them, end it: it is signed out at once. Ending this device signs
          you out.
        </p>
        <form method="post" action="/devices">
          ${deviceList(list)}
          ${others > 0 && html`<p><button name="end" value="others">End all others</button></p>`}
        </form>
      </section>`,
  })
}

function othersEnded(count: number): string {
  if (count === 0) return 'There was no other device.'
  return count === 1 ? 'Ended: the other device.' : `Ended: ${count} other devices.`
}
