/** A process that writes random transactions, from a seed, over several connections, and knows nothing of Headwater. */
import fc from 'fast-check'
import { postgres } from 'headwater/postgres'
import { randomTransactions, runTransaction } from './random-writes.ts'

const { url, tables, seed, runs } = JSON.parse(process.argv[2] ?? '{}') as { url: string; tables: string; seed: number; runs: number }
const database = postgres(url, { searchPath: tables, poolSize: 4 })
const samples = fc.sample(randomTransactions, { seed, numRuns: runs })
const next = samples[Symbol.iterator]()
await Promise.all(
  Array.from({ length: 4 }, async () => {
    for (const transactions of next) for (const transaction of transactions) await runTransaction(database, transaction)
  }),
)
await database.close()
process.stdout.write('done\n')
