import { SessionOptionError } from './errors.ts'

// Each check throws a SessionOptionError that says what is allowed.

/** Checks that an object has no other names than these. */
export function checkNames(label: string, value: object, names: readonly string[]): void {
  for (const name of Object.keys(value)) {
    if (names.includes(name)) continue
    throw new SessionOptionError(
      `${label} has no ${JSON.stringify(name.slice(0, 64))}: it takes ${names.join(', ')}`,
    )
  }
}

/** Returns the names of `T`: the compiler sees that none is missing, and that there is no other. */
export function namesOf<T>(names: Readonly<Record<keyof T, true>>): readonly string[] {
  return Object.keys(names)
}

/** Checks that an option is an object, and not an array. */
export function checkObject(label: string, value: unknown): asserts value is object {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return
  throw new SessionOptionError(`"${label}" option must be an object`)
}

/** Checks that an option is a number in a range, both ends included. */
export function checkNumber(
  label: string,
  value: unknown,
  allowed: { readonly min: number; readonly max: number; readonly unit: string },
): asserts value is number {
  const { min, max, unit } = allowed
  if (typeof value === 'number' && value >= min && value <= max) return
  throw new SessionOptionError(`"${label}" option must be ${unit} from ${min} to ${max}`)
}

/** Checks that an option is a whole number in a range, both ends included. */
export function checkInteger(
  label: string,
  value: unknown,
  allowed: { readonly min: number; readonly max: number; readonly unit: string },
): asserts value is number {
  checkNumber(label, value, allowed)
  if (Number.isInteger(value)) return
  throw new SessionOptionError(`"${label}" option must be a whole number of ${allowed.unit}`)
}

/** Checks that an option is one of these values. */
export function checkOneOf<const T>(
  label: string,
  value: unknown,
  allowed: readonly T[],
): asserts value is T {
  if (allowed.some((one) => one === value)) return
  const list = allowed.map((one) => JSON.stringify(one)).join(', ')
  throw new SessionOptionError(`"${label}" option must be one of ${list}`)
}

/** Checks that an option is true or false. */
export function checkBoolean(label: string, value: unknown): asserts value is boolean {
  checkOneOf(label, value, [true, false])
}

/** Checks that an option is a function. */
export function checkFunction(label: string, value: unknown): void {
  if (typeof value === 'function') return
  throw new SessionOptionError(`"${label}" option must be a function`)
}

/** Checks that an option is an object with these methods. */
export function checkMethods(label: string, value: unknown, methods: readonly string[]): void {
  const has = (name: string): boolean =>
    typeof value === 'object' && value !== null && typeof Reflect.get(value, name) === 'function'
  if (methods.every(has)) return
  throw new SessionOptionError(`"${label}" option must have the methods ${methods.join(', ')}`)
}
