import type { Database } from 'headwater'
import { expect } from 'vitest'
import type { LoggedEvent } from '../process/bank.ts'
import type { Told } from '../process/bank-writer.ts'

/** What the writers of a bank told of their commands. */
export interface BankBooks {
  readonly told: Told[]
}

/** The whole log, checked to be one: positions and versions without a hole. */
export async function readBooks(database: Database, schema: string): Promise<readonly LoggedEvent[]> {
  const { rows } = await database.query<LoggedEvent>(
    `select position, id, stream, version, type, data from "${schema}".event order by position`,
  )
  const versions = new Map<string, number>()
  for (const [i, { position, stream, version }] of rows.entries()) {
    expect([position, stream, version]).toEqual([i + 1, stream, (versions.get(stream) ?? 0) + 1])
    versions.set(stream, version)
  }
  return rows
}

/** The rows that commands over tables wrote, each with the events that it emitted. The table is in the database's search path. */
export async function checkNotes(database: Database, events: readonly LoggedEvent[]): Promise<void> {
  const { rows } = await database.query<{ sent: string; parts: number }>('select sent, parts from noted')
  const noted = events.filter(({ type }) => type === 'Noted').map(({ data }) => `${data.sent} ${data.part}`)
  expect(noted.toSorted()).toEqual(rows.flatMap(({ sent, parts }) => Array.from({ length: parts }, (_, i) => `${sent} ${i}`)).toSorted())
}

/** Everything that was acknowledged is there whole and once, nothing of what was refused, and each event was decided on the one before it. */
export function checkBooks({ told }: BankBooks, events: readonly LoggedEvent[]): void {
  const found = new Map<string, number>()
  for (const { data } of events) found.set(data.sent, (found.get(data.sent) ?? 0) + 1)
  for (const { sent, command, status, events: size } of told) {
    const there = found.get(sent) ?? 0
    if (status === 'unknown') expect([sent, command, [0, size].includes(there)]).toEqual([sent, command, true])
    else expect([sent, command, status, there]).toEqual([sent, command, status, status === 'done' ? size : 0])
  }
  expect(new Set(told.map(({ sent }) => sent)).size).toBe(told.length)
  const balances = new Map<string, number | undefined>()
  for (const { stream, version, type, data } of events) {
    if (!stream.startsWith('account-')) continue
    expect([stream, version, data.base]).toEqual([stream, version, version - 1])
    const balance = balances.get(stream)
    // An account is opened when it is not open, and moved and closed when it is.
    expect([data.sent, type, balance === undefined]).toEqual([data.sent, type, type === 'Opened'])
    balances.set(stream, type === 'Opened' ? 0 : type === 'Closed' ? undefined : (balance ?? 0) + data.amount)
  }
}
