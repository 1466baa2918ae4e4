// What the servers have in common: the same data, the same answers, and the parent's questions.

import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'

/** Seconds without a request after which a session ends, for all of them. */
export const idleSeconds = 3600

/** Signs the cookies of those that sign them. */
export const signingSecret = 'a text of more than thirty-two characters'

const text = (length) => 'x'.repeat(Math.max(length, 0))

/**
 * The values of a session: the first is a number in text, the others in turn text, an object and a
 * number, as apps have them.
 *
 * @param {number} keys How many.
 * @param {number} bytes Of each but the numbers, as JSON.
 * @returns {Record<string, unknown>} By name.
 */
export function valuesOf(keys, bytes) {
  const values = { key0: '00000000'.concat(text(bytes - 10)) }
  for (let index = 1; index < keys; index++) {
    const item = { id: index, tags: ['new', 'hot'], note: '' }
    const room = bytes - JSON.stringify(item).length
    values[`key${index}`] =
      index % 2 === 1 && room >= 0 ? { ...item, note: text(room) } : text(bytes - 2)
  }
  return values
}

/**
 * An object as apps keep one.
 *
 * @param {number} bytes Of it, as JSON.
 */
export function objectOf(bytes) {
  const object = { items: [], note: '' }
  const left = () => bytes - JSON.stringify(object).length
  while (left() > 100) {
    const id = object.items.length
    object.items.push({ id, name: `Tea number ${id}`, price: 12.5, tags: ['new', 'hot'] })
  }
  object.note = text(left())
  return object
}

const known = new Map()

/**
 * The values that `keys=20&bytes=50` asks for; with `object=2000` an object too.
 *
 * @param {string} query The query, without the question mark.
 */
export function valuesFor(query) {
  let values = known.get(query)
  if (!values) {
    const asked = new URLSearchParams(query)
    values = valuesOf(Number(asked.get('keys')), Number(asked.get('bytes')))
    const object = asked.get('object')
    if (object) values.object = objectOf(Number(object))
    known.set(query, values)
  }
  return values
}

/** What the first value becomes: the next number, as long as before. */
export function nextOf(value) {
  return String(Number(value.slice(0, 8)) + 1)
    .padStart(8, '0')
    .concat(value.slice(8))
}

/** What is answered: who it is, and the number. */
export function shown(userName, value) {
  return userName ? `${userName} ${value.slice(0, 8)}` : 'guest'
}

/** The right that a login grants. */
export const right = 'browse'

/** What is answered about the object. */
export function shownObject({ items }) {
  return `${items.length} items`
}

let signIns = 0

/** A user of its own for each sign-in. */
export function newUserName() {
  return `user${signIns++}`
}

/**
 * Listens on a free port, tells the parent, and answers what it asks: the CPU time of this process.
 *
 * @param {import('node:http').RequestListener} app
 */
export function serve(app) {
  const server = createServer(app)
  server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }))
  answerParent()
}

/**
 * Answers the parent, and ends with it. It asks for the CPU time so far, to start a profile, or to
 * write one into a file.
 */
export function answerParent() {
  let inspector
  process.on('message', async ({ ask, path }) => {
    if (ask === 'profile') {
      const { Session } = await import('node:inspector/promises')
      inspector = new Session()
      inspector.connect()
      await inspector.post('Profiler.enable')
      await inspector.post('Profiler.setSamplingInterval', { interval: 250 })
      await inspector.post('Profiler.start')
    } else if (ask === 'write') {
      const { profile } = await inspector.post('Profiler.stop')
      writeFileSync(path, JSON.stringify(profile))
    }
    const { user, system } = process.cpuUsage()
    process.send({ cpuMicros: user + system })
  })
  process.on('disconnect', () => process.exit(0))
}
