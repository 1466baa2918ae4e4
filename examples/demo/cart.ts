import { quoted, readForm, wholeNumber } from './form.ts'
import { html } from './html.ts'
import type { Html } from './html.ts'
import { seeOther, show } from './layout.ts'
import { price, products } from './products.ts'
import type { Product } from './products.ts'
import type { ShopContext } from './shop.ts'

interface Line {
  readonly product: Product
  readonly quantity: number
  readonly inStock: number
}

/** `GET /cart` */
export function showCart(ctx: ShopContext): void {
  show(ctx, { title: 'Your cart', main: cartPage(ctx) })
}

/** `POST /cart`: the button says what to do. */
export async function changeCart(ctx: ShopContext): Promise<void> {
  const form = await readForm(ctx)
  // One at a time, so that parallel clicks all count.
  const problem = await ctx.session.use(() => change(ctx, form))
  if (problem === undefined) seeOther(ctx, '/cart')
  else show(ctx, { title: 'Your cart', main: cartPage(ctx, problem), status: 400 })
}

/** Answers what is wrong, and has changed nothing then. */
function change({ session, state }: ShopContext, form: URLSearchParams): string | undefined {
  const { storage } = session
  const action = form.get('do')
  if (action === 'empty') {
    delete storage.cart
    storage.notice = 'Your cart is empty now.'
    return undefined
  }

  const product = products.get(form.get('product') ?? '')
  if (!product) return `There is no product ${quoted(form.get('product'))}.`
  const { id, name } = product
  const cart = { ...storage.cart }
  if (action === 'remove') {
    delete cart[id]
    storage.cart = cart
    storage.notice = `Removed: ${name}.`
    return undefined
  }

  const quantity = wholeNumber(form.get('quantity'))
  if (quantity === undefined) {
    return `${quoted(form.get('quantity'))} is not a quantity: it takes a whole number.`
  }
  if (action !== 'add' && action !== 'change') return `Nobody here can ${quoted(action)} a cart.`
  const wanted = action === 'add' ? (cart[id] ?? 0) + quantity : quantity
  const inStock = state.shop.stock.get(id) ?? 0
  if (wanted > inStock) return `${name}: there are ${inStock}, and you want ${wanted}.`
  if (wanted === 0) delete cart[id]
  else cart[id] = wanted
  storage.cart = cart
  storage.notice = wanted === 0 ? `Removed: ${name}.` : `${name}: ${wanted} in your cart.`
  return undefined
}

function cartPage({ session, state }: ShopContext, problem?: string): Html {
  const seesPrices = session.hasPrivilege('seePrices')
  const lines = Object.entries(session.storage.cart ?? {}).flatMap(([id, quantity]): Line[] => {
    const product = products.get(id)
    return product ? [{ product, quantity, inStock: state.shop.stock.get(id) ?? 0 }] : []
  })
  const total = lines.reduce((sum, { product, quantity }) => sum + product.cents * quantity, 0)
  return html`${problem !== undefined && html`<p class="problem" role="alert">${problem}</p>`}
  ${
    lines.length === 0
      ? html`<p>There is nothing in it yet. <a href="/">Look at the goods</a></p>`
      : html`<ul class="lines">
            ${lines.map((line) => html`<li>${lineRow(line, seesPrices)}</li>`)}
          </ul>
          <p class="total">
            ${
              seesPrices
                ? html`Total <strong class="price">${price(total)}</strong>`
                : html`<a href="/sign-in?next=/cart">Sign in</a> to see prices. Your cart comes
                    along.`
            }
          </p>
          <form method="post" action="/cart">
            <button name="do" value="empty" class="quiet">Empty the cart</button>
          </form>`
  }`
}

function lineRow({ product, quantity, inStock }: Line, seesPrices: boolean): Html {
  const { id, name, cents } = product
  return html`<div>
      <h2>${name}</h2>
      ${
        seesPrices &&
        html`<p class="facts">
          <span>${price(cents)} each</span>
          <strong class="price">${price(cents * quantity)}</strong>
        </p>`
      }
      ${quantity > inStock && html`<p class="problem">Only ${inStock} left in stock.</p>`}
    </div>
    <form method="post" action="/cart" class="row">
      <input type="hidden" name="product" value="${id}" />
      <label for="quantity-${id}">Quantity<span class="unseen"> of ${name}</span></label>
      <input
        id="quantity-${id}"
        name="quantity"
        type="number"
        inputmode="numeric"
        min="0"
        max="${inStock}"
        value="${quantity}"
        required
      />
      <button name="do" value="change">Change</button>
      <button name="do" value="remove" class="quiet" formnovalidate>
        Remove<span class="unseen"> ${name}</span>
      </button>
    </form>`
}
