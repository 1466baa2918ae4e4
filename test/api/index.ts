// Makes .github/API.md from the declarations of every entry that package.json exports.
//
//   npm run docs:api              writes the page
//   npm run docs:api -- --check   writes nothing, and fails when the page is out of date

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const root = fileURLToPath(new URL('../..', import.meta.url))
const api = fileURLToPath(new URL('.', import.meta.url))
const page = `${root}.github/API.md`
// Generated on the way, in a folder that git and npm ignore.
const made = `${api}node_modules/.made`

const { values: given } = parseArgs({ options: { check: { type: 'boolean', default: false } } })

interface Entry {
  /** What is imported, such as `koa-user-sessions/routes`. */
  readonly name: string
  readonly declarations: string
}

if (!existsSync(`${api}node_modules/.package-lock.json`)) run('npm', 'ci', '--prefix', api)
run('npx', 'tsc', '--emitDeclarationOnly')
const entries = findEntries()
renderEntries(entries)
const text = joinPages(entries)
checkAnchors(text)

if (!given.check) writeFileSync(page, text)
else if (!existsSync(page) || readFileSync(page, 'utf8') !== text) {
  throw new Error('.github/API.md is out of date: `npm run docs:api` makes it anew')
}

function findEntries(): Entry[] {
  const manifest: { name: string; exports: Record<string, string | { types: string }> } =
    JSON.parse(readFileSync(`${root}package.json`, 'utf8'))
  return Object.entries(manifest.exports).flatMap(([path, target]) => {
    if (typeof target === 'string') return []
    return [{ name: manifest.name + path.slice(1), declarations: `${root}${target.types}` }]
  })
}

/** One page per entry: `entry-0.md`, `entry-1.md` and so on. */
function renderEntries(all: readonly Entry[]): void {
  const files = all.map(({ declarations }) => declarations)
  mkdirSync(made, { recursive: true })
  const tsconfig = {
    extends: `${root}tsconfig.json`,
    compilerOptions: {
      typeRoots: [`${root}node_modules/@types`],
      rootDir: root,
      noEmit: true,
      skipLibCheck: true,
    },
    files,
    include: [],
  }
  writeFileSync(`${made}/tsconfig.json`, JSON.stringify(tsconfig))
  const table = 'table'
  const options = {
    plugin: ['typedoc-plugin-markdown', `${api}shape.ts`],
    tsconfig: `${made}/tsconfig.json`,
    entryPoints: files,
    out: `${made}/pages`,
    readme: 'none',
    disableSources: true,
    excludeExternals: true,
    excludePrivate: true,
    treatWarningsAsErrors: true,
    // No app has to write these: their values are spread, passed on or returned.
    intentionallyNotExported: [
      'ClientAddition',
      'PassportEntry',
      'RecommendedClusterOptions',
      'RecommendedRedisOptions',
      'RecommendedSentinelOptions',
    ],
    preservedTypeAnnotationTags: ['@throws'],
    groupOrder: [
      'Functions',
      'Classes',
      'Interfaces',
      'Type Aliases',
      'Variables',
      'Constructors',
      'Properties',
      'Methods',
      '*',
    ],
    outputFileStrategy: 'modules',
    hidePageHeader: true,
    hidePageTitle: true,
    hideBreadcrumbs: true,
    useHTMLAnchors: true,
    expandParameters: true,
    parametersFormat: table,
    interfacePropertiesFormat: table,
    classPropertiesFormat: table,
    typeAliasPropertiesFormat: table,
    typeDeclarationFormat: table,
    propertyMembersFormat: table,
    tableColumnSettings: { hideModifiers: true, hideDefaults: true },
  }
  writeFileSync(`${made}/typedoc.json`, JSON.stringify(options))
  const bin = `${api}node_modules/typedoc/bin/typedoc`
  run('npx', 'tsx', bin, '--options', `${made}/typedoc.json`, '--logLevel', 'Warn')
}

/** All pages as one, with anchors and links made unique. */
function joinPages(all: readonly Entry[]): string {
  const parts = all.map((entry, index) => {
    const own = readFileSync(`${made}/pages/entry-${index}.md`, 'utf8')
      .replaceAll(/<a id="([^"]+)">/g, (_, id: string) => `<a id="${anchor(index, id)}">`)
      .replaceAll(
        /\]\((?:entry-(\d+)\.md)?#([^)]+)\)/g,
        (_, other: string | undefined, id: string) => `](#${anchor(Number(other ?? index), id)})`,
      )
      .trim()
    return `# ${entry.name}\n\n${contentsOf(own)}\n\n${own}\n`
  })
  return `<!-- Made by \`npm run docs:api\` from the comments in src; changes here are lost. -->\n\n${parts.join('\n')}`
}

/** The anchors of the first entry stay unchanged. */
function anchor(index: number, id: string): string {
  return index === 0 ? id : `${index}.${id}`
}

/** A line of links for each kind of name. */
function contentsOf(markdown: string): string {
  return markdown
    .split(/^## /m)
    .slice(1)
    .map((group) => {
      const [kind] = group.split('\n', 1)
      const names = [...group.matchAll(/<a id="([^"]+)"><\/a>\n\n### (.+)/g)]
      return `- ${kind}: ${names.map(([, id, name]) => `[${name}](#${id})`).join(', ')}`
    })
    .join('\n')
}

function checkAnchors(markdown: string): void {
  const ids = [...markdown.matchAll(/<a id="([^"]+)">/g)].map(([, id]) => id)
  const twice = ids.filter((id, index) => ids.indexOf(id) !== index)
  const links = [...markdown.matchAll(/\]\(([^)]+)\)/g)].map(([, link = '']) => link)
  const broken = links.filter((link) => !/^https?:/.test(link) && !ids.includes(link.slice(1)))
  if (twice.length > 0) throw new Error(`anchors that are there twice: ${twice.join(', ')}`)
  if (broken.length > 0) throw new Error(`links that lead nowhere: ${broken.join(', ')}`)
}

function run(command: string, ...args: readonly string[]): void {
  const { status } = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed`)
}
