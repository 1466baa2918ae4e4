import { html } from './html.ts'
import type { Content, Html } from './html.ts'
import type { ShopContext } from './shop.ts'

/** What a page has of its own. */
export interface Page {
  readonly title: string
  readonly main: Html
  /** 200 unless told. */
  readonly status?: number
  /** The path of a script that the page works without. */
  readonly script?: string
}

const links = [
  ['/', 'Shop'],
  ['/cart', 'Cart'],
  ['/stock', 'Stock'],
  ['/session', 'Session'],
  ['/devices', 'Devices'],
  ['/admin', 'Admin'],
] as const

/** Answers with a page that knows who is asking. */
export function show(ctx: ShopContext, { title, main, status = 200, script }: Page): void {
  const { userName, storage } = ctx.session
  // Not on a 404, which browsers cause by themselves when they look for icons.
  const notice = status === 404 ? undefined : storage.notice
  // Guests who have done nothing have none, so that looking around stores nothing.
  if (notice !== undefined) delete storage.notice
  const inCart = Object.values(storage.cart ?? {}).reduce((sum, quantity) => sum + quantity, 0)

  respond(ctx, {
    status,
    title,
    script,
    inCart,
    isSignedIn: userName !== '',
    who:
      userName === ''
        ? html`<a href="/sign-in" ${current(ctx, '/sign-in')}>Sign in</a>`
        : html`<form method="post" action="/sign-out">
            <span><span class="wide">Signed in as</span> <strong>${userName}</strong></span>
            <button class="quiet">Sign out</button>
          </form>`,
    main: [notice !== undefined && html`<p class="notice" role="status">${notice}</p>`, main],
  })
}

/** Answers with a page that asks for no session. */
export function showPlain(ctx: ShopContext, { title, main, status = 200 }: Page): void {
  respond(ctx, { status, title, main })
}

/** Goes on to another page, which the browser GETs whatever this request was. */
export function seeOther(ctx: Pick<ShopContext, 'status' | 'redirect'>, path: string): void {
  ctx.status = 303
  ctx.redirect(path)
}

interface Frame {
  readonly status: number
  readonly title: string
  readonly main: Content
  readonly script?: string | undefined
  readonly who?: Html
  readonly inCart?: number
  readonly isSignedIn?: boolean
}

function respond(
  ctx: ShopContext,
  { status, title, main, script, who, inCart = 0, isSignedIn = false }: Frame,
): void {
  ctx.status = status
  ctx.type = 'html'
  ctx.body = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>${title} – Lantern &amp; Rope</title>
        <link rel="stylesheet" href="/shop.css" />
        <link rel="icon" href="/icon.svg" type="image/svg+xml" />
        ${script !== undefined && html`<script type="module" src="${script}"></script>`}
      </head>
      <body>
        <a class="skip" href="#main">Skip to the page</a>
        <header>
          <p class="brand">Lantern <span>&amp;</span> Rope</p>
          <nav aria-label="Shop">
            <ul>
              ${links
                // Guests have no devices.
                .filter(([path]) => path !== '/devices' || isSignedIn)
                .map(
                  ([path, name]) =>
                    html`<li>
                      <a href="${path}" ${current(ctx, path)}
                        >${name}${
                          path === '/cart' &&
                          inCart > 0 &&
                          html` <span class="count">${inCart}</span>`
                        }</a
                      >
                    </li>`,
                )}
            </ul>
          </nav>
          ${who && html`<div class="who">${who}</div>`}
        </header>
        <main id="main">
          <h1>${title}</h1>
          ${main}
        </main>
        <footer>
          <p>Sessions are kept <strong>${ctx.state.shop.place}</strong>.</p>
          <p>A demo of koa-user-sessions. Nothing here is for sale.</p>
        </footer>
      </body>
    </html>`.toString()
}

function current({ path }: ShopContext, link: string): Html | false {
  return path === link && html`aria-current="page"`
}
