import { describe, expect, it } from 'vitest'

import { readBearer } from '../../src/tokens/bearer.ts'

const token = 'eyJhbGciOiJIUzI1NiJ9.e30.c2ln'

describe('readBearer', () => {
  it.each([
    [[]],
    [['']],
    [['Basic dXNlcjpwYXNz']],
    [['Digest username="Bearer x"']],
    [['Bearerx abc']],
    [['BearerToken']],
    [[token]],
    [[' Bearer abc']],
    [['DPoP Bearer']],
    [['Basic a', 'Digest b']],
  ])('X2: ignores %j', (headers) => {
    expect(readBearer(headers)).toEqual({ status: 'none' })
  })

  it.each([
    `Bearer ${token}`,
    `bearer ${token}`,
    `BEARER ${token}`,
    `Bearer   ${token}`,
    `Bearer ${token} `,
  ])('X2: finds the token of %j', (header) => {
    expect(readBearer([header])).toEqual({ status: 'token', token })
  })

  it.each(['a', 'a-._~+/', 'a==', '1'])('X2: accepts %j as a token, whatever it is', (text) => {
    expect(readBearer([`Bearer ${text}`])).toEqual({ status: 'token', token: text })
  })

  it.each([
    [['Bearer']],
    [['Bearer ']],
    [['Bearer a b']],
    [['Bearer a, b']],
    [['Bearer a, Bearer b']],
    [['Bearer "a"']],
    [['Bearer =a']],
    [['Bearer a=b']],
    [['Bearer token=a']],
    [['Bearer ä']],
    [['Bearer a\t']],
    [['Bearer a\n']],
    [['Bearer a\0']],
    [['Bearer a', 'Bearer a']],
    [['Bearer a', 'Bearer b']],
    [['Bearer a', 'Basic b']],
    [['Basic b', 'bearer a']],
  ])('X2: calls %j malformed', (headers) => {
    expect(readBearer(headers)).toEqual({ status: 'malformed' })
  })
})
