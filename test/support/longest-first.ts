import { relative } from 'node:path'

import { BaseSequencer } from 'vitest/node'
import type { TestSpecification } from 'vitest/node'

// They mostly wait, for processes that start or for a failover.
const longFolders = ['test/scenarios/', 'test/examples/', 'test/faults/']

/** Starts the longest files first, so that none of them remains when all others are done. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    // oxlint-disable-next-line unicorn/no-array-sort -- not an array; it returns another one
    const sorted = await super.sort(files)
    return sorted.toSorted((one, other) => this.#rank(one) - this.#rank(other))
  }

  #rank({ moduleId }: TestSpecification): number {
    const file = relative(this.ctx.config.root, moduleId).replaceAll('\\', '/')
    const rank = longFolders.findIndex((folder) => file.startsWith(folder))
    return rank < 0 ? longFolders.length : rank
  }
}
