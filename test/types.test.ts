import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { describe, expect, it, onTestFinished } from 'vitest'

// `tsc -p test` compiles types.test-d.ts, in which no interface is augmented. An app that augments
// them is a compilation of its own.

const types = fileURLToPath(new URL('types', import.meta.url))
const tsc = fileURLToPath(new URL('../node_modules/.bin/tsc', import.meta.url))

/** Enough for a compiler with a cold start on a busy machine. */
const timeout = 60_000

const augmentation = `
import Koa from 'koa'
import { requirePrivilege, session } from 'koa-user-sessions'

declare module 'koa-user-sessions' {
  interface SessionStorage {
    cart: string[]
  }
  interface Privileges {
    WebAdmin: true
  }
}

const app = new Koa()
app.use(session())
`

/** The errors that the compiler reports for a project: none when all is well. */
async function compile(project: string): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(tsc, ['-p', project, '--pretty', 'false'], (error, stdout, stderr) => {
      if (error && typeof error.code !== 'number') reject(error)
      else resolve(stdout + stderr + (error && stdout === '' ? 'failed' : ''))
    })
  })
}

/** A project next to the augmented one, with one file, which is removed after the test. */
async function writeProject(text: string): Promise<string> {
  const project = await mkdtemp(join(types, 'broken-'))
  onTestFinished(() => rm(project, { recursive: true }))
  const config = { extends: '../../tsconfig.json', include: ['.'], exclude: [] }
  await writeFile(join(project, 'tsconfig.json'), JSON.stringify(config))
  await writeFile(join(project, 'app.ts'), augmentation + text)
  return project
}

describe('an app that augments the interfaces', { timeout }, () => {
  it('T8, P10: compiles', async () => {
    expect(await compile(join(types, 'augmented'))).toBe('')
  })

  it('P10: compiles with the privileges of its defined roles', async () => {
    expect(await compile(join(types, 'defined'))).toBe('')
  })

  it('T8, P10: compiles with declared names only', async () => {
    const project = await writeProject(`
      app.use((ctx) => {
        ctx.session.storage.cart = ['tea']
        ctx.session.setPrivileges('WebAdmin')
      })
      app.use(requirePrivilege('WebAdmin'))
    `)

    expect(await compile(project)).toBe('')
  })

  it('T8, P10, S11: does not compile with any of these mistakes', async () => {
    const project = await writeProject(`
      app.use(requirePrivilege('typo in a guard'))
      app.use(({ session: current }) => {
        current.storage.typo = ['tea']
        current.storage.cart = 'no list'
        current.storage.cart.push('maybe absent')
        current.hasPrivilege('typo in a question')
        current.setPrivileges(['typo in a grant'])
        current.userName = 'read-only'
        current.user = 'read-only too'
        current.cart = 'unknown'
      })
    `)

    const errors = (await compile(project)).match(/^\S+ error .*$/gm) ?? []

    expect(errors.map((line) => line.replace(/^.*: error TS\d+: /, ''))).toEqual([
      expect.stringContaining('"typo in a guard"'),
      expect.stringContaining("'typo' does not exist"),
      expect.stringContaining("'string' is not assignable to type 'string[]'"),
      expect.stringContaining("possibly 'undefined'"),
      expect.stringContaining('"typo in a question"'),
      expect.stringContaining('"typo in a grant"'),
      expect.stringContaining("'userName' because it is a read-only property"),
      expect.stringContaining("'user' because it is a read-only property"),
      expect.stringContaining("'cart' does not exist"),
    ])
  })
})
