import { type SqlClient, UsageError } from '../../index.ts'

/** What Kysely asks of a pool of `pg`, in its own terms. */
export interface KyselyPool {
  connect(): Promise<KyselyClient>
  end(): Promise<void>
}

/** What Kysely asks of a client of such a pool. */
export interface KyselyClient {
  query<R>(text: string, parameters: readonly unknown[]): Promise<KyselyResult<R>>
  /** Cursors are not supported. */
  query(cursor: never): never
  release(): void
}

/** What Kysely asks of a result. */
export interface KyselyResult<R> {
  readonly command: 'UPDATE' | 'DELETE' | 'INSERT' | 'SELECT' | 'MERGE'
  readonly rowCount: number
  readonly rows: R[]
}

/**
 * Lets Kysely run its queries on a client of Headwater, so that they belong to the transaction of a command. Rows hold the values that
 * `Row` describes: time is text, for instance. Kysely's own `transaction()` is refused with `UsageError`, because the client is in
 * one that is not Kysely's to end; `destroy()` does nothing.
 *
 * @example
 * const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: kyselyPool(client) }) })
 */
export function kyselyPool(client: SqlClient): KyselyPool {
  const kyselyClient: KyselyClient = {
    query: async <R>(text: string, parameters: readonly unknown[]): Promise<KyselyResult<R>> => {
      refuseTransactionControl(text)
      const { rows, rowCount } = await client.query<R>(text, parameters, { prepare: true })
      return { command: commandOf(text), rowCount, rows: [...rows] }
    },
    release: () => {},
  } as KyselyClient
  return { connect: async () => kyselyClient, end: async () => {} }
}

function refuseTransactionControl(text: string): void {
  if (!/^\s*(begin|start\s+transaction|commit|end|rollback(?!\s+to)|abort)\b/i.test(text)) return
  throw new UsageError('Kysely runs inside a transaction of Headwater, which begins and ends by itself: leave out transaction()')
}

/** Kysely takes the count of changed rows from the command. A statement that begins with WITH may change rows, and the count does no harm if not. */
function commandOf(text: string): KyselyResult<unknown>['command'] {
  const word = /^\s*(insert|update|delete|merge|with)\b/i.exec(text)?.[1]?.toUpperCase()
  if (word === 'WITH') return 'UPDATE'
  return word === 'INSERT' || word === 'UPDATE' || word === 'DELETE' || word === 'MERGE' ? word : 'SELECT'
}
