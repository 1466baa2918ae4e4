import { EventEmitter } from 'node:events'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { queryObjects } from 'node:v8'

/** What a process holds. */
export interface Footprint {
  /** Bytes, after the garbage collector has run. */
  readonly memory: Readonly<Record<'heapUsed' | 'rss' | 'external', number>>
  /** What keeps the process alive, by kind. */
  readonly resources: Readonly<Record<string, number>>
  /**
   * Live objects, by kind: these include timers that do not keep the process alive, and each
   * listener is a function.
   */
  readonly objects: Readonly<Record<string, number>>
}

const timer = setTimeout(() => {}, 0)
clearTimeout(timer)

const counters = {
  timers: () => queryObjects(timer.constructor, { format: 'count' }),
  emitters: () => queryObjects(EventEmitter, { format: 'count' }),
  functions: () => queryObjects(Function, { format: 'count' }),
  promises: () => queryObjects(Promise, { format: 'count' }),
  'abort signals': () => queryObjects(AbortSignal, { format: 'count' }),
}

/** What this process holds now. It must have been started with `--expose-gc`. */
export async function footprint(): Promise<Footprint> {
  if (!globalThis.gc) throw new Error('the process needs --expose-gc')
  const objects = Object.fromEntries(
    Object.entries(counters).map(([name, count]) => [name, count()]),
  )
  await nextTurn()
  globalThis.gc()
  await nextTurn()
  globalThis.gc()
  const { heapUsed, rss, external } = process.memoryUsage()
  return { memory: { heapUsed, rss, external }, resources: activeResources(), objects }
}

/** What keeps this process alive, by kind. */
export function activeResources(): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const name of process.getActiveResourcesInfo()) counts[name] = (counts[name] ?? 0) + 1
  return counts
}

/**
 * How many listeners emitters have, for all events together.
 *
 * @param emitters Any.
 */
export function listenersOf(...emitters: readonly EventEmitter[]): number {
  const counts = emitters.flatMap((emitter) =>
    emitter.eventNames().map((name) => emitter.listenerCount(name)),
  )
  return counts.reduce((sum, count) => sum + count, 0)
}
