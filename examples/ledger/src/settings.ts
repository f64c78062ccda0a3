import { parseArgs } from 'node:util'

/** What the process was started with: arguments first, then the environment. */
export interface Settings {
  readonly port: number
  /** Whether the monthly report is among the read models. */
  readonly report: boolean
  /** How many events to fill the log with. 0: none. */
  readonly events: number
  readonly seed: boolean
}

/** @throws {Error} for a setting that cannot be, saying which */
export function readSettings(args: readonly string[], environment: NodeJS.ProcessEnv): Settings {
  const { values } = parseArgs({ args: [...args], options: { events: { type: 'string' }, report: { type: 'boolean' } } })
  const events = Number(values.events ?? 0)
  if (!Number.isInteger(events) || events < 0 || events > 1e9) throw new Error(`--events ${values.events}: a whole number is expected`)
  return {
    port: Number(environment.PORT || 4001),
    report: values.report === true || environment.REPORT === '1',
    events,
    seed: environment.SEED !== 'none' && events === 0,
  }
}
