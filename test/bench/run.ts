// Runs a benchmark by its name: `npm run bench -- help` lists them.
//
//   npm run bench -- --quick                      no name: index.ts, which compares with other packages
//   npm run bench -- leaks --requests 100000      a name, and what that benchmark takes

import { spawnSync } from 'node:child_process'
import { realpathSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

interface Bench {
  readonly file: string
  readonly help: string
  /** Whether it measures `dist`, and expects others to have built it. */
  readonly needsBuild?: true
}

/** The benchmarks that have a name. */
export const benches: Readonly<Record<string, Bench>> = {
  sessions: {
    file: 'active-sessions.ts',
    help: "the list of a user's sessions: time, round trips, memory",
  },
  bearer: { file: 'bearer.ts', help: 'bearer tokens by algorithm, and forged ones' },
  faults: {
    file: 'faults.ts',
    help: 'a Redis that stands still or is killed',
    needsBuild: true,
  },
  failover: { file: 'failover.ts', help: 'Sentinel: a master that is killed or stands still' },
  cluster: { file: 'cluster.ts', help: 'a Cluster: the same, and slots that move under load' },
  ghosts: {
    file: 'ghost-writes.ts',
    help: 'writes that were answered 503: whether they are applied later',
  },
  leaks: { file: 'leaks.ts', help: 'what a million requests leave behind' },
  path: { file: 'path.ts', help: 'files and functions of src that one request enters' },
  hostile: {
    file: 'hostile.ts',
    help: 'cookies and headers of attackers, and the largest values that an app can store',
  },
}

const program = fileURLToPath(import.meta.url)
// Not when a test only reads the table.
if (realpathSync(process.argv[1] ?? '') === program) await main(process.argv.slice(2))

async function main(args: readonly string[]): Promise<void> {
  const [name = '', ...rest] = args
  if (name === '' || name.startsWith('-')) return run({ file: 'index.ts', help: '' }, args)
  if (name === 'help') return console.log(table())
  const bench = Object.hasOwn(benches, name) ? benches[name] : undefined
  if (bench) return run(bench, rest)
  console.error(`There is no benchmark "${name}".\n\n${table()}`)
  process.exitCode = 2
}

/** Runs it in this process, with the command line that it would get on its own. */
async function run({ file, needsBuild }: Bench, args: readonly string[]): Promise<void> {
  if (needsBuild) build()
  const target = new URL(file, import.meta.url)
  process.argv.splice(1, Infinity, fileURLToPath(target), ...args)
  await import(target.href)
}

function build(): void {
  const cwd = fileURLToPath(new URL('../..', import.meta.url))
  const { status } = spawnSync('npm', ['run', '-s', 'build'], { cwd, stdio: 'inherit' })
  if (status !== 0) throw new Error('npm run build failed')
}

function table(): string {
  const lines = Object.entries(benches).map(([name, { help }]) => `  ${name.padEnd(10)}${help}`)
  return [
    'npm run bench                      this package beside others',
    'npm run bench -- NAME [options]    one of these:',
    ...lines,
  ].join('\n')
}
