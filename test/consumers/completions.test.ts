import { mkdtemp, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'

import { expect, inject, it } from 'vitest'

// What an editor offers: the language service of the compilers that include it as a library, asked as
// an editor asks it. TypeScript 7 has none.

/** The part of the `typescript` package that is used here. */
interface Compiler {
  readonly sys: object & { readFile(path: string): string | undefined }
  readonly ModuleKind: { readonly NodeNext: number }
  readonly ScriptSnapshot: { fromString(text: string): object }
  getDefaultLibFilePath(options: object): string
  createLanguageService(host: object): {
    getCompletionsAtPosition(
      file: string,
      position: number,
      options: object,
    ): { readonly entries: readonly { readonly name: string }[] } | undefined
  }
}

const program = `
import Koa from 'koa'
import { defineRoles, requirePrivilege, session } from 'koa-user-sessions'
import type { PrivilegesOf } from 'koa-user-sessions'

const roles = defineRoles({
  privileges: [{ privilege: 'browse' }, { privilege: 'WebAdmin' }],
})
declare module 'koa-user-sessions' {
  interface SessionStorage {
    cart: string[]
    visits: number
  }
  interface Privileges extends PrivilegesOf<typeof roles> {}
}

const app = new Koa()
app.use(session({ roles }))
app.use(requirePrivilege(''))
app.use((ctx) => {
  ctx.session.hasPrivilege('')
  ctx.session.storage.
})
`

/** What is offered immediately after a part of the program. */
type Offer = (after: string) => string[]

async function openProgram(version: '5.9' | '6.0'): Promise<Offer> {
  const ts: Compiler = createRequire(import.meta.url)(`typescript-${version}`)
  const folder = await mkdtemp(join(inject('projectPath'), 'editor-'))
  const file = join(folder, 'app.ts')
  await writeFile(join(folder, 'package.json'), JSON.stringify({ type: 'module' }))
  await writeFile(file, program)
  const settings = { module: ts.ModuleKind.NodeNext, types: ['node'], strict: true }
  const service = ts.createLanguageService({
    ...ts.sys,
    useCaseSensitiveFileNames: () => true,
    getCompilationSettings: () => settings,
    getCurrentDirectory: () => folder,
    getDefaultLibFileName: (options: object) => ts.getDefaultLibFilePath(options),
    getScriptFileNames: () => [file],
    getScriptVersion: () => '1',
    getScriptSnapshot(path: string) {
      const text = ts.sys.readFile(path)
      return text === undefined ? undefined : ts.ScriptSnapshot.fromString(text)
    },
  })
  return (after) => {
    const position = program.indexOf(after) + after.length
    const completions = service.getCompletionsAtPosition(file, position, {})
    return (completions?.entries ?? []).map(({ name }) => name).toSorted()
  }
}

it.each(['5.9', '6.0'] as const)(
  'T8, P10: an editor with TypeScript %s offers the declared names',
  async (version) => {
    const offer = await openProgram(version)

    expect(offer('ctx.session.storage.')).toEqual(['cart', 'visits'])
    expect(offer("requirePrivilege('")).toEqual(['WebAdmin', 'browse'])
    expect(offer("hasPrivilege('")).toEqual(['WebAdmin', 'browse'])
  },
)
