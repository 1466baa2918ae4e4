import { randomUUID } from 'node:crypto'

import { hashPassword, isPassword } from './passwords.ts'
import type { PasswordHash } from './passwords.ts'

export interface User {
  readonly name: string
  /** A role of the roles file. */
  readonly role: string
  /** What the role is good for in this shop. */
  readonly may: string
  /** Only a demo knows it, and shows it on its sign-in page. */
  readonly shownPassword: string
}

/** Who works here. */
export const users: readonly User[] = [
  {
    name: 'clerk',
    role: 'Clerk',
    may: 'see prices',
    shownPassword: 'paper lantern',
  },
  {
    name: 'manager',
    role: 'Manager',
    may: 'see prices and change the stock',
    shownPassword: 'brass anchor',
  },
  {
    name: 'admin',
    role: 'Admin',
    may: 'see prices, change the stock and see the admin page',
    shownPassword: 'north compass',
  },
]

const hashes = new Map<string, PasswordHash>(
  await Promise.all(
    users.map(
      async ({ name, shownPassword }) => [name, await hashPassword(shownPassword)] as const,
    ),
  ),
)

// Checked where the name is unknown, so that the answer takes as long and does not tell who exists.
const nobodys = await hashPassword(randomUUID())

/**
 * Finds who signs in. A real shop also counts failures by name and address, and makes those who
 * have too many wait.
 *
 * @returns `undefined` when the name or the password is wrong.
 */
export async function findUser(name: string, password: string): Promise<User | undefined> {
  const isRight = await isPassword(password, hashes.get(name) ?? nobodys)
  return isRight ? users.find((user) => user.name === name) : undefined
}
