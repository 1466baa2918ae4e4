import { quoted, readForm, wholeNumber } from './form.ts'
import { html } from './html.ts'
import type { Html } from './html.ts'
import { seeOther, show } from './layout.ts'
import { price, products } from './products.ts'
import type { Product } from './products.ts'
import type { ShopContext } from './shop.ts'

/** `GET /stock`, behind `requirePrivilege('editStock')`. */
export function showStock(ctx: ShopContext): void {
  show(ctx, { title: 'Stock', main: stockPage(ctx) })
}

/** `POST /stock`, behind the same guard: each request is asked anew. */
export async function changeStock(ctx: ShopContext): Promise<void> {
  const form = await readForm(ctx)
  const product = products.get(form.get('product') ?? '')
  const count = wholeNumber(form.get('count'))
  if (!product || count === undefined) {
    const problem = product
      ? `${quoted(form.get('count'))} is not a number of things: it takes a whole number up to 9999.`
      : `There is no product ${quoted(form.get('product'))}.`
    show(ctx, { title: 'Stock', main: stockPage(ctx, problem), status: 400 })
    return
  }
  ctx.state.shop.stock.set(product.id, count)
  ctx.session.storage.notice = `${product.name}: ${count} in stock.`
  seeOther(ctx, '/stock')
}

function stockPage({ state }: ShopContext, problem?: string): Html {
  return html`${problem !== undefined && html`<p class="problem" role="alert">${problem}</p>`}
    <p>
      It takes the privilege <code>editStock</code> to be here. The numbers are kept in this
      process, not in the session: everybody sees the same.
    </p>
    <ul class="lines">
      ${[...products.values()].map(
        (product) => html`<li>${stockRow(product, state.shop.stock.get(product.id) ?? 0)}</li>`,
      )}
    </ul>`
}

function stockRow({ id, name, cents }: Product, count: number): Html {
  return html`<div>
      <h2>${name}</h2>
      <p class="facts">${price(cents)} each</p>
    </div>
    <form method="post" action="/stock" class="row">
      <input type="hidden" name="product" value="${id}" />
      <label for="count-${id}">In stock<span class="unseen">: ${name}</span></label>
      <input
        id="count-${id}"
        name="count"
        type="number"
        inputmode="numeric"
        min="0"
        max="9999"
        value="${count}"
        required
      />
      <button>Save<span class="unseen"> ${name}</span></button>
    </form>`
}
