export interface Product {
  readonly id: string
  readonly name: string
  readonly about: string
  readonly cents: number
  /** How many there are when the shop opens. */
  readonly inStock: number
}

const range: readonly Product[] = [
  {
    id: 'storm-lantern',
    name: 'Storm lantern',
    about: 'Burns through a gale. Brass, with a spare wick in the foot.',
    cents: 48_00,
    inStock: 12,
  },
  {
    id: 'tide-clock',
    name: 'Tide clock',
    about: 'One hand, two tides, no alarm.',
    cents: 129_00,
    inStock: 3,
  },
  {
    id: 'wool-blanket',
    name: 'Watchkeeper’s blanket',
    about: 'Undyed wool, heavy enough for the four o’clock watch.',
    cents: 86_50,
    inStock: 20,
  },
  {
    id: 'tin-kettle',
    name: 'Tin kettle',
    about: 'Whistles in F. Stays put when the floor does not.',
    cents: 31_90,
    inStock: 8,
  },
  {
    id: 'rope-mat',
    name: 'Rope doormat',
    about: 'Knotted from retired mooring line. No two alike.',
    cents: 24_00,
    inStock: 40,
  },
  {
    id: 'fog-whistle',
    name: 'Fog whistle',
    about: 'Heard for a mile. Please ask the neighbours first.',
    cents: 9_50,
    inStock: 0,
  },
]

/** All products by id. */
export const products: ReadonlyMap<string, Product> = new Map(
  range.map((product) => [product.id, product]),
)

const euros = new Intl.NumberFormat('en-IE', { style: 'currency', currency: 'EUR' })

/** An amount as people read it, such as `€48.00`. */
export function price(cents: number): string {
  return euros.format(cents / 100)
}
