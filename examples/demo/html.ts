// Not exported: only html`` creates it, so that no text gets into a page unescaped.
class Markup {
  readonly #text: string

  constructor(text: string) {
    this.#text = text
  }

  toString(): string {
    return this.#text
  }
}

/** Text that is HTML already. */
export type Html = Markup

/** What a template takes: text is escaped, HTML is not, a list is one thing after the other. */
export type Content = Html | string | number | false | undefined | readonly Content[]

const entities: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/**
 * Makes HTML. Safe between tags and in quoted attributes, which is where values belong; not in
 * scripts and styles, of which this shop has none.
 *
 * @example
 *   html`<p title="${name}">${name}</p>`
 */
export function html(parts: TemplateStringsArray, ...values: readonly Content[]): Html {
  return new Markup(parts.map((part, index) => part + textOf(values[index])).join(''))
}

function textOf(value: Content): string {
  if (value === undefined || value === false) return ''
  if (value instanceof Markup) return value.toString()
  if (typeof value === 'object') return value.map(textOf).join('')
  return String(value).replace(/[&<>"']/g, (character) => entities[character] ?? '')
}
