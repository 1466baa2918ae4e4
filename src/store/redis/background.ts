/**
 * Lets work go on that is not waited for: what it leaves undone is made up for by the next one.
 *
 * @param work What goes on.
 */
export function inBackground(work: Promise<unknown>): void {
  work.catch(() => undefined)
}
