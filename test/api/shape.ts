// A TypeDoc plugin: gives the model the shape of the page, and refuses a public name without a
// comment. TypeDoc is installed by `npm run docs:api` only, so this file declares just the part of its
// interface that it uses.

interface CommentPart {
  readonly kind: string
  readonly text: string
  readonly tag?: string
  readonly target?: Reflection
}

interface BlockTag {
  readonly tag: string
  readonly typeAnnotation?: string
  content: CommentPart[]
}

interface Comment {
  readonly summary: readonly CommentPart[]
  readonly blockTags: BlockTag[]
}

interface Reflection {
  name: string
  kind: number
  readonly parent?: Reflection
  readonly children?: readonly Reflection[]
  readonly signatures?: readonly Reflection[]
  getSignature?: Reflection | undefined
  readonly setSignature?: Reflection
  type?: unknown
  comment?: Comment | undefined
  inheritedFrom?: unknown
  implementationOf?: unknown
  overwrites?: unknown
  getFriendlyFullName(): string
}

interface Application {
  readonly converter: {
    on(event: string, listener: (context: Context) => void): void
  }
  readonly logger: { error(message: string): void }
}

interface Context {
  readonly project: {
    readonly children?: readonly Reflection[]
    readonly reflections: Readonly<Record<number, Reflection>>
    removeReflection(reflection: Reflection): void
  }
}

// Of TypeDoc's ReflectionKind.
const kinds = {
  class: 128,
  interface: 256,
  constructor: 512,
  property: 1024,
  method: 2048,
  parameter: 32_768,
  accessor: 262_144,
  reference: 4_194_304,
}

/** The built-in JavaScript errors that a `@throws` may name. */
const builtInErrors = new Set(['Error', 'RangeError', 'TypeError'])

export function load(app: Application): void {
  app.converter.on('resolveEnd', ({ project }) => {
    const entries = project.children ?? []
    const names = new Map(
      entries.flatMap(({ children = [] }) => children).map((child) => [child.name, child]),
    )
    for (const reflection of Object.values(project.reflections)) {
      // The stores of this package do what their contract says, and the contract has the comments.
      if (reflection.kind === kinds.method && reflection.implementationOf) {
        project.removeReflection(reflection)
        continue
      }
      if (reflection.kind === kinds.accessor) makeProperty(reflection)
      // Callers do not care which type a member comes from.
      delete reflection.inheritedFrom
      delete reflection.implementationOf
      delete reflection.overwrites
      // A destructured parameter has no name of its own.
      const isTakenApart = reflection.name === '__namedParameters'
      if (reflection.kind === kinds.parameter && isTakenApart) reflection.name = 'options'
      for (const tag of reflection.comment?.blockTags ?? []) {
        if (tag.tag === '@throws') nameError(app, { tag, owner: reflection, names })
        if (tag.tag === '@example') tag.content = tag.content.map(alignExample)
      }
    }
    // The entries come in the given order; index.ts looks for these names.
    for (const [index, entry] of entries.entries()) {
      for (const problem of problemsOf(entry)) app.logger.error(problem)
      entry.name = `entry-${index}`
    }
  })
}

/** Callers see no difference, and a property takes one line of a table. */
function makeProperty(accessor: Reflection): void {
  const { getSignature } = accessor
  if (!getSignature) return
  accessor.kind = kinds.property
  accessor.type = getSignature.type
  accessor.comment = getSignature.comment
  accessor.getSignature = undefined
}

interface Throws {
  readonly tag: BlockTag
  readonly owner: Reflection
  readonly names: ReadonlyMap<string, Reflection>
}

/** Puts the class of an error before the text of its `@throws`, as a link if it is one of ours. */
function nameError(app: Application, { tag, owner, names }: Throws): void {
  const name = tag.typeAnnotation?.replace(/^\{(.*)\}$/, '$1') ?? ''
  const target = names.get(name)
  if (target) {
    const link = { kind: 'inline-tag', tag: '@link', text: name, target }
    tag.content.unshift(link, { kind: 'text', text: ': ' })
  } else if (builtInErrors.has(name)) {
    tag.content.unshift({ kind: 'code', text: `\`${name}\`` }, { kind: 'text', text: ': ' })
  } else {
    app.logger.error(`${owner.getFriendlyFullName()}: @throws names "${name}", which is no error`)
  }
}

/** The formatter indents examples below their tag; TypeDoc removes that from their first line only. */
function alignExample(part: CommentPart): CommentPart {
  if (part.kind !== 'code') return part
  return { ...part, text: part.text.replaceAll('\n  ', '\n') }
}

/** The public names of an entry, and members of its classes and interfaces, that lack a comment. */
function problemsOf(entry: Reflection): string[] {
  const problems: string[] = []
  for (const child of entry.children ?? []) {
    // Another entry has the name and its comment.
    if (child.kind === kinds.reference) continue
    const isOfMembers = child.kind === kinds.class || child.kind === kinds.interface
    for (const documented of [child, ...(isOfMembers ? (child.children ?? []) : [])]) {
      if (documented.kind !== kinds.constructor && !hasSentence(documented)) {
        const name = documented.getFriendlyFullName()
        problems.push(`${name}: its comment begins with no sentence that ends in a full stop`)
      }
    }
  }
  return problems
}

function hasSentence(reflection: Reflection): boolean {
  const { comment, signatures, getSignature } = reflection
  const told = comment ?? getSignature?.comment ?? signatures?.[0]?.comment
  const text = told?.summary.map((part) => part.text).join('') ?? ''
  return /^[^\n](?:(?!\n\n)[^])*?\.(?:\s|$)/.test(text)
}
