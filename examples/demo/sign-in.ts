import { readForm } from './form.ts'
import { html } from './html.ts'
import type { Html } from './html.ts'
import { seeOther, show } from './layout.ts'
import { localPath } from './local-path.ts'
import type { ShopContext } from './shop.ts'
import { findUser, users } from './users.ts'

interface Attempt {
  readonly name?: string
  /** Where to go afterwards. */
  readonly next: string
  readonly problem?: string
}

/** `GET /sign-in`, from a guard with `?next=` and the page that was asked for. */
export function showSignIn(ctx: ShopContext): void {
  const next = localPath(new URLSearchParams(ctx.querystring).get('next'))
  show(ctx, { title: 'Sign in', main: signInPage(ctx, { next }) })
}

/** `POST /sign-in` */
export async function signIn(ctx: ShopContext): Promise<void> {
  const form = await readForm(ctx)
  const name = form.get('name') ?? ''
  const next = localPath(form.get('next'))
  const user = await findUser(name, form.get('password') ?? '')
  if (!user) {
    const problem = 'That name and password do not belong together.'
    // RFC 9110 section 15.5.2: a 401 names a challenge.
    ctx.set('WWW-Authenticate', 'Cookie realm="shop"')
    show(ctx, { title: 'Sign in', main: signInPage(ctx, { name, next, problem }), status: 401 })
    return
  }

  // The cookie gets a new value, and what a guest has put into the cart comes along. Somebody else
  // who was signed in here leaves nothing behind: that session ends and a new one begins.
  ctx.session.setPrivileges({ roles: user.role, userName: user.name })
  ctx.session.storage.notice = `Welcome, ${user.name}. You may ${user.may}.`
  const { signIns } = ctx.state.shop
  signIns.set(user.name, (signIns.get(user.name) ?? 0) + 1)
  seeOther(ctx, next)
}

/** `POST /sign-out` */
export function signOut(ctx: ShopContext): void {
  ctx.session = null
  seeOther(ctx, '/')
}

function signInPage({ session }: ShopContext, { name = '', next, problem }: Attempt): Html {
  return html`${problem !== undefined && html`<p class="problem" role="alert" id="problem">${problem}</p>`}
    ${
      session.userName !== '' &&
      html`<p>
        You are signed in as <strong>${session.userName}</strong>. Signing in as somebody else ends
        that session, its cart included.
      </p>`
    }
    ${next !== '/' && html`<p>Then you go on to <code>${next}</code>.</p>`}
    <form method="post" action="/sign-in" class="stack">
      <input type="hidden" name="next" value="${next}" />
      <label for="name">Name</label>
      <input
        id="name"
        name="name"
        value="${name}"
        autocomplete="username"
        autocapitalize="none"
        spellcheck="false"
        required
        ${problem !== undefined && html`aria-describedby="problem"`}
      />
      <label for="password">Password</label>
      <input
        id="password"
        name="password"
        type="password"
        autocomplete="current-password"
        required
        ${problem !== undefined && html`aria-describedby="problem"`}
      />
      <button>Sign in</button>
    </form>
    <section aria-labelledby="staff">
      <h2 id="staff">Who works here</h2>
      <p>This is a demo, so here are everybody’s passwords.</p>
      <div class="scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">Name</th>
              <th scope="col">Password</th>
              <th scope="col">May</th>
            </tr>
          </thead>
          <tbody>
            ${users.map(
              ({ name, shownPassword, may }) =>
                html`<tr>
                  <th scope="row"><code>${name}</code></th>
                  <td><code>${shownPassword}</code></td>
                  <td>${may}</td>
                </tr>`,
            )}
          </tbody>
        </table>
      </div>
    </section>`
}
