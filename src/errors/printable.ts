// Control and format characters, such as those that reverse text, and line separators.
const hidden = /[\p{C}\p{Zl}\p{Zp}]/gu

/** Escapes the characters by which text could move a cursor, or hide or reorder anything. */
export function printable(text: string, escape: (character: string) => string = escaped): string {
  return text.replace(hidden, escape)
}

function escaped(character: string): string {
  return `\\u{${character.codePointAt(0)?.toString(16)}}`
}
