import type { Batch, Database, RowChange, StoredModel, Transaction } from 'headwater'
import { postgres } from 'headwater/postgres'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { migrate } from '../../src/database/migrate.ts'
import { databaseStore } from '../../src/read-model/database-store.ts'
import { createRowTable, rowTableName } from '../../src/read-model/row-table.ts'
import { databases, freshSchema, postgresUrl } from '../support/databases.ts'
import { batch, change, freshModel } from '../support/stored-model.ts'
import { waitUntil } from '../support/wait.ts'

const server = databases.find(({ name }) => name === 'postgres')

/** A batch over events without ids, which the write database would want to be UUIDs. */
function onward(from: number, to: number, rows: readonly RowChange[], more: Partial<Batch> = {}): Batch {
  return { ...batch(from, to, rows, more), from: at(from), to: at(to) }
}

function at(position: number) {
  return { position, eventId: null }
}

/** A version of a projection as the write database has it. */
async function registered(database: Database, schema: string, model: StoredModel): Promise<void> {
  await database.query(`insert into ${schema}.read_model (name) values ($1) on conflict do nothing`, [model.name])
  await database.query(
    `with p as (insert into ${schema}.projection (name, version, code_hash, mode, state, table_name, shape)
       values ($1, $2, '', 'async', 'building', $3, '{}') returning id)
     insert into ${schema}.checkpoint (projection, first, last, position) select id, 0, 63, 0 from p`,
    [model.name, model.version, rowTableName(model, true)],
  )
  await database.query(createRowTable(schema, rowTableName(model, true)))
}

for (const home of [true, false]) {
  describe.skipIf(server?.skip)(`batches that overlap, ${home ? 'in the write database' : 'in another database'}`, () => {
    const schema = freshSchema('turns')
    let first: Database
    let second: Database
    let watch: Database
    let version = 0

    beforeAll(async () => {
      first = postgres(postgresUrl, { poolSize: 1 })
      second = postgres(postgresUrl, { poolSize: 1 })
      watch = postgres(postgresUrl, { poolSize: 1 })
      if (home) await migrate(first, schema)
    })

    afterAll(async () => {
      for (const database of [first, second, watch]) await database?.close()
    })

    async function begun(park: Batch['park']): Promise<StoredModel> {
      const model = freshModel({ name: 'cards', version: ++version, indexes: [] })
      if (home) await registered(first, schema, model)
      const store = databaseStore(first, schema, { home })
      const opening = onward(0, 100, [change(model, 'k', 0, 90, { n: 'first' })], { park })
      expect(await store.apply(model, home ? opening : { ...opening, from: null })).toBe('applied')
      return model
    }

    /** The later one is under way, and waits, while what is done before it is not committed. */
    async function overlapped(model: StoredModel, earlier: (transaction: Transaction) => Promise<unknown>, later: Batch) {
      const late = databaseStore(second, schema, { home })
      const { rows } = await second.query<{ pid: number }>('select pg_backend_pid() as pid')
      expect(await late.apply(model, onward(1, 2, []))).toBe('lost')
      let outcome: Promise<string> | undefined
      await first.transaction(async (transaction) => {
        await earlier(transaction)
        outcome = late.apply(model, later)
        await waitUntil(async () => {
          const blocked = await watch.query<{ waits: boolean }>('select cardinality(pg_blocking_pids($1)) > 0 as waits', [rows[0]?.pid])
          return blocked.rows[0]?.waits === true
        })
      })
      return { outcome: await outcome, seen: await late.load(model, ['k']) }
    }

    const applying = (model: StoredModel, done: Batch) => async (transaction: Transaction) =>
      expect(await databaseStore(transaction, schema, { home }).apply(model, done)).toBe('applied')

    const parked = { key: 'k', position: 95, eventId: null, reason: 'it failed' }
    const late = (model: StoredModel) => onward(100, 110, [change(model, 'k', 90, 105, { n: 'late' })])
    const mended = (model: StoredModel, unpark: readonly string[] = []) =>
      onward(100, 100, [change(model, 'k', 90, 95, { n: 'mended' })], { unpark })

    test('a batch that waited for one that did not move the checkpoint does not write over its rows', async () => {
      const model = await begun([])
      const { outcome, seen } = await overlapped(model, applying(model, mended(model)), late(model))
      expect(outcome).toBe('lost')
      expect(seen).toMatchObject({ checkpoint: at(100), rows: [{ row: '{"n": "mended"}', position: 95 }] })
    })

    test('nor passes over events of a key that it took back', async () => {
      const model = await begun([parked])
      const passing = onward(100, 110, [], { stillParked: ['k'] })
      const { outcome, seen } = await overlapped(model, applying(model, mended(model, ['k'])), passing)
      expect(outcome).toBe('lost')
      expect(seen).toMatchObject({ checkpoint: at(100), parked: 0, rows: [{ position: 95 }] })
    })

    test('a batch that takes a key back does not count after one that passed over its events', async () => {
      const model = await begun([parked])
      const passing = onward(100, 110, [], { stillParked: ['k'] })
      const { outcome, seen } = await overlapped(model, applying(model, passing), mended(model, ['k']))
      expect(outcome).toBe('lost')
      expect(seen).toMatchObject({ checkpoint: at(110), parked: 1, rows: [{ position: 90 }] })
    })

    test('of two that do not move the checkpoint the second counts nothing either', async () => {
      const model = await begun([])
      const again = onward(100, 100, [change(model, 'k', 90, 96, { n: 'late' })])
      const { outcome, seen } = await overlapped(model, applying(model, mended(model)), again)
      expect(outcome).toBe('lost')
      expect(seen).toMatchObject({ checkpoint: at(100), rows: [{ position: 95 }] })
    })

    test('one that waited for something else, such as the lease, counts', async () => {
      const model = await begun([])
      const touch = (transaction: Transaction) => transaction.query(`update ${schema}.checkpoint set event_id = null where position = 100`)
      const { outcome, seen } = await overlapped(model, touch, late(model))
      expect(outcome).toBe('applied')
      expect(seen).toMatchObject({ checkpoint: at(110), rows: [{ position: 105 }] })
    })
  })
}
