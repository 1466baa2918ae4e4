/** Lets work continue without waiting, and ignores its failure: later work makes up for it. */
export function inBackground(work: Promise<unknown>): void {
  work.catch(() => undefined)
}
