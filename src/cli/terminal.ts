import type { Readable, Writable } from 'node:stream'

/** Where a command reads and writes: `process` has all of it. */
export interface Terminal {
  readonly stdin: Readable & { readonly isTTY?: boolean }
  readonly stdout: Writable & { readonly isTTY?: boolean }
  readonly stderr: Writable & { readonly isTTY?: boolean }
  readonly env: Readonly<Record<string, string | undefined>>
}

// Control and format characters, among them those that turn the direction of text, and what ends a line.
const hidden = /[\p{C}\p{Zl}\p{Zp}]/gu

/** Text that cannot move the cursor, hide or reorder anything: clients choose their names. */
export function printable(text: string): string {
  return text.replace(hidden, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`)
}

/** A value as JSON, with the same characters as escapes. */
export function printableJson(value: unknown): string {
  const lines = JSON.stringify(value, null, 2).split('\n')
  return lines.map((line) => line.replace(hidden, escapeUnits)).join('\n')
}

function escapeUnits(character: string): string {
  const units = Array.from({ length: character.length }, (_, index) => character.charCodeAt(index))
  return units.map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`).join('')
}

/**
 * Lines of a table, columns aligned to the left.
 *
 * @param rows The first one is the head.
 */
export function tableOf(rows: readonly (readonly string[])[]): string {
  const shown = rows.map((row) => row.map(printable))
  const widths = shown[0]?.map((_, column) =>
    Math.max(...shown.map((row) => widthOf(row[column] ?? ''))),
  )
  const line = (row: readonly string[]): string =>
    row.map((cell, column) => cell + ' '.repeat((widths?.[column] ?? 0) - widthOf(cell))).join('  ')
  return shown.map((row) => line(row).trimEnd()).join('\n')
}

// Terminals give them two columns.
const wide =
  /[\p{Script=Han}\p{Script=Hangul}\p{Script=Hiragana}\p{Script=Katakana}\p{Emoji_Presentation}\u3000-\u303F\uFF01-\uFF60]/gu

function widthOf(text: string): number {
  return Array.from(text.replaceAll(wide, '  ')).length
}
