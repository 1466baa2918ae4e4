// The load, in a process of its own: so many requests over so many kept connections.

import autocannon from 'autocannon'

process.on('message', async (/** @type {import('../load.ts').Load} */ load) => {
  const times = []
  let last = 0
  const start = performance.now()
  const instance = autocannon({
    url: load.url,
    headers: load.headers,
    connections: load.connections,
    amount: load.requests,
    // It looks this often whether it is done; by default once a second.
    sampleInt: 20,
    ...(load.body !== undefined && { expectBody: load.body }),
  })
  instance.on('response', (client, status, bytes, ms) => {
    times.push(ms)
    last = performance.now()
  })
  const { non2xx, errors, timeouts, mismatches } = await instance
  times.sort((one, other) => one - other)
  process.send({
    answers: times.length,
    wrong: non2xx + errors + timeouts + mismatches,
    perSecond: (times.length / (last - start)) * 1000,
    p50: times[Math.ceil(times.length * 0.5) - 1],
    p99: times[Math.ceil(times.length * 0.99) - 1],
  })
})
process.on('disconnect', () => process.exit(0))
process.send('ready')
