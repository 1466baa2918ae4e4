/** The own properties of the prototypes of all objects, to compare before and after. */
export function prototypes(): unknown {
  const shared = [Object, Array, Function, String, Number, Map, Set, Promise]
  return shared.map(({ name, prototype }) => [
    name,
    Reflect.ownKeys(prototype).map((key) => [key, Object.getOwnPropertyDescriptor(prototype, key)]),
  ])
}
