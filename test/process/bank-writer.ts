/**
 * A process that sends commands at random, from a seed, over several senders at once, and prints what became of each. One that is told nothing, or
 * that the database is away, sends a command with a key again. It ends after its rounds, or when it is told to.
 */
import { DatabaseError, headwater, isHeadwaterError, Rejection, silentLog } from 'headwater'
import { postgres } from 'headwater/postgres'
import { commands, homeModels } from './bank.ts'
import { startedApp } from './bank-app.ts'

export interface BankWriter {
  readonly url: string
  readonly schema: string
  /** Of the tables. */
  readonly tables: string
  /** What it puts before the name of each sending. */
  readonly name: string
  readonly seed: number
  readonly accounts: number
  readonly senders: number
  /** Of each sender. */
  readonly rounds: number
  /** The longest pause between two commands of a sender. */
  readonly pauseMs: number
}

/** What a writer prints of a sending. `not`: it surely did not take effect; `unknown`: that cannot be told. */
export interface Told {
  readonly sent: string
  readonly command: string
  readonly status: 'done' | 'refused' | 'not' | 'unknown'
  /** How many events it has, if it took effect. */
  readonly events: number
}

const options = JSON.parse(process.argv[2] ?? '{}') as BankWriter
const app = await startedApp(() => {
  const database = postgres(options.url, { poolSize: 6, searchPath: options.tables, applicationName: 'bank-writer' })
  return headwater({ database, schema: options.schema, commands, readModels: homeModels, log: silentLog, pollIntervalMs: 20 })
}, 'commands')
let telling = true
process.on('SIGTERM', () => {
  telling = false
})

let state = options.seed & 0x7fffffff
function random(below: number): number {
  state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
  return (state >>> 8) % below
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
/** Nothing is known of the command, or others were in the way: the same key may be sent again. */
const passing = new Set(['database_unavailable', 'outcome_unknown', 'version_conflict'])

function something(sent: string): { readonly command: 'open' | 'move' | 'close' | 'note'; readonly input: never; readonly events: number } {
  const id = `a${random(options.accounts)}`
  const dice = random(16)
  if (dice < 3) return { command: 'open', input: { id, sent, owner: `o${random(5)}` } as never, events: 1 }
  if (dice < 13) {
    const amounts = Array.from({ length: 1 + random(3) }, () => random(200) - 60)
    return { command: 'move', input: { id, sent, amounts, to: `t${random(12)}` } as never, events: amounts.length }
  }
  if (dice < 14) return { command: 'close', input: { id, sent } as never, events: 1 }
  const parts = 1 + random(3)
  return { command: 'note', input: { id, sent, parts, refused: random(3) === 0 } as never, events: parts }
}

async function send(sent: string): Promise<Told> {
  const { command, input, events } = something(sent)
  const keyed = random(4) > 0
  for (let tries = 0; ; tries++) {
    try {
      await app.execute(command, input, keyed ? { idempotencyKey: sent } : {})
      return { sent, command, status: 'done', events }
    } catch (error) {
      if (error instanceof Rejection) return { sent, command, status: 'refused', events }
      const isInTheWay = error instanceof DatabaseError && (error.sqlState === '40001' || error.sqlState === '40P01')
      if (!isHeadwaterError(error) || !(isInTheWay || passing.has(error.code))) throw error
      if (!keyed) return { sent, command, status: error.code === 'outcome_unknown' ? 'unknown' : 'not', events }
      if (tries > 2000) throw error
      await pause(20)
    }
  }
}

async function sender(number: number): Promise<void> {
  for (let round = 0; round < options.rounds && telling; round++) {
    const told = await send(`${options.name}.${number}.${round}`)
    process.stdout.write(`${JSON.stringify(told)}\n`)
    if (options.pauseMs > 0) await pause(random(options.pauseMs))
  }
}

await Promise.all(Array.from({ length: options.senders }, (_, number) => sender(number)))
await app.stop()
