// The load, in a process of its own: so many requests over kept connections, each of which has one
// request under way. It does as little as it can for each, so that the servers and not the load have
// most to do: requests are written as they were prepared, and of an answer only the status and the
// length are looked at before its text is compared.

import { once } from 'node:events'
import { connect } from 'node:net'

const patience = 60_000

/** Every load that was prepared, by number. */
const loads = []
/** The connections that are open, and what is sent over them. */
let opened = { connections: [], targets: [] }

/**
 * A request as it is sent, and what its answer must be.
 *
 * @param {import('../load.ts').Target} target
 */
function targetOf({ path, headers, expected: { kind, text } }) {
  const lines = Object.entries({ host: '127.0.0.1', ...headers })
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  const request = Buffer.from(`GET ${path} HTTP/1.1\r\n${head}\r\n`, 'latin1')
  const pattern = kind === 'pattern' ? new RegExp(text) : undefined
  let expected = text
  const isRight = (answer) => {
    if (pattern) return pattern.test(answer)
    if (kind === 'next') {
      expected = expected.replace(/\d+$/, (number) =>
        String(Number(number) + 1).padStart(number.length, '0'),
      )
    }
    return answer === expected
  }
  return { request, isRight }
}

async function open({ urls, connections: count, targets }) {
  const connections = []
  const opening = []
  for (let index = 0; index < count; index++) {
    const { port, hostname } = new URL(urls[index % urls.length])
    const socket = connect({ port: Number(port), host: hostname, noDelay: true })
    socket.setEncoding('latin1')
    opening.push(once(socket, 'connect'))
    connections.push(socket)
  }
  await Promise.all(opening)
  opened = { connections, targets }
}

/** The answer in what was received, once all of it is there. */
function answerIn(received) {
  const headEnd = received.indexOf('\r\n\r\n')
  if (headEnd < 0) return undefined
  const head = received.slice(0, headEnd)
  const length = /\r\ncontent-length: (\d+)/i.exec(head)?.[1]
  if (length === undefined) return { failure: `an answer without Content-Length: ${head}` }
  const body = received.slice(headEnd + 4)
  if (body.length < Number(length)) return undefined
  const isGood = head.startsWith('HTTP/1.1 200 ') && body.length === Number(length)
  return isGood ? { body } : { failure: `a wrong answer: ${received}` }
}

function run(requests) {
  const { connections, targets } = opened
  // The next one is taken from the front, and put back when it is answered.
  const waiting = [...targets]
  const times = []
  let sent = 0
  const cpu = process.cpuUsage()
  const start = performance.now()
  let last = start
  return new Promise((resolve) => {
    const end = (failure) => {
      clearTimeout(timer)
      for (const socket of connections) socket.removeAllListeners()
      const { user, system } = process.cpuUsage(cpu)
      opened = { connections, targets: waiting }
      times.sort((one, other) => one - other)
      resolve({
        failure,
        perSecond: (times.length / (last - start)) * 1000,
        p50: times[Math.ceil(times.length * 0.5) - 1] ?? 0,
        p99: times[Math.ceil(times.length * 0.99) - 1] ?? 0,
        cpu: user + system,
      })
    }
    const timer = setTimeout(() => end(`${times.length} of ${requests} answers`), patience)
    for (const socket of connections) {
      let target
      let received = ''
      let sentAt = 0
      const send = () => {
        if (sent === requests) return
        sent++
        target = waiting.shift()
        sentAt = performance.now()
        socket.write(target.request)
      }
      socket.on('data', (chunk) => {
        received = received === '' ? chunk : received + chunk
        const answer = answerIn(received)
        if (!answer) return
        received = ''
        last = performance.now()
        times.push(last - sentAt)
        waiting.push(target)
        if (answer.failure) end(answer.failure)
        else if (!target.isRight(answer.body)) end(`a wrong answer: ${answer.body}`)
        else if (times.length === requests) end('')
        else send()
      })
      socket.on('error', ({ message }) => end(message))
      socket.on('close', () => end('the server has closed a connection'))
      send()
    }
  })
}

function close() {
  for (const socket of opened.connections) socket.destroy()
  opened = { connections: [], targets: [] }
}

process.on('message', async ({ ask, load, number, requests }) => {
  switch (ask) {
    case 'prepare':
      loads.push({ ...load, targets: load.targets.map(targetOf) })
      process.send({ number: loads.length - 1 })
      return
    case 'open':
      await open(loads[number])
      process.send('open')
      return
    case 'run':
      process.send(await run(requests))
      return
    default:
      close()
      process.send('closed')
  }
})
process.on('disconnect', () => process.exit(0))
process.send('ready')
