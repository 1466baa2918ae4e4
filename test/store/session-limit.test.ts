import { endedBySignIn } from 'koa-user-sessions/store'
import { expect, it } from 'vitest'

const oldest = { perUser: 2, onExceed: 'terminateOldest' } as const
const refuse = { perUser: 2, onExceed: 'refuse' } as const

it.each([
  ['without a limit', undefined, ['a', 'b', 'c'], []],
  ['below the limit', oldest, ['a'], []],
  ['below the limit of refusals', refuse, ['a'], []],
  ['at the limit', oldest, ['a', 'b'], ['a']],
  ['over a limit that was higher', oldest, ['a', 'b', 'c'], ['a', 'b']],
  ['at the limit of refusals', refuse, ['a', 'b'], undefined],
])('M6: returns what ends for a new session %s', (_, limit, ids, ended) => {
  expect(endedBySignIn('new', ids, limit)).toEqual(ended)
})

it.each([
  ['at the limit', oldest, ['a', 'new'], []],
  ['at the limit of refusals', refuse, ['new', 'a'], []],
  ['over a limit that was higher', oldest, ['new', 'a', 'b'], ['a']],
  ['over a limit of refusals that was higher', refuse, ['new', 'a', 'b'], undefined],
])('M6: counts a session that signs in again once, %s', (_, limit, ids, ended) => {
  expect(endedBySignIn('new', ids, limit)).toEqual(ended)
})
