/**
 * Whether an object is one that JSON gives back as it was.
 *
 * @param value Not an array.
 */
export function isPlainObject(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || isRoot(prototype)
}

/**
 * The same of an array.
 *
 * @param value The array.
 */
export function isPlainArray(value: readonly unknown[]): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return (
    prototype === Array.prototype ||
    (typeof prototype === 'object' &&
      prototype !== null &&
      isRoot(Object.getPrototypeOf(prototype)))
  )
}

/** Whether it is Object.prototype, also that of another realm, such as a test runner's. */
function isRoot(prototype: unknown): boolean {
  if (prototype === Object.prototype) return true
  return (
    typeof prototype === 'object' &&
    prototype !== null &&
    Object.getPrototypeOf(prototype) === null &&
    Object.hasOwn(prototype, 'isPrototypeOf')
  )
}
