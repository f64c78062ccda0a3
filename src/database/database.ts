/**
 * A value in a row, the same from every adapter: JSON values only. `int8` is a number while it is a safe integer and an error
 * that names the column beyond (cast it to text); `numeric` is a string; `date`, `timestamp` and `timestamptz` are ISO 8601
 * strings with six digits of seconds, `timestamptz` in UTC with `Z`; `bytea` is base64; `json` and `jsonb` are what they hold;
 * `NaN` and the infinities are strings; arrays are arrays; everything else is PostgreSQL's own text.
 */
export type Row = Readonly<Record<string, unknown>>

/** What a statement answered. */
export interface SqlResult<R = Row> {
  /** With `rowMode: 'array'` each row is an array of values in column order. */
  readonly rows: readonly R[]
  /** Rows returned or changed. */
  readonly rowCount: number
}

/** How to run one statement. */
export interface StatementOptions {
  readonly rowMode?: 'object' | 'array'
  /** The text recurs: keep it prepared where connections allow that. */
  readonly prepare?: boolean
}

/**
 * Runs statements on one connection, in the order of the calls. Parameters (`$1`, ...) may be strings, numbers, booleans, bigints,
 * null, `Date`, `Uint8Array`, arrays of those (SQL arrays) and plain objects (JSON). Errors: `DatabaseError` with the SQLSTATE,
 * `DatabaseUnavailableError`.
 */
export interface SqlClient {
  query<R = Row>(text: string, values?: readonly unknown[], options?: StatementOptions): Promise<SqlResult<R>>
}

/** A client that holds one open transaction. */
export interface Transaction extends SqlClient {
  /** The driver's own client (`pg`'s `PoolClient` on a server), or undefined where there is none (PGlite runs in a worker). */
  readonly raw: unknown
}

/** How to begin a transaction. Left out: READ COMMITTED, reading and writing. */
export interface TransactionOptions {
  readonly isolation?: 'read committed' | 'repeatable read' | 'serializable'
  readonly readOnly?: boolean
}

/**
 * The client port of a PostgreSQL database. `query` runs one statement in a transaction of its own (several statements in one text
 * without values run as one simple query). See `databaseContract` in `headwater/testing` for what every adapter keeps.
 */
export interface Database extends SqlClient {
  /**
   * Runs `work` in one transaction on one connection: commits when it resolves, rolls back when it throws. If the connection is lost
   * while COMMIT is under way it rejects with `DatabaseUnavailableError` whose `during` is `commit`.
   */
  transaction<T>(work: (transaction: Transaction) => Promise<T>, options?: TransactionOptions): Promise<T>
  /** Ends all connections after the statements under way. Idempotent. */
  close(): Promise<void>
  /** What it is, for a log line: no password. How many statements it can run side by side: 1 on PGlite. */
  readonly traits: DatabaseTraits
  /** Copies of it that queries may read. They are closed with it. */
  readonly replicas?: Replicas | undefined
}

/**
 * What a query does whose demand no replica has replayed yet: `primary` asks the primary at once; `wait` waits for a replica, as long as `waitMs`;
 * `fail` fails at once with `ReplicaBehindError`. Where no replica can be read at all, the primary answers in any case.
 */
export type WhenBehind = 'primary' | 'wait' | 'fail'

/** The replicas of a database and how they are used. */
export interface Replicas {
  readonly each: readonly Replica[]
  readonly whenBehind: WhenBehind
}

/** A copy of a database that follows its write-ahead log. `query` runs one statement, which can only read. */
export interface Replica extends SqlClient {
  /** For a log line: no password. */
  readonly description: string
  /**
   * Runs the statement `first`, and if `judge` says true to its row, `work` on a snapshot of the same session that was taken after it: so what `first`
   * said of the replica holds for everything that `work` reads. Resolves to undefined when `judge` says false.
   */
  snapshotAfter<T>(
    first: string,
    judge: (row: Row) => boolean,
    work: (client: SqlClient) => Promise<T>,
  ): Promise<{ readonly value: T } | undefined>
}

/** What differs from one database to another and a caller may have to know. */
export interface DatabaseTraits {
  readonly description: string
  readonly connections: number
  /** Whether an acknowledged write survives a power cut. False on PGlite, which never calls fsync. */
  readonly survivesPowerLoss: boolean
}
