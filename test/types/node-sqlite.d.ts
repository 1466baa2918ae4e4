/** `node:sqlite`, as far as the tests and examples use it: the types of Node 20 do not have it. */
declare module 'node:sqlite' {
  export class DatabaseSync {
    constructor(path: string)
    exec(sql: string): void
    prepare(sql: string): {
      run(...values: (string | number)[]): object
      get(...values: (string | number)[]): unknown
      all(...values: (string | number)[]): unknown[]
    }
    close(): void
  }
}
