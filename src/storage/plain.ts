/** Returns whether JSON preserves the kind of this object, which is not an array. */
export function isPlainObject(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || isRoot(prototype)
}

/** Returns the same for an array. */
export function isPlainArray(value: readonly unknown[]): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return (
    prototype === Array.prototype ||
    (typeof prototype === 'object' &&
      prototype !== null &&
      isRoot(Object.getPrototypeOf(prototype)))
  )
}

/** Returns whether this is `Object.prototype`, also of another realm, such as a test runner's. */
function isRoot(prototype: unknown): boolean {
  if (prototype === Object.prototype) return true
  return (
    typeof prototype === 'object' &&
    prototype !== null &&
    Object.getPrototypeOf(prototype) === null &&
    Object.hasOwn(prototype, 'isPrototypeOf')
  )
}
