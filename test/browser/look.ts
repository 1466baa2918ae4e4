// playwright-core needs the types of the browser, too.
/// <reference lib="dom" />

/** What a page looks like to people with poor eyesight or a phone. */
export interface Look {
  /**
   * The width of everything on the page, in CSS pixels: more than the window means scrolling
   * sideways.
   */
  readonly width: number
  /** Buttons and other targets under 44 by 44 pixels. */
  readonly small: readonly string[]
  /** Each text with its colour and the colour behind it, as `rgb(…)`. */
  readonly texts: readonly { text: string; color: string; background: string }[]
}

/**
 * Looks at the page. Runs in the browser, so it uses nothing from outside.
 *
 * @param unseen A selector of what is for screen readers alone.
 */
export function lookOf(unseen: string): Look {
  const isSeen = (element: Element): boolean =>
    element.checkVisibility() && !element.closest(unseen)
  const backgroundOf = (element: Element): string => {
    const { backgroundColor } = getComputedStyle(element)
    const isClear = backgroundColor === 'rgba(0, 0, 0, 0)'
    return isClear && element.parentElement ? backgroundOf(element.parentElement) : backgroundColor
  }

  const elements = [...document.body.querySelectorAll('*')].filter(isSeen)
  return {
    width: document.documentElement.scrollWidth,
    small: elements
      .filter((element) => {
        const { width, height } = element.getBoundingClientRect()
        return element.matches('button, input, summary, nav a') && (width < 44 || height < 44)
      })
      .map(({ outerHTML }) => outerHTML),
    texts: elements
      .filter(({ childNodes }) =>
        [...childNodes].some((node) => node.nodeType === 3 && node.textContent?.trim()),
      )
      .map((element) => ({
        text: element.textContent ?? '',
        color: getComputedStyle(element).color,
        background: backgroundOf(element),
      })),
  }
}

/**
 * The contrast of two colours (WCAG 2.2, 1.4.3).
 *
 * @returns From 1 to 21.
 */
export function contrastOf(one: string, other: string): number {
  const [darker = 0, lighter = 0] = [luminanceOf(one), luminanceOf(other)].toSorted((a, b) => a - b)
  return (lighter + 0.05) / (darker + 0.05)
}

function luminanceOf(color: string): number {
  const [red = 0, green = 0, blue = 0] = (color.match(/[\d.]+/g) ?? []).map((text) => {
    const share = Number(text) / 255
    return share <= 0.040_45 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}
