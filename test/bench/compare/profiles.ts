import { readdirSync, readFileSync } from 'node:fs'

import { printTable } from './statistics.ts'

const shownFunctions = 25

interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: {
      readonly functionName: string
      readonly url: string
      readonly lineNumber: number
    }
  }[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

/** Prints the functions with the most self time, for each profile in a folder. */
export function printProfiles(folder: string): void {
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.cpuprofile'))) {
    const profile: CpuProfile = JSON.parse(readFileSync(`${folder}/${file}`, 'utf8'))
    const names = new Map(
      profile.nodes.map(({ id, callFrame }) => {
        const place = callFrame.url.replace(/^.*\/(node_modules|dist|servers)\//, '')
        return [
          id,
          `${callFrame.functionName || '(anonymous)'} ${place}:${callFrame.lineNumber + 1}`,
        ]
      }),
    )
    const times = new Map<string, number>()
    for (const [index, id] of profile.samples.entries()) {
      const name = names.get(id) ?? ''
      if (name.startsWith('(idle)') || name.startsWith('(program)')) continue
      times.set(name, (times.get(name) ?? 0) + (profile.timeDeltas[index] ?? 0))
    }
    const all = [...times.values()].reduce((sum, micros) => sum + micros, 0)
    const rows = [...times]
      .toSorted(([, one], [, other]) => other - one)
      .slice(0, shownFunctions)
      .map(([name, micros]) => [name, `${((micros / all) * 100).toFixed(1)} %`])
    console.log(`\n${folder}/${file}: ${(all / 1000).toFixed(0)} ms, self time`)
    printTable([['function', 'part'], ...rows])
  }
}
