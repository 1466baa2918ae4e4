// How long an import takes in this process, or whether it loads jose.
//
//   node import-time.mjs koa|both
//   node import-time.mjs trace [--tokens]

import { Session } from 'node:inspector'
import { performance } from 'node:perf_hooks'

const ours = new URL('../../../../dist/index.js', import.meta.url)
const [what, option] = process.argv.slice(2)

async function timed() {
  const start = performance.now()
  await import('koa')
  if (what === 'both') await import(ours)
  return { ms: performance.now() - start }
}

/** Starts the package with and without tokens, and looks which scripts Node has loaded for it. */
async function traced() {
  const urls = []
  const inspector = new Session()
  inspector.connect()
  inspector.on('Debugger.scriptParsed', ({ params }) => urls.push(params.url))
  inspector.post('Debugger.enable')
  const { MemoryStore, Sessions } = await import(ours)
  const store = new MemoryStore()
  if (option === '--tokens') {
    const secret = 'a text of more than thirty-two characters'
    const issuer = 'https://shop.example'
    const keys = [{ kid: '1', alg: 'HS256', secret }]
    const sessions = new Sessions({
      store,
      privilegedTypes: ['remote'],
      tokens: { keys, issuer, audience: issuer },
    })
    await sessions.open({ userName: 'ann', applicationId: 'cli' })
  } else {
    const sessions = new Sessions({ store })
    await (await sessions.storedProcedure()).save()
  }
  return { jose: urls.filter((url) => url.includes('/node_modules/jose/')).length }
}

process.send(await (what === 'trace' ? traced() : timed()))
process.on('disconnect', () => process.exit(0))
