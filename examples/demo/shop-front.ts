import { html } from './html.ts'
import type { Html } from './html.ts'
import { show } from './layout.ts'
import { price, products } from './products.ts'
import type { Product } from './products.ts'
import type { ShopContext } from './shop.ts'

/** `GET /` */
export function shopFront(ctx: ShopContext): void {
  const seesPrices = ctx.session.hasPrivilege('seePrices')
  const { stock } = ctx.state.shop
  show(ctx, {
    title: 'Goods for wet days',
    main: html`<p>
        ${
          seesPrices
            ? html`You see prices: your role has the privilege <code>seePrices</code>.`
            : html`Prices are for the staff: they take the privilege <code>seePrices</code>.
                <a href="/sign-in">Sign in</a> to see them. The cart is for everybody.`
        }
      </p>
      <ul class="goods">
        ${[...products.values()].map(
          (product) => html`<li>${card(product, stock.get(product.id) ?? 0, seesPrices)}</li>`,
        )}
      </ul>`,
  })
}

function card({ id, name, about, cents }: Product, inStock: number, seesPrices: boolean): Html {
  return html`<h2>${name}</h2>
    <p>${about}</p>
    <p class="facts">
      ${seesPrices && html`<strong class="price">${price(cents)}</strong>`}
      <span>${inStock === 0 ? 'Sold out' : `${inStock} in stock`}</span>
    </p>
    ${
      inStock > 0 &&
      html`<form method="post" action="/cart" class="row">
        <input type="hidden" name="product" value="${id}" />
        <label for="add-${id}" class="unseen">Quantity of ${name}</label>
        <input
          id="add-${id}"
          name="quantity"
          type="number"
          inputmode="numeric"
          min="1"
          max="${inStock}"
          value="1"
          required
        />
        <button name="do" value="add">Add<span class="unseen"> ${name}</span> to cart</button>
      </form>`
    }`
}
