import { hash, randomUUID } from 'node:crypto'

import { describe, expect, it } from 'vitest'

import { longId, sessionKey, shortId, userSessionsKey } from '../../../src/store/redis/keys.ts'

const id = '5f0c1c0e-7d3b-4a53-9d5a-3f6d1f0a7b11'
const edges = [
  '00000000-0000-0000-0000-000000000000',
  'ffffffff-ffff-ffff-ffff-ffffffffffff',
  'fbffbfff-effb-ffbf-ffef-fbffbfffeffb',
]

describe('shortId', () => {
  it('T2: has 22 characters of base64url, different for each UUID, and longId reverses it', () => {
    const ids = [...edges, id, ...Array.from({ length: 1000 }, () => randomUUID())]

    const texts = ids.map(shortId)

    expect(shortId(id)).toBe('XwwcDn07SlOdWj9tHwp7EQ')
    expect(texts.filter((text) => !/^[\w-]{22}$/.test(text))).toEqual([])
    expect(new Set(texts).size).toBe(ids.length)
    expect(texts.map(longId)).toEqual(ids)
  })

  it.each([
    ['nothing', ''],
    ['a word', 'x'],
    ['its own result', shortId(id)],
    ['a digit too few', id.slice(1)],
    ['a digit too many', `${id}0`],
    ['two digits too many', `${id}00`],
    ['text behind it', `${id}xyz`],
    ['text before it', `x${id}`],
    ['a line break behind it', `${id}\n`],
    ['capitals', id.toUpperCase()],
    ['braces', `{${id}}`],
    ['no hyphens', id.replaceAll('-', '')],
    ['hyphens elsewhere', '5-f0c1c0e7d3b4a539d5a3f6d1f0a7b11---'],
    ['no hex', id.replace('5', 'g')],
    ['a long text', 'a'.repeat(100_000)],
    ['__proto__', '__proto__'],
  ])('H1: throws for text that is not a UUID: %s', (_, text) => {
    expect(() => shortId(text)).toThrow(TypeError)
  })
})

describe('longId', () => {
  it.each([
    ['nothing', ''],
    ['a UUID', id],
    ['a character too few', shortId(id).slice(1)],
    ['a character too many', `${shortId(id)}A`],
    ['padding', `${shortId(id)}==`],
    ['padding within the length', `${shortId(id).slice(0, 20)}==`],
    ['bits that say nothing', `${shortId(id).slice(0, 21)}R`],
    ['plain base64', '+/+/+/+/+/+/+/+/+/+/+A'],
    ['text that is not base64', '!'.repeat(22)],
    ['a blank in it', `${shortId(id).slice(0, 21)} `],
    ['22 characters beyond ASCII', 'ž'.repeat(22)],
    ['a long text', 'A'.repeat(100_000)],
  ])('F6: is undefined for text that shortId did not return: %s', (_, text) => {
    expect(longId(text)).toBeUndefined()
  })
})

describe('the keys', () => {
  it('T2: consist of the prefix and, in braces, the id or 16 characters', () => {
    expect(sessionKey('sess:', id)).toBe(`sess:{${id}}`)
    expect(userSessionsKey('sess:', 'ann')).toBe('sess:user:{crS7pYmKq1efCoAd}')
  })

  it('H1: contain the first 96 bits of the SHA-256 of the user name in UTF-16', () => {
    for (const name of ['', 'ann', '\uD800', 'ž'.repeat(1000), '{a}']) {
      const digest = hash('sha256', Buffer.from(name, 'utf16le'), 'base64url')
      expect(userSessionsKey('a:', name)).toBe(`a:user:{${digest.slice(0, 16)}}`)
    }
  })
})
