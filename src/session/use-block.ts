import { AsyncLocalStorage } from 'node:async_hooks'

/** A running block of `use()`, and the block around it. */
interface Block {
  readonly owner: object
  readonly outer: Block | undefined
  isOver: boolean
}

const running = new AsyncLocalStorage<Block>()

/** Whether the calling code runs in a block of the owner that is not over. */
export function isInBlock(owner: object): boolean {
  for (let block = running.getStore(); block; block = block.outer) {
    if (block.owner === owner && !block.isOver) return true
  }
  return false
}

/** Runs code as a block of the owner. */
export async function runBlock<T>(owner: object, code: () => T | Promise<T>): Promise<T> {
  const block: Block = { owner, outer: running.getStore(), isOver: false }
  try {
    return await running.run(block, code)
  } finally {
    block.isOver = true
  }
}
