/** One row of the matrix: the whole suite on one set of versions. */
export interface Row {
  readonly name: string
  /** Of the packages in package.json, without the platform: `node-22`. */
  readonly node: string
  /** Installed beside the locked ones, in a copy of the project. None: the project as it is. */
  readonly packages: readonly string[]
}

/** In the order in which they run. */
export const rows: readonly Row[] = [
  { name: 'node-20', node: 'node-20', packages: [] },
  { name: 'node-22', node: 'node-22', packages: [] },
  { name: 'koa-2', node: 'node-20', packages: ['koa@2.16.4', '@types/koa@2.15.0'] },
  { name: 'ioredis-5', node: 'node-20', packages: ['ioredis@5.11.1'] },
  { name: 'node-24', node: 'node-24', packages: [] },
  { name: 'node-26', node: 'node-26', packages: [] },
  // The first versions of the ranges in ../../package.json, together.
  {
    name: 'lowest',
    node: 'node-20.19',
    packages: ['koa@2.16.0', '@types/koa@2.15.0', 'ioredis@5.4.1'],
  },
]
