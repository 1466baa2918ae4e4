import type { ParameterizedContext } from 'koa'
import type { SessionContext, Sessions } from 'koa-user-sessions'

import { products } from './products.ts'

/** How many of each product, by its id. */
export type Cart = Record<string, number>

/** What the shop keeps in `ctx.session.storage`: each visitor's own, and gone with the session. */
export interface ShopStorage {
  cart: Cart
  /** Said once, on the next page. */
  notice: string
}

/** What the shop keeps in its process: the same for everybody, and gone with the process. */
export interface Shop {
  /** Where the sessions are kept. */
  readonly place: string
  /** How many there are of each product, by its id. */
  readonly stock: Map<string, number>
  /** How often each page was asked for, by its route. */
  readonly visits: Map<string, number>
  /** How often each user has signed in, by name. */
  readonly signIns: Map<string, number>
  /** How many sessions this process has seen begin, sign in and end. */
  readonly sessions: { created: number; signedIn: number; ended: number }
  readonly startedAt: number
}

/** What `ctx.state` has in every request. */
export interface ShopState {
  shop: Shop
  /** For the pages that list and end them. */
  sessions: Sessions<ShopStorage>
}

/** A request of this shop. */
export type ShopContext = ParameterizedContext<ShopState, SessionContext<ShopStorage>>

/** A shop that has just opened. */
export function openShop(place: string): Shop {
  return {
    place,
    stock: new Map([...products.values()].map(({ id, inStock }) => [id, inStock])),
    visits: new Map(),
    signIns: new Map(),
    sessions: { created: 0, signedIn: 0, ended: 0 },
    startedAt: Date.now(),
  }
}
