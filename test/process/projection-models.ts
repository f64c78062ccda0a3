/** What the processes of projection tests have in common: a small ledger, the read models over it, and a worker that folds them. */
import { aggregate, type Database, silentLog, systemClock, type as typeOf } from 'headwater'
import { postgres } from 'headwater/postgres'

const dist = async <T>(file: string) => (await import(new URL(`../../../dist/${file}`, import.meta.url).href)) as T
const { projection } = await dist<typeof import('../../src/projection/projection.ts')>('projection/projection.js')
const { ProjectionWorker } = await dist<typeof import('../../src/projection/worker.ts')>('projection/worker.js')
const { databaseLog } = await dist<typeof import('../../src/log/database-log.ts')>('log/database-log.js')
const { databaseStore } = await dist<typeof import('../../src/read-model/database-store.ts')>('read-model/database-store.js')

export interface ChildOptions {
  readonly url: string
  readonly schema: string
  readonly generation: string
  readonly seed: number
  readonly rounds: number
  /** The version of the read models. */
  readonly version: number
}

export const account = aggregate('account', {
  events: { Opened: typeOf<{ owner: string }>(), Moved: typeOf<{ amount: number; to: string }>(), Closed: typeOf<object>() },
  initialState: () => ({}),
  evolve: { Opened: (state) => state, Moved: (state) => state, Closed: (state) => state },
})

interface Balance {
  readonly owner: string
  readonly balance: number
  /** The versions that were folded, so that none twice and none missing shows. */
  readonly seen: readonly number[]
}

/** `balances` by stream, `moves` by a key that is no stream, `now_balances` in step with appends. */
export function models(version: number) {
  const balance = (name: string, update: 'sync' | 'async') =>
    projection(name, {
      from: [account],
      row: typeOf<Balance>(),
      on: {
        Opened: (_none, { data, stream }) => ({ owner: `${data.owner}${version}`, balance: 0, seen: [stream.length] }),
        Moved: (row, { data }) => row && { ...row, balance: row.balance + data.amount, seen: [...row.seen, data.amount].slice(-20) },
        Closed: () => null,
      },
      indexes: { byOwner: ['owner'] },
      update,
      version,
    })
  const moves = projection('moves', {
    from: [account],
    row: typeOf<{ count: number; last: string }>(),
    key: (event) => (event.type === 'Moved' ? [event.data.to, 'all'] : []),
    on: { Moved: (row, { stream }) => ({ count: (row?.count ?? 0) + 1, last: stream }) },
    version,
  })
  return [balance('balances', 'async'), moves, balance('now_balances', 'sync')] as const
}

/** A database with a worker and a log that know each other. */
export function open({ url, schema, generation, version }: ChildOptions, options: { readonly fold: boolean }) {
  const database: Database = postgres(url, { poolSize: 4 })
  const log = silentLog
  const eventLog = databaseLog({
    database,
    schema,
    clock: systemClock,
    log,
    generation: () => generation,
    renewGeneration: async () => undefined,
    onLost: () => worker.companion.clear(),
    get companion() {
      return worker.companion
    },
    onAppended: () => worker.wake(),
  })
  const store = databaseStore(database, schema, { home: true })
  const runtime = { database, schema, eventLog, store, clock: systemClock, log }
  const worker = new ProjectionWorker(runtime, {
    projections: models(version) as never,
    pollIntervalMs: 10,
    rollbackWindowMs: 86_400_000,
    fold: options.fold,
  })
  return { database, eventLog, worker, runtime }
}
