import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'

import * as entry from 'koa-user-sessions'
import { Sessions } from 'koa-user-sessions'
import * as routesEntry from 'koa-user-sessions/routes'
import * as testingEntry from 'koa-user-sessions/testing'
import { expect, it, onTestFinished } from 'vitest'

import { Session } from '../src/session/session.ts'
import { benches } from './bench/run.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

/** Every page, by its path from the top. */
const pages = [
  'README.md',
  'CHANGELOG.md',
  ...readdirSync(join(root, '.github')).map((name) => `.github/${name}`),
  ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`),
  'examples/README.md',
  ...['test', 'test/bench', 'test/scenarios'].map((folder) => `${folder}/README.md`),
].filter((path) => path.endsWith('.md'))

const texts = new Map(pages.map((path) => [path, readFileSync(join(root, path), 'utf8')]))
const readme = texts.get('README.md') ?? ''

/** A page without its code blocks. */
function proseOf(markdown: string): string {
  return markdown.replaceAll(/^```[^]*?^```$/gm, '')
}

/** The targets of the links in a page, including pictures. */
function linksOf(markdown: string): string[] {
  const prose = proseOf(markdown)
  const inText = prose.replaceAll(/`[^`\n]*`/g, '``').matchAll(/\]\(([^)\s]+)\)/g)
  const pictures = prose.matchAll(/<img src="([^"]+)"/g)
  return [...inText, ...pictures].map(([, link = '']) => link)
}

/** What links can target in a page: its headings, as GitHub spells them, and its anchors. */
function anchorsOf(markdown: string): Set<string> {
  const anchors = new Set<string>()
  const prose = proseOf(markdown)
  for (const [, heading = ''] of prose.matchAll(/^#+ (.+)$/gm)) {
    const slug = heading
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-')
    let anchor = slug
    for (let count = 1; anchors.has(anchor); count++) anchor = `${slug}-${count}`
    anchors.add(anchor)
  }
  for (const [, id = ''] of prose.matchAll(/<a id="([^"]+)">/g)) anchors.add(id)
  return anchors
}

/** The parts of a text in backticks that match a pattern. */
function quoted(markdown: string, pattern: RegExp): string[] {
  return [...proseOf(markdown).matchAll(/`([^`\n]+)`/g)]
    .map(([, code = '']) => code)
    .filter((code) => pattern.test(code))
}

it.each(pages)('%s has no dead link', (page) => {
  const anchors = new Map<string, Set<string>>()
  const broken = linksOf(texts.get(page) ?? '').filter((link) => {
    if (/^(?:https?|mailto):/.test(link)) return false
    const [path = '', anchor] = link.split('#')
    const target = path === '' ? page : normalize(join(dirname(page), path))
    if (!existsSync(join(root, target))) return true
    if (anchor === undefined) return false
    const known = anchors.get(target) ?? anchorsOf(texts.get(target) ?? '')
    anchors.set(target, known)
    return !known.has(anchor)
  })

  expect(broken).toEqual([])
})

it.each(pages)('%s names only files, folders and commands that exist', (page) => {
  const text = texts.get(page) ?? ''
  const missingFiles = quoted(text, /^(?:src|test|examples|docs|\.github)\/[\w./-]*$/).filter(
    (path) => !existsSync(join(root, path)),
  )

  expect(missingFiles).toEqual([])
  expect(missingCommands(text)).toEqual([])
})

/** The `npm run NAME` and `npm run bench -- NAME` in a text that do not exist. */
function missingCommands(text: string): string[] {
  const manifest: { scripts: object } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'))
  const scripts = text.matchAll(/npm (?:run |(?=test|start))(?:-s )?([\w:]+)/g)
  const benchmarks = text.matchAll(/npm run (?:-s )?bench\s+--\s+([\w:][\w:-]*)/g)
  return [
    ...[...scripts].filter(([, name = '']) => !Object.hasOwn(manifest.scripts, name)),
    ...[...benchmarks].filter(
      ([, name = '']) => !['help', 'NAME', ...Object.keys(benches)].includes(name),
    ),
  ].map(([command]) => command)
}

it('the programs and the workflows name only commands that exist', () => {
  const files = ['test', '.github/workflows', '.ci'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((path) => /(?:^run|\.(?:ts|sh|json|yml))$/.test(path))
      .filter((path) => !/node_modules|-lock\.json$/.test(path) && path !== 'docs.test.ts')
      .map((path) => join(folder, path)),
  )

  const missing = files.flatMap((path) =>
    missingCommands(readFileSync(join(root, path), 'utf8')).map((command) => `${path}: ${command}`),
  )

  expect(files.length).toBeGreaterThan(100)
  expect(missing).toEqual([])
})

it('finds a command that does not exist', () => {
  const text = '`npm test`, `npm run bench -- --quick`, `npm run bench -- leaks --only redis`'
  const wrong = ['npm run bench:leaks', 'npm run bench -- leak', 'npm run screenshots']

  expect(missingCommands(text)).toEqual([])
  expect(missingCommands(`${text}, ${wrong.join(', ')}`).toSorted()).toEqual(wrong.toSorted())
})

it('test/bench/README.md lists every benchmark in its table', () => {
  const page = texts.get('test/bench/README.md') ?? ''
  const files = readdirSync(join(root, 'test/bench'))

  const names = Object.keys(benches)

  expect(names.length).toBeGreaterThan(7)
  expect(names.filter((name) => !page.includes(`| \`npm run bench -- ${name}\` |`))).toEqual([])
  expect(Object.values(benches).filter(({ file }) => !files.includes(file))).toEqual([])
})

it('README.md lists all of src in its table of folders', () => {
  const [, table = ''] = /^## How it is built\n([^]*?)(?=^## )/m.exec(readme) ?? []
  const listed = new Set(quoted(table, /^src\//).map((path) => path.replace(/\/$/, '')))

  const present = readdirSync(join(root, 'src')).map((name) => `src/${name}`)

  expect(present.filter((path) => !listed.has(path))).toEqual([])
})

/** The programs and fragments of programs in a page. */
function programsOf(markdown: string): string[] {
  return [...markdown.matchAll(/^```ts\n([^]*?)^```$/gm)].map(([, code = '']) => code)
}

const snippets = programsOf(readme)

it('README.md starts with the code of examples/basic.ts', () => {
  const example = readFileSync(join(root, 'examples/basic.ts'), 'utf8')
  const [first = ''] = snippets
  const [imports = '', ...others] = first.split('\n\n')

  for (const line of imports.split('\n')) expect(example).toContain(line)
  const from = others.findIndex((part) => part.startsWith('const roles ='))
  const routes = others.slice(from).join('\n\n').replace('app.listen(3000)\n', '')
  expect(routes).toMatch(/^const roles = [^]+app\.use\(router\.routes\(\)\)\n$/)
  expect(example).toContain(routes)
})

/** What surrounds fragments of programs. */
const surroundings = `
declare const app: import('koa')
declare const ctx: import('koa').Context
declare const redis: import('ioredis').Redis
declare const router: import('@koa/router').default
declare const sessions: import('koa-user-sessions').Sessions
declare const server: import('node:http').Server
declare const Redis: typeof import('ioredis').Redis
declare const Cluster: typeof import('ioredis').Cluster
${Object.keys(entry)
  .map((name) => `declare const ${name}: typeof import('koa-user-sessions').${name}`)
  .join('\n')}
`

/** The errors that the compiler reports for programs, each in its own module. */
async function compile(programs: readonly string[]): Promise<string[]> {
  const project = await mkdtemp(join(root, 'test/types/broken-'))
  onTestFinished(() => rm(project, { recursive: true }))
  const config = {
    extends: '../../tsconfig.json',
    // As in an app that is less strict than this package.
    compilerOptions: {
      noUnusedLocals: false,
      noUnusedParameters: false,
      noImplicitAny: false,
      exactOptionalPropertyTypes: false,
      noUncheckedIndexedAccess: false,
    },
    include: ['.'],
    exclude: [],
  }
  await writeFile(join(project, 'tsconfig.json'), JSON.stringify(config))
  await writeFile(join(project, 'surroundings.d.ts'), surroundings)
  for (const [index, program] of programs.entries()) {
    await writeFile(join(project, `snippet-${index + 1}.ts`), `${program}\nexport {}\n`)
  }
  const tsc = join(root, 'node_modules/.bin/tsc')
  const output = await new Promise<string>((resolve, reject) => {
    execFile(tsc, ['-p', project, '--pretty', 'false'], (error, stdout, stderr) => {
      if (error && typeof error.code !== 'number') reject(error)
      else resolve(stdout + stderr)
    })
  })
  // Also errors of the sources, which are written for stricter rules.
  return (output.match(/^(?:\S+\/snippet-.*|error .*)$/gm) ?? []).map((line) =>
    line.replace(/^.*\/(?=snippet-)/, ''),
  )
}

/** What a fragment does not declare: names of the app, such as `showAdmin`. */
const unknownName = /error TS(?:2304|2552|18004):/

const guide = texts.get('docs/custom-stores.md') ?? ''

it('the pages contain only code that compiles', { timeout: 120_000 }, async () => {
  // Augmenting an interface does so for a whole compilation.
  const augmenting = snippets.filter((code) => code.includes('declare module'))
  const others = [...snippets.filter((code) => !augmenting.includes(code)), ...programsOf(guide)]

  const errors = await Promise.all([compile(others), ...augmenting.map((code) => compile([code]))])

  expect(others.length).toBeGreaterThan(10)
  expect(errors.flat().filter((line) => !unknownName.test(line))).toEqual([])
})

/** A section of README.md, by its heading. */
function sectionOf(heading: string): string {
  const [, after = ''] = readme.split(`\n## ${heading}\n`)
  return after.split(/^## /m, 1)[0] ?? ''
}

/** The properties of an interface in `src`. */
function propertiesOf(file: string, name: string): string[] {
  const text = readFileSync(join(root, 'src', file), 'utf8')
  const body = text.split(`export interface ${name} {\n`, 2)[1]?.split('\n}\n', 1)[0] ?? ''
  return [...body.matchAll(/^ {2}(?:readonly )?'?([\w:]+)'?\??:/gm)].map(
    ([, property = '']) => property,
  )
}

/** The public members of a class. */
function membersOf({ prototype }: { readonly prototype: object }): string[] {
  const members = Object.getOwnPropertyNames(prototype)
  return members.filter((member) => !['constructor', 'toJSON'].includes(member))
}

it.each([
  ['members', 'The session', membersOf(Session)],
  ['options', 'Options', propertiesOf('options/options.ts', 'SessionsOptions')],
  ['cookie options', 'Options', propertiesOf('cookie/cookie-options.ts', 'CookieOptions')],
  ['limits', 'Options', propertiesOf('storage/storage-value.ts', 'StorageLimits')],
  ['events', 'Events', propertiesOf('events/events.ts', 'SessionEvents')],
  ['codes', 'Errors', Object.values(entry).flatMap(codesOf)],
])('README.md lists all %s in the tables of "%s"', (_, heading, names) => {
  const firstCells =
    sectionOf(heading)
      .match(/^\| [^|]+/gm)
      ?.join('') ?? ''

  expect(names.length).toBeGreaterThan(1)
  const missing = names.filter((name) => !new RegExp(`\`(?:\\w+\\.)?${name}\\b`).test(firstCells))
  expect(missing).toEqual([])
})

it('docs/custom-stores.md lists every method and every name of the store entry in its tables', () => {
  const firstCells = guide.match(/^\| [^|]+/gm)?.join('') ?? ''
  const contract = readFileSync(join(root, 'src/store/session-store.ts'), 'utf8')
  const [, body = ''] = /^export interface SessionStore \{\n([^]*?)^\}$/m.exec(contract) ?? []
  const methods = [...body.matchAll(/^ {2}(\w+)\??\(/gm)].map(([, name = '']) => name)

  const names = [...methods, ...exportsOf('store.ts')]

  expect(methods.length).toBeGreaterThan(7)
  expect(names.filter((name) => !new RegExp(`\`${name}\\b`).test(firstCells))).toEqual([])
})

/** The names that an entry exports, types included. */
function exportsOf(file: string): string[] {
  const text = readFileSync(join(root, 'src', file), 'utf8')
  const own = text.matchAll(/^export (?:async )?(?:class|const|function|interface|type) (\w+)/gm)
  const lists = text.matchAll(/^export (?:type )?\{([^}]*)\}/gm)
  return [
    ...[...own].map(([, name = '']) => name),
    ...[...lists].flatMap(([, names = '']) => names.match(/\b(?!type )\w+/g) ?? []),
  ]
}

const writtenByHand = [
  'README.md',
  '.github/MIGRATING.md',
  '.github/SECURITY.md',
  ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`),
  ...readdirSync(join(root, 'examples'), { recursive: true, encoding: 'utf8' })
    .filter((path) => /\.(?:ts|md)$/.test(path))
    .map((path) => `examples/${path}`),
]

it.each([
  ['index.ts', 70],
  ['routes.ts', 2],
  ['store.ts', 40],
  ['testing.ts', 3],
])('a page or an example mentions every name that src/%s exports', (file, least) => {
  const text = writtenByHand.map((path) => readFileSync(join(root, path), 'utf8')).join('\n')

  const names = exportsOf(file)

  expect(names.length).toBeGreaterThanOrEqual(least)
  expect(names.filter((name) => !new RegExp(`\\b${name}\\b`).test(text))).toEqual([])
})

it('docs/types.md lists exactly the types that apps may name', () => {
  const values = new Set([entry, routesEntry, testingEntry].flatMap((names) => Object.keys(names)))
  const exported = ['index.ts', 'routes.ts', 'testing.ts'].flatMap(exportsOf)
  const cells = texts.get('docs/types.md')?.match(/^\| `[^|]+/gm) ?? []

  const types = exported.filter((name) => !values.has(name))

  expect(types.length).toBeGreaterThan(50)
  expect(cells.flatMap((cell) => cell.match(/\w+/g) ?? []).toSorted()).toEqual(types.toSorted())
})

it('README.md gives the class of every code in its table of errors', () => {
  const classes = Object.entries(entry).flatMap(([name, value]) =>
    codesOf(value).map((code) => `| \`${code}\` | \`${name}\` |`),
  )

  expect(classes.length).toBeGreaterThan(15)
  expect(classes.filter((cells) => !sectionOf('Errors').includes(cells))).toEqual([])
})

it('README.md describes every method of Sessions', () => {
  // `off` reverses `on`, as everywhere in Node.
  const names = membersOf(Sessions).filter((name) => name !== 'off')

  const missing = names.filter((name) => !new RegExp(`[.\`]${name}\\b`).test(readme))

  expect(missing).toEqual([])
})

/** The code of an error class; each class has its own. */
function codesOf(value: unknown): string[] {
  if (typeof value !== 'function' || !value.name.endsWith('Error')) return []
  return [...value.toString().matchAll(/ERR_SESSION_[A-Z_]+/g)].map(([code]) => code)
}

it('explains every id that a test title names', () => {
  const explained = new Set(
    [...(texts.get('test/README.md') ?? '').matchAll(/^\| ([A-Z]\d+) \|/gm)].map(
      ([, id = '']) => id,
    ),
  )
  const files = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.includes('node_modules'))
    .map((file) => readFileSync(join(root, 'test', file), 'utf8'))
  const named: string[] = []
  for (const [, title = ''] of files
    .join('\n')
    .matchAll(/\b(?:it|describe)\b[^'"`\n]*\(\s*['"`](.*)/g)) {
    for (const [, id = ''] of title.matchAll(/\b([A-Z]\d{1,2})\b(?=[^:]*:|\))/g)) named.push(id)
  }
  const ids = new Set(named)

  expect(ids.size).toBeGreaterThan(60)
  expect([...ids].filter((id) => !explained.has(id))).toEqual([])
  expect([...explained].filter((id) => !ids.has(id))).toEqual([])
})
