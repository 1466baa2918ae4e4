import type { Readable, Writable } from 'node:stream'

import { printable } from '../errors/printable.ts'

/** The streams and environment of a command: `process` has all of it. */
export interface Terminal {
  readonly stdin: Readable & { readonly isTTY?: boolean }
  readonly stdout: Writable & { readonly isTTY?: boolean }
  readonly stderr: Writable & { readonly isTTY?: boolean }
  readonly env: Readonly<Record<string, string | undefined>>
}

/** Returns JSON in which no text can move the cursor, hide or reorder anything. */
export function printableJson(value: unknown): string {
  const lines = JSON.stringify(value, null, 2).split('\n')
  return lines.map((line) => printable(line, escapeUnits)).join('\n')
}

function escapeUnits(character: string): string {
  const units = Array.from({ length: character.length }, (_, index) => character.charCodeAt(index))
  return units.map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`).join('')
}

/** Returns a table with left-aligned columns. The first row is the head. */
export function tableOf(rows: readonly (readonly string[])[]): string {
  const shown = rows.map((row) => row.map((cell) => printable(cell)))
  const widths = shown[0]?.map((_, column) =>
    Math.max(...shown.map((row) => widthOf(row[column] ?? ''))),
  )
  const line = (row: readonly string[]): string =>
    row.map((cell, column) => cell + ' '.repeat((widths?.[column] ?? 0) - widthOf(cell))).join('  ')
  return shown.map((row) => line(row).trimEnd()).join('\n')
}

// Characters that take two columns in a terminal.
const wide =
  /[\p{Script=Han}\p{Script=Hangul}\p{Script=Hiragana}\p{Script=Katakana}\p{Emoji_Presentation}\u3000-\u303F\uFF01-\uFF60]/gu

function widthOf(text: string): number {
  return Array.from(text.replaceAll(wide, '  ')).length
}
