import { inFlight, perUser, restoresPerToken } from './figure-sizes.ts'
import type {
  ByteFigures,
  EndFigures,
  IncrementFigures,
  LimitFigures,
  ListFigures,
  PairFigures,
  RestoreFigures,
  SignInFigures,
} from './figures.ts'

export interface Row {
  readonly figure: string
  readonly reached: string
  readonly isMet: boolean
}

export function incrementRows(uses: number, figures: IncrementFigures): Row[] {
  const { total, lost, doubled, commandsPerUse, errors } = figures
  return [
    {
      figure: `${uses} increments by use(), 2 processes x 50: none lost, none twice`,
      reached: `total ${total}, ${lost} lost, ${doubled} twice, ${errors} errors`,
      isMet: total === uses && lost === 0 && doubled === 0 && errors === 0,
    },
    {
      figure: 'commands to Redis per use, the load included: at most 3',
      reached: commandsPerUse.toFixed(2),
      isMet: commandsPerUse <= 3,
    },
  ]
}

export function pairRow({ pairs, lost, errors }: PairFigures): Row {
  return {
    figure: `${pairs} pairs that change different keys: 0 lost`,
    reached: `${lost} lost, ${errors} errors`,
    isMet: lost === 0 && errors === 0,
  }
}

export function byteRows({ counter, oneKey, allKeys }: ByteFigures): Row[] {
  const percent = (bytes: number): string => `${((100 * bytes) / allKeys).toFixed(2)} %`
  return [
    {
      figure: 'bytes for a changed counter among 100 keys (2 KB each): under 1 % of all',
      reached: `${counter} of ${allKeys}, ${percent(counter)}`,
      isMet: counter < allKeys / 100,
    },
    {
      figure: 'bytes for a changed text of 2 KB among them: under 1.5 % of all',
      reached: `${oneKey} of ${allKeys}, ${percent(oneKey)}`,
      isMet: oneKey < (1.5 * allKeys) / 100,
    },
  ]
}

export function endRow({ races, alive, lostSignIns, contenders, late, errors }: EndFigures): Row {
  return {
    figure: `${races} races against the end of a session: 0 alive after it, no sign-in lost`,
    reached: `${alive} alive, ${lostSignIns} sign-ins lost, ${late} of ${contenders} too late, ${errors} errors`,
    isMet: alive === 0 && lostSignIns === 0 && errors === 0,
  }
}

export function signInRow(users: string, figures: SignInFigures): Row {
  const { rounds, deadCookies, wrongSessions, foreignRights, errors } = figures
  const opened = figures.openedByOld + figures.openedByForged
  const faults = deadCookies + wrongSessions + foreignRights + opened + errors
  return {
    figure: `${rounds} x ${inFlight} parallel sign-ins as ${users}: every cookie works`,
    reached:
      `${deadCookies} dead cookies, ${wrongSessions} wrong sessions, ` +
      `${foreignRights} foreign rights, ${opened} opened by an old or forged value, ${errors} errors`,
    isMet: faults === 0,
  }
}

export function listRow(where: string, figures: ListFigures): Row {
  const { races, checks, missing, back, stale, errors } = figures
  return {
    figure: `${races} races about a user's sessions${where}: none missing in the list, none back`,
    reached: `${missing} missing, ${back} back in ${checks} checks, ${stale} stale, ${errors} errors`,
    isMet: missing === 0 && back === 0 && errors === 0,
  }
}

export function limitRow(onExceed: string, figures: LimitFigures): Row {
  const { rounds, wrongLive, wrongListed, wrongRefused, errors } = figures
  return {
    figure: `${rounds} x ${inFlight} parallel sign-ins, maxSessions ${perUser}, ${onExceed}: exactly ${perUser}`,
    reached:
      `${wrongLive} rounds with others live, ${wrongListed} listed, ${wrongRefused} refused, ` +
      `${errors} errors`,
    isMet: wrongLive + wrongListed + wrongRefused + errors === 0,
  }
}

export function restoreRow({
  tokens,
  winners,
  wrongTokens,
  wrongCookies,
  errors,
}: RestoreFigures): Row {
  return {
    figure: `${tokens} one-time tokens x ${restoresPerToken} parallel restores: exactly ${tokens} winners`,
    reached:
      `${winners} winners, ${wrongTokens} tokens with none or several, ` +
      `${wrongCookies} wrong cookies, ${errors} errors`,
    isMet: winners === tokens && wrongTokens + wrongCookies + errors === 0,
  }
}

export function ownIncrementRow(
  uses: number,
  { total, lost, doubled, errors }: IncrementFigures,
): Row {
  return {
    figure: `${uses} increments in the stored-procedure session: none lost, none twice`,
    reached: `total ${total}, ${lost} lost, ${doubled} twice, ${errors} errors`,
    isMet: total === uses && lost === 0 && doubled === 0 && errors === 0,
  }
}
