import type { Database, Replica, Row, SqlClient, WhenBehind } from '../database/database.ts'
import { quote } from '../database/identifier.ts'
import { asReplayPosition, type ReplayPosition, replaySql, type WalPosition, WalPositions } from '../database/wal-position.ts'
import { DatabaseError, DatabaseUnavailableError } from '../errors.ts'
import type { Clock } from '../internal/clock.ts'
import type { Log } from '../internal/log.ts'
import { pauseBefore } from '../internal/retry.ts'
import { isReplicaTrouble } from './replica-trouble.ts'

/**
 * `following`: read from. `behind`: it has not replayed the current generation yet. `refused`: it is no replica of this primary, such as one that was
 * promoted. `unreachable`: it did not answer. All but the first are left out and asked again later.
 */
export type ReplicaState = 'following' | 'behind' | 'refused' | 'unreachable'

/** How a replica is. */
export interface ReplicaStatus {
  /** Its address, without what is secret in it. */
  readonly name: string
  readonly state: ReplicaState
  /** How old what it lacks may be, in milliseconds. 0: it lacks nothing. Null: it cannot be told. */
  readonly lagMs: number | null
  /** How much of the primary's write-ahead log it has yet to replay. */
  readonly behindBytes: number | null
  readonly error: string | null
}

/** What an answer came to on the replicas: the value; that none had replayed enough; undefined where none could be read. */
export type FromReplica<T> = { readonly value: T } | 'behind' | undefined

export interface ReplicaSetOptions {
  readonly database: Database
  readonly schema: string
  readonly generation: () => string
  readonly clock: Clock
  readonly log: Log
}

const samplesMax = 120
/** How old what is known of a server may be, where nothing is demanded. */
const knownForMs = 1000
/** How long a server may take to say how it is. */
const patienceMs = 2000
const refusedForMs = 5000
/** Headwater's schema is not there: not yet, or it is somebody else's database. */
const noSchema = new Set(['42P01', '3F000'])
const backoff = { baseMs: 500, maxMs: 30_000 }

interface Follower {
  readonly replica: Replica
  state: ReplicaState
  error: string | undefined
  said: ReplayPosition | undefined
  saidAt: number
  /** Not asked before. */
  askAt: number
  failures: number
  asking: Promise<void> | undefined
}

/**
 * The replicas of a database, as queries use them: in turn, only those that follow this primary, and under a demand only with a snapshot that was taken
 * after the replica had said that it replayed enough.
 */
export class ReplicaSet {
  readonly whenBehind: WhenBehind
  readonly #options: ReplicaSetOptions
  readonly #followers: readonly Follower[]
  readonly #positions: WalPositions
  readonly #first: string
  /** Where the primary was at which time, oldest first. */
  #samples: readonly (WalPosition & { readonly at: number })[] = []
  #sampling: Promise<void> | undefined
  #sampleFailures = 0
  /** Not asked before, after it could not be reached. */
  #sampleAt = 0
  #turn = 0

  private constructor(
    options: ReplicaSetOptions,
    { each, whenBehind }: { readonly each: readonly Replica[]; readonly whenBehind: WhenBehind },
  ) {
    this.#options = options
    this.whenBehind = whenBehind
    this.#first = replaySql(quote(options.schema))
    this.#positions = new WalPositions(options.database)
    this.#followers = each.map((replica) => ({
      replica,
      state: 'following',
      error: undefined,
      said: undefined,
      saidAt: Number.NEGATIVE_INFINITY,
      askAt: Number.NEGATIVE_INFINITY,
      failures: 0,
      asking: undefined,
    }))
  }

  /** Undefined where the database has no replicas. */
  static of(options: ReplicaSetOptions): ReplicaSet | undefined {
    return options.database.replicas && new ReplicaSet(options, options.database.replicas)
  }

  get names(): readonly string[] {
    return this.#followers.map(({ replica }) => replica.description)
  }

  /** A WAL position that the primary had no longer than `maxAgeMs` ago. 0: one after everything that is committed by now. */
  async position(maxAgeMs = 0): Promise<string> {
    const last = this.#samples.at(-1)
    if (last && maxAgeMs > 0 && this.#options.clock.now() - last.at < maxAgeMs) return last.wal
    return (await this.#sample()).wal
  }

  /** Runs `work` on a replica, whatever it has replayed; its `lagMs` is how old what it lacks may be. Undefined: none could. */
  async read<T>(work: (client: SqlClient, lagMs: number) => Promise<T>): Promise<{ readonly value: T } | undefined> {
    for (const follower of this.#inTurn()) {
      if (!(await this.#follows(follower))) continue
      try {
        return { value: await work(follower.replica, this.#lagMs(follower) ?? 0) }
      } catch (error) {
        this.#trouble(follower, error)
      }
    }
    return undefined
  }

  /** Runs `work` on a snapshot of a replica that has replayed the log up to `wal`. */
  async snapshot<T>(wal: string, work: (client: SqlClient, lagMs: number) => Promise<T>): Promise<FromReplica<T>> {
    let behind = false
    for (const follower of this.#inTurn()) {
      if (!(await this.#follows(follower))) {
        behind ||= follower.state === 'behind'
        continue
      }
      try {
        const judge = (row: Row) => {
          this.#heard(follower, asReplayPosition(row))
          return follower.state === 'following' && reached(follower, wal)
        }
        const done = await follower.replica.snapshotAfter(this.#first, judge, (client) => work(client, this.#lagMs(follower) ?? 0))
        if (done) return done
        behind ||= this.#isBehind(follower)
      } catch (error) {
        this.#trouble(follower, error)
      }
    }
    return behind ? 'behind' : undefined
  }

  /** Asks each how it is. */
  async statuses(): Promise<readonly ReplicaStatus[]> {
    await this.#refreshSample(0)
    await Promise.all(this.#followers.map((follower) => this.#ask(follower)))
    return this.#followers.map((follower) => ({
      name: follower.replica.description,
      state: follower.state,
      lagMs: follower.state === 'following' ? (this.#lagMs(follower) ?? null) : null,
      behindBytes: this.#behindBytes(follower),
      error: follower.error ?? null,
    }))
  }

  /** Each once, beginning with another one each time. */
  #inTurn(): readonly Follower[] {
    const from = this.#turn++ % this.#followers.length
    return [...this.#followers.slice(from), ...this.#followers.slice(0, from)]
  }

  /** Whether it may be read, as it said of itself within the last second. */
  async #follows(follower: Follower): Promise<boolean> {
    await this.#refreshSample(knownForMs)
    if (this.#options.clock.now() >= follower.askAt) await this.#ask(follower)
    return follower.state === 'following'
  }

  async #ask(follower: Follower): Promise<void> {
    follower.asking ??= this.#askNow(follower).finally(() => {
      follower.asking = undefined
    })
    await follower.asking
  }

  async #askNow(follower: Follower): Promise<void> {
    const { replica } = follower
    try {
      const asking = replica.query(this.#first).catch((error: unknown) => {
        if (!(error instanceof DatabaseError) || !noSchema.has(error.sqlState)) throw error
        return replica.query(replaySql(undefined))
      })
      const { rows } = await this.#inTime(asking, replica.description)
      if (rows[0]) this.#heard(follower, asReplayPosition(rows[0]))
    } catch (error) {
      this.#failed(follower, error)
    }
  }

  /** Takes in what a replica says of itself. */
  #heard(follower: Follower, said: ReplayPosition): void {
    const now = this.#options.clock.now()
    follower.said = said
    follower.saidAt = now
    follower.failures = 0
    const refusal = this.#refusal(said)
    if (refusal !== undefined) this.#enter(follower, 'refused', refusal, now + refusedForMs)
    else if (said.generation === this.#options.generation()) this.#enter(follower, 'following', undefined, now + knownForMs)
    else this.#enter(follower, 'behind', 'it has not replayed the generation that the primary is in', now + knownForMs / 4)
  }

  /** Why it is no replica of this primary. */
  #refusal({ standby, system, timeline }: ReplayPosition): string | undefined {
    if (!standby) return 'it is not in recovery: it was promoted, or never was a replica'
    const primary = this.#samples.at(-1)
    if (!primary) return 'the primary has not been reached yet, so nobody knows whose replica it is'
    if (system !== primary.system) return 'it is a replica of another database cluster'
    if (timeline !== primary.timeline) return `it is on timeline ${timeline}, the primary on ${primary.timeline}`
    return undefined
  }

  #failed(follower: Follower, error: unknown): void {
    const pauseMs = pauseBefore(++follower.failures, backoff)
    this.#enter(follower, 'unreachable', error instanceof Error ? error.message : String(error), this.#options.clock.now() + pauseMs)
  }

  /** What went wrong while it was read: its own trouble, for which another server is asked; anything else is thrown. */
  #trouble(follower: Follower, error: unknown): void {
    if (!isReplicaTrouble(error)) throw error
    const replica = follower.replica.description
    this.#options.log('debug', 'a replica could not answer a query; another server is asked', { replica, error: String(error) })
    // It may be another database that the query lost: the replica is asked before it is read again.
    if (error instanceof DatabaseUnavailableError) follower.askAt = Number.NEGATIVE_INFINITY
  }

  #enter(follower: Follower, state: ReplicaState, error: string | undefined, askAt: number): void {
    const before = follower.state
    follower.state = state
    follower.error = error
    follower.askAt = askAt
    if (before === state || state === 'behind') return
    const replica = follower.replica.description
    if (state === 'following') this.#options.log('info', 'a replica is read from again', { replica })
    else this.#options.log('warn', `a replica is ${state} and not read from`, { replica, error })
  }

  /** Where the primary is is known, and not older than that; or it cannot be reached, and what was last known must do. */
  async #refreshSample(maxAgeMs: number): Promise<void> {
    const { clock } = this.#options
    const now = clock.now()
    if (now < (this.#samples.at(-1)?.at ?? 0) + maxAgeMs) return
    if (!this.#sampling && maxAgeMs > 0 && now < this.#sampleAt) return
    this.#sampling ??= this.#inTime(this.#sample(), 'the primary')
      .then(
        () => {
          this.#sampleFailures = 0
        },
        () => {
          this.#sampleAt = clock.now() + pauseBefore(++this.#sampleFailures, backoff)
        },
      )
      .finally(() => {
        this.#sampling = undefined
      })
    await this.#sampling
  }

  async #sample(): Promise<WalPosition> {
    const at = this.#options.clock.now()
    const position = await this.#positions.now()
    const [before, last] = this.#samples.slice(-2)
    if (last && at < last.at) return position
    // Besides the last one, one a second is enough to tell the age of what a replica lacks.
    const close = last !== undefined && before !== undefined && at - before.at < knownForMs
    this.#samples = [...this.#samples.slice(-samplesMax, close ? -1 : undefined), { ...position, at }]
    return position
  }

  #isBehind({ state }: Follower): boolean {
    return state === 'following' || state === 'behind'
  }

  #lagMs(follower: Follower): number | undefined {
    const { said, saidAt } = follower
    if (said?.replayed == null) return undefined
    const replayed = BigInt(said.replayed)
    const lacking = this.#samples.findIndex(({ wal }) => BigInt(wal) > replayed)
    if (lacking === -1) return 0
    const held = this.#samples[lacking - 1]
    if (held) return Math.max(0, saidAt - held.at)
    return said.sinceCommitMs === null ? undefined : Math.max(0, said.sinceCommitMs)
  }

  #behindBytes({ said, state }: Follower): number | null {
    const primary = this.#samples.at(-1)
    if (state !== 'following' || said?.replayed == null || !primary) return null
    return Math.max(0, Number(BigInt(primary.wal) - BigInt(said.replayed)))
  }

  /** A server that is gone without a word would be waited for as long as the network does. */
  async #inTime<T>(answer: Promise<T>, name: string): Promise<T> {
    const done = new AbortController()
    const late = this.#options.clock.sleep(patienceMs, done.signal).then(() => {
      if (!done.signal.aborted) throw new DatabaseUnavailableError(`${name} did not answer within ${patienceMs} ms`, 'statement')
      return answer
    })
    try {
      return await Promise.race([answer, late])
    } finally {
      done.abort()
    }
  }
}

function reached({ said }: Follower, wal: string): boolean {
  return said?.replayed != null && BigInt(said.replayed) >= BigInt(wal)
}
