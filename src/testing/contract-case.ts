import assert from 'node:assert/strict'
import type { Database } from '../index.ts'

/** One promise of a contract, as a test for any runner: `run` rejects when it is broken. */
export interface ContractCase {
  readonly name: string
  run(): Promise<void>
}

/** The body of a case, on a database that is open and will be closed. */
export type Check = (database: Database) => Promise<void>

/** Rejects unless `work` rejects with an error that has these properties. */
export async function rejects(work: () => Promise<unknown>, expected: object): Promise<void> {
  await assert.rejects(work, (error: unknown) => {
    assert.ok(error instanceof Error, 'what was thrown is no Error')
    for (const [key, value] of Object.entries(expected)) {
      const got: unknown = Reflect.get(error, key)
      if (value instanceof RegExp) assert.match(String(got), value)
      else assert.deepEqual(got, value, `${key} of: ${error.name}: ${error.message}`)
    }
    return true
  })
}

/** A table of its own for `work`, gone afterwards. */
export async function withTable(database: Database, columns: string, work: (name: string) => Promise<void>): Promise<void> {
  const name = `contract_${Math.random().toString(36).slice(2, 12)}`
  await database.query(`create table ${name} (${columns})`)
  try {
    await work(name)
  } finally {
    await database.query(`drop table ${name}`)
  }
}
