import { execFile, spawn } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

import { describe, expect, inject, it, onTestFinished, vi } from 'vitest'

const consumers = fileURLToPath(new URL('.', import.meta.url))
const root = join(consumers, '../..')
const project = inject('projectPath')

interface Ended {
  readonly code: number
  readonly out: string
}

/** Runs a program in the project, to its end. */
function run(program: string, args: readonly string[], cwd = project): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(program, args, { cwd }, (error, out, err) => {
      resolve({ code: Number(error?.code ?? 0), out: out + err })
    })
  })
}

const compilers = ['5.8', '5.9', '6.0', '7.0']
const ways = [
  { name: 'nodenext, ES modules', type: 'module', module: 'nodenext', resolution: 'nodenext' },
  { name: 'nodenext, CommonJS', type: 'commonjs', module: 'nodenext', resolution: 'nodenext' },
  { name: 'bundler', type: 'module', module: 'esnext', resolution: 'bundler' },
]

/** A folder of the project with the app in it, to be compiled in one configuration. */
function writeApp(folder: string, { type, module, resolution }: (typeof ways)[number]): string {
  const path = join(project, folder)
  mkdirSync(path)
  cpSync(join(consumers, 'app/shop.ts'), join(path, 'shop.ts'))
  cpSync(join(consumers, 'app/own-store.ts'), join(path, 'own-store.ts'))
  if (type === 'commonjs') cpSync(join(consumers, 'app/plain.cts'), join(path, 'plain.cts'))
  writeFileSync(join(path, 'package.json'), JSON.stringify({ private: true, type }))
  const compilerOptions = {
    target: 'es2023',
    lib: ['es2023'],
    module,
    moduleResolution: resolution,
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: false,
    esModuleInterop: true,
    types: ['node'],
    noEmit: true,
  }
  writeFileSync(join(path, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['.'] }))
  return path
}

describe.concurrent.each(compilers)('TypeScript %s', (version) => {
  const tsc = join(consumers, `node_modules/typescript-${version}/bin/tsc`)

  it.each(ways)('T8, P10, S11: compiles an app on the packed package: $name', async (way) => {
    const path = writeApp(`${version} ${way.name}`.replace(/\W+/g, '-'), way)

    const { code, out } = await run(process.execPath, [tsc, '-p', path, '--pretty', 'false'])

    expect(out).toBe('')
    expect(code).toBe(0)
  })
})

describe('the packed package', () => {
  it('is required by a CommonJS program', async () => {
    const program = `
      const Koa = require('koa')
      const { session } = require('koa-user-sessions')
      const { signedIn } = require('koa-user-sessions/testing')
      const { sessionRoutes } = require('koa-user-sessions/routes')
      const { endedBySignIn } = require('koa-user-sessions/store')
      const { describeSessionStore } = require('koa-user-sessions/store-contract')
      const app = new Koa()
      app.use(session())
      app.use((ctx) => { ctx.body = { guest: ctx.session.isGuest() } })
      const server = app.listen(0, '127.0.0.1', async () => {
        const answer = await fetch('http://127.0.0.1:' + server.address().port)
        console.log(await answer.text(), typeof signedIn, typeof sessionRoutes)
        console.log(typeof endedBySignIn, typeof describeSessionStore)
        server.close()
      })`
    writeFileSync(join(project, 'required.cjs'), program)

    const ended = await run(process.execPath, ['required.cjs'])

    expect(ended).toEqual({ code: 0, out: '{"guest":true} function function\nfunction function\n' })
  })

  it('brings the command for operators', async () => {
    const { version }: { version: string } = JSON.parse(
      readFileSync(join(root, 'package.json'), 'utf8'),
    )

    const shown = await run('npx', ['--no-install', 'koa-user-sessions', '--version'])
    const wrong = await run('npx', ['--no-install', 'koa-user-sessions', 'frob'])

    expect(shown).toEqual({ code: 0, out: `${version}\n` })
    expect(wrong.code).toBe(2)
  })

  it.each(['module', 'commonjs'])(
    'C5, G1: runs the first program of the README as printed: type %s',
    async (type) => {
      const readme = readFileSync(join(root, 'README.md'), 'utf8')
      const [, program = ''] = /^```ts\n(.*?)^```$/ms.exec(readme) ?? []
      const folder = join(project, `first-${type}`)
      mkdirSync(folder)
      writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, type }))
      writeFileSync(join(folder, 'first.ts'), program)
      const url = await startServer(folder, 'first.ts')
      // It listens before it is connected to Redis, and until then requests that need the store get 503.
      await vi.waitUntil(
        async () => (await fetch(`${url}/cart/coffee`, { method: 'POST' })).status !== 503,
        { timeout: 10_000 },
      )
      let cookie = ''
      const ask = async (method: string, path: string): Promise<[number, string]> => {
        const answer = await fetch(url + path, { method, headers: cookie === '' ? {} : { cookie } })
        const [set] = answer.headers.getSetCookie()
        if (set !== undefined) cookie = set.split(';', 1)[0] ?? ''
        return [answer.status, await answer.text()]
      }

      expect(await ask('POST', '/cart/tea')).toEqual([200, '["tea"]'])
      expect(await ask('GET', '/admin')).toEqual([401, 'sign in first'])
      const before = cookie
      expect((await ask('POST', '/login'))[1]).toMatch(/^\{"guest":false,"until":"\d{4}-.*Z"\}$/)
      expect(cookie).not.toBe(before)
      expect(await ask('GET', '/admin')).toEqual([200, 'welcome'])
      expect(await ask('POST', '/cart/milk')).toEqual([200, '["tea","milk"]'])
      expect(await ask('POST', '/logout')).toEqual([200, '{"guest":true}'])
      expect((await ask('GET', '/admin'))[0]).toBe(401)
    },
  )
})

/**
 * Starts a program that listens on port 3000 and expects Redis on port 6379: here on a free port,
 * and with the private Redis of the test run, because `ports.mjs` replaces the two numbers.
 *
 * @returns Its address.
 */
async function startServer(folder: string, program: string): Promise<string> {
  cpSync(join(consumers, 'ports.mjs'), join(folder, 'ports.mjs'))
  const tsx = join(consumers, 'node_modules/tsx/dist/cli.mjs')
  const child = spawn(process.execPath, [tsx, '--import', './ports.mjs', program], {
    cwd: folder,
    env: { ...process.env, REDIS_PORT: new URL(inject('redisUrl')).port },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  onTestFinished(async () => {
    child.kill()
    await ended
  })
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.startsWith('http://')) return line
  }
  throw new Error(`${program} has ended`)
}
