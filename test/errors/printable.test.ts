import { describe, expect, it } from 'vitest'

import { printable } from '../../src/errors/printable.ts'

describe('printable', () => {
  it.each([
    ['a command to a terminal', 'a\u001B[2Jb', String.raw`a\u{1b}[2Jb`],
    ['an end of line', 'a\nb\u2028c\u2029', String.raw`a\u{a}b\u{2028}c\u{2029}`],
    ['a change of direction', 'a\u202Eb\u2066', String.raw`a\u{202e}b\u{2066}`],
    ['what has no width', 'a\u200Bb\uFEFF', String.raw`a\u{200b}b\u{feff}`],
    ['half a character', 'a\uD83D', String.raw`a\u{d83d}`],
    ['a character outside of the first plane', 'a\u{E0041}', String.raw`a\u{e0041}`],
  ])('H1: escapes %s', (_, text, shown) => {
    expect(printable(text)).toBe(shown)
  })

  it('leaves other text as it is', () => {
    expect(printable('Ann’s "kettle" 山田 👍 é')).toBe('Ann’s "kettle" 山田 👍 é')
  })

  it('lets the caller choose how to escape', () => {
    expect(printable('a\u0007b', () => '?')).toBe('a?b')
  })
})
