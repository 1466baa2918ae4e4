// Control and format characters, among them those that turn the direction of text, and what ends a
// line.
const hidden = /[\p{C}\p{Zl}\p{Zp}]/gu

/**
 * Text for a log or a terminal: nothing in it can move the cursor, hide or reorder anything.
 *
 * @param text Any.
 * @param escape What to write for a character of that kind.
 */
export function printable(text: string, escape: (character: string) => string = escaped): string {
  return text.replace(hidden, escape)
}

function escaped(character: string): string {
  return `\\u{${character.codePointAt(0)?.toString(16)}}`
}
