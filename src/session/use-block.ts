import { AsyncLocalStorage } from 'node:async_hooks'

/** A block of `use()` that is running, and the one that it runs in. */
interface Block {
  readonly owner: object
  readonly outer: Block | undefined
  isOver: boolean
}

const running = new AsyncLocalStorage<Block>()

/**
 * Whether the calling code runs in a block of an owner. Code that a block has started and that
 * outlives it does not.
 *
 * @param owner Whose block.
 */
export function isInBlock(owner: object): boolean {
  for (let block = running.getStore(); block; block = block.outer) {
    if (block.owner === owner && !block.isOver) return true
  }
  return false
}

/**
 * Runs code as a block of an owner.
 *
 * @param owner Whose block.
 * @param code What to run.
 * @returns What the code returns.
 */
export async function runBlock<T>(owner: object, code: () => T | Promise<T>): Promise<T> {
  const block: Block = { owner, outer: running.getStore(), isOver: false }
  try {
    return await running.run(block, code)
  } finally {
    block.isOver = true
  }
}
