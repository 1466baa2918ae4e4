/** A median, and the quartiles of the rounds. */
export interface Spread {
  readonly median: number
  readonly low: number
  readonly high: number
}

/** The value below which that fraction of the numbers lies. */
export function quantile(numbers: readonly number[], part: number): number {
  const sorted = numbers.toSorted((one, other) => one - other)
  const place = (sorted.length - 1) * part
  const below = sorted[Math.floor(place)] ?? Number.NaN
  const above = sorted[Math.ceil(place)] ?? Number.NaN
  return below + (above - below) * (place - Math.floor(place))
}

/** The median of some numbers. */
export function medianOf(numbers: readonly number[]): number {
  return quantile(numbers, 0.5)
}

/** The median and the quartiles of some numbers. */
export function spreadOf(numbers: readonly number[]): Spread {
  return {
    median: medianOf(numbers),
    low: quantile(numbers, 0.25),
    high: quantile(numbers, 0.75),
  }
}

/** All of them, each first equally often. */
export function inTurn<T>(all: readonly T[], round: number): readonly T[] {
  const turn = round % all.length
  return [...all.slice(turn), ...all.slice(0, turn)]
}

/** `1.15 (1.12-1.19)`. */
export function textOf({ median, low, high }: Spread, digits = 2): string {
  return `${median.toFixed(digits)} (${low.toFixed(digits)}-${high.toFixed(digits)})`
}

/**
 * Prints a table: the first column to the left, the others to the right.
 *
 * @param rows The first one is the head.
 */
export function printTable(rows: readonly (readonly string[])[]): void {
  const widths = rows[0]?.map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  )
  for (const row of rows) {
    const cells = row.map((cell, column) => {
      const width = widths?.[column] ?? 0
      return column === 0 ? cell.padEnd(width) : cell.padStart(width)
    })
    console.log(cells.join('  ').trimEnd())
  }
}
