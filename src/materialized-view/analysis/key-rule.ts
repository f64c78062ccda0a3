import type { Transaction } from '../../database/database.ts'
import { DatabaseError } from '../../errors.ts'
import type { Refusal } from './refusal.ts'
import type { OutputColumn } from './select-probe.ts'
import { attempt } from './undo.ts'

/** What is wrong with the key's columns. `name`: a qualified name that is free. */
export async function keyRefusals(
  client: Transaction,
  name: string,
  key: readonly string[],
  columns: readonly OutputColumn[],
): Promise<readonly Refusal[]> {
  const refusals: Refusal[] = []
  for (const [i, column] of key.entries()) {
    const output = columns.find((candidate) => candidate.name === column)
    if (!output) {
      const has = columns.map((candidate) => candidate.name).join(', ')
      const message = `the key column ${column} is not in the SELECT's output (${has}); select it, or name another key`
      refusals.push({ code: 'key_not_selected', subject: column, message })
    } else if (!(await isComparable(client, `${name.replace(/"$/, '')}_${i}"`, output.type))) {
      const message = `the key column ${column} is of type ${output.type}, which cannot be compared and hashed for equality; cast it, to text for example`
      refusals.push({ code: 'key_not_comparable', subject: column, message })
    }
  }
  return refusals
}

/** Arrays could not be listed in an array, as keys are. */
async function isComparable(client: Transaction, table: string, type: string): Promise<boolean> {
  if (type.endsWith('[]')) return false
  const made = await attempt(client, async () => {
    await client.query(`create table ${table} (k ${type})`)
    for (const method of ['btree', 'hash']) await client.query(`create index on ${table} using ${method} (k)`)
  })
  return !(made instanceof DatabaseError)
}
