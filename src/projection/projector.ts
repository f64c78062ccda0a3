import type { Transaction } from '../database/database.ts'
import { LogMismatchError } from '../errors.ts'
import { Wake } from '../internal/wake.ts'
import { logOn } from '../log/log-on.ts'
import type { Event } from '../message/event.ts'
import { databaseStore } from '../read-model/database-store.ts'
import type { Checkpoint, Partitions, Store, StoredModel } from '../read-model/store.ts'
import { Cadence } from './cadence.ts'
import { checkOrigin, checkWitness } from './checkpoint-witness.ts'
import { contiguous } from './contiguous.ts'
import type { Feed, Subscriber } from './feed.ts'
import type { Folding } from './fold.ts'
import { handleRequests, type KeyRequest, refreshSkipped } from './key-request.ts'
import { level } from './level.ts'
import { lockLog } from './lock-log.ts'
import { LostError, StopError } from './projector-end.ts'
import { ReadAhead } from './read-ahead.ts'
import { type ProjectionRuntime, type ProjectionVersion, storedModel } from './registry.ts'
import { storedStandings } from './stored-standings.ts'
import { WorkingSet } from './working-set.ts'

export interface ProjectorOptions {
  readonly runtime: ProjectionRuntime
  readonly version: ProjectionVersion
  /** Whether it is being built: then nobody waits for its rows. */
  readonly building: () => boolean
  readonly folding: Folding
  readonly store: Store
  readonly partitions: Partitions
  readonly feed: Feed
  readonly pollIntervalMs: number
  /** Events that a person took out, as {@link skipId}. Grows with `skip` requests. */
  readonly skipped: Set<string>
  /** Whether rows of a first batch that broke off may be in a store that stands at nothing. */
  readonly mayHoldRows: boolean
  /** Something was written, or the head was reached. */
  readonly onProgress: () => void
  /** The store has nothing of the version: it is new, or was emptied. */
  readonly onMissing: () => Promise<void>
}

const inboxMax = 5000
const lookMs = 1000
/** A sync projection that lacks no more than this is brought to the head under the log's lock. */
const closeMax = 500

/**
 * Folds one range of partitions of one version: from where its checkpoint is to the head, and then as events come. Behind, it reads for itself, the
 * next chunk while it folds this one, and writes seldom; at the head it takes from the feed and writes each time. One batch is written while
 * the next is folded. It ends when it is told to, when somebody else moved the checkpoint, or with an error; whoever runs it begins another.
 */
export class Projector implements Subscriber {
  readonly #options: ProjectorOptions
  readonly #model: StoredModel
  readonly #bell = new Wake()
  readonly #reading: ReadAhead
  readonly #cadence: Cadence
  #set: WorkingSet
  #stored: Checkpoint | null = null
  /** Where it stood before a transaction that has not committed yet. */
  #before: number | undefined
  #inbox: (readonly Event[])[] = []
  #waiting = 0
  /** Up to where the feed gave events, while this one takes from it. */
  #joined: number | undefined
  #overflow = false
  #writing: Promise<void> | undefined
  /** When to look whether rows and log are still those that it remembers. */
  #lookAt = 0
  #requests: readonly KeyRequest[] = []
  #rung = false
  /** Whether it has been at the head since it began. */
  atHead = false

  constructor(options: ProjectorOptions) {
    this.#options = options
    this.#reading = new ReadAhead(options.runtime.eventLog)
    this.#cadence = new Cadence(() => options.runtime.clock.now(), options.building)
    this.#model = storedModel(options.runtime.schema, options.version)
    this.#set = this.#emptySet(null)
  }

  /** Events that the feed gave and that are not folded. */
  get waiting(): number {
    return this.#waiting
  }

  /** Up to where its rows are stored. */
  get position(): number {
    return this.#before ?? this.#stored?.position ?? 0
  }

  /** The checkpoint as it is stored. */
  get stored(): Checkpoint | null {
    return this.#stored
  }

  offer(events: readonly Event[]): void {
    if (this.#joined === undefined) return
    this.#inbox.push(events)
    this.#waiting += events.length
    if (this.#waiting > inboxMax) {
      // Too slow for the others: it reads for itself from where it is, until it has caught up.
      this.#overflow = true
      this.#leave()
    }
    this.#ring()
  }

  /** There may be something to do. */
  wake(): void {
    this.#ring()
  }

  /** The log is not as long as it was: what is remembered has to be looked at before it goes on. */
  doubt(): void {
    this.#lookAt = 0
    this.#ring()
  }

  /** What was asked for keys of its range; done between two batches. */
  request(requests: readonly KeyRequest[]): void {
    this.#requests = requests
    this.#ring()
  }

  /**
   * @throws {LostError}
   * @throws {StopError}
   */
  async run(signal: AbortSignal): Promise<void> {
    try {
      await this.#begin()
      if (this.#options.folding.sync) await this.#runSync(signal)
      else await this.#runAsync(signal)
      await this.#flush()
      await this.#writing
    } finally {
      this.#leave()
      await this.#writing?.catch(() => undefined)
    }
  }

  async #runAsync(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options.runtime
    while (!signal.aborted) {
      await this.#handleRequests()
      const events = await this.#next()
      if (events.length > 0) {
        await this.#fold(events)
        if (this.#joined !== undefined || this.#cadence.isDue(this.#set)) await this.#flush()
        continue
      }
      await this.#flush()
      await this.#writing
      this.atHead = true
      this.#cadence.begin()
      this.#options.onProgress()
      if (!this.#rung && this.#waiting === 0 && !signal.aborted) await this.#bell.wait(clock, 1000, signal)
      this.#rung = false
      await this.#checkStore()
    }
  }

  /** A store elsewhere may be emptied, or come back from an older copy of itself, while nothing is written to it: it is looked at once a second. */
  async #checkStore(): Promise<void> {
    const { runtime, version } = this.#options
    if (runtime.clock.now() < this.#lookAt) return
    this.#lookAt = version.store === null ? Number.POSITIVE_INFINITY : runtime.clock.now() + lookMs
    await this.#checkPlace()
  }

  /**
   * Whether rows and log are still those that it remembers.
   * @throws {LostError}
   * @throws {LogMismatchError}
   */
  async #checkPlace(): Promise<void> {
    const { store } = this.#options
    const [found, ...others] = await storedStandings(store, this.#model, this.#options.partitions)
    const { position, eventId } = found?.checkpoint ?? {}
    if (others.length > 0 || position !== this.#stored?.position || eventId !== this.#stored?.eventId)
      throw new LostError(`${this.#model.name}: ${store.description} is not where it was left`)
    await this.#checkLog()
  }

  /**
   * A store elsewhere does not go back with the log when that is restored, maybe while this process runs: the event that its checkpoint stands on must
   * be in the log that the next batch was read from.
   * @throws {LogMismatchError}
   */
  async #checkLog(): Promise<void> {
    const { runtime, version } = this.#options
    if (version.store !== null) await checkWitness(runtime.eventLog, version.name, this.#stored)
  }

  /** Its checkpoint moves with appends while it stands at the head; when it does not, it is brought there. */
  async #runSync(signal: AbortSignal): Promise<void> {
    const { runtime, store, pollIntervalMs } = this.#options
    while (!signal.aborted) {
      this.#rung = false
      await this.#handleRequests()
      const head = await runtime.eventLog.head()
      const { checkpoint } = await store.load(this.#model, [])
      if ((checkpoint?.position ?? 0) < head.position) {
        this.#startFrom(checkpoint)
        await checkWitness(runtime.eventLog, this.#model.name, checkpoint)
        await this.#catchUp(signal)
      } else {
        this.#stored = checkpoint
        this.atHead = true
        this.#options.onProgress()
      }
      if (!this.#rung && !signal.aborted) await this.#bell.wait(runtime.clock, pollIntervalMs, signal)
    }
  }

  async #catchUp(signal: AbortSignal): Promise<void> {
    const { runtime } = this.#options
    while (!signal.aborted) {
      const head = await runtime.eventLog.head()
      if (head.position - this.#set.reached.position <= closeMax) {
        await this.#flush()
        await this.#writing
        this.#before = this.position
        const { closed, stop } = await runtime.database.transaction((transaction) => this.#close(transaction))
        this.#before = undefined
        if (stop) throw new StopError(stop)
        if (closed) break
      }
      const events = await this.#reading.read(this.#set.reached.position)
      await this.#fold(events)
      if (this.#cadence.isDue(this.#set)) await this.#flush()
    }
    this.#options.onProgress()
  }

  /** The last events, under the log's lock: nobody appends until the checkpoint stands at the head, so that the next append finds it there. */
  async #close(transaction: Transaction): Promise<{ readonly closed: boolean; readonly stop?: Error | undefined }> {
    const { runtime } = this.#options
    await lockLog(transaction, runtime.schema)
    const events = await logOn(transaction, runtime.schema).read({ after: this.#set.reached.position, limit: closeMax + 1 })
    if (events.length > closeMax) return { closed: false }
    const store = databaseStore(transaction, runtime.schema, { home: true })
    const stop = events.length > 0 ? await this.#foldOn(events, store) : undefined
    await this.#apply(store)
    this.atHead = stop === undefined
    return { closed: true, stop }
  }

  async #begin(): Promise<void> {
    const { runtime, store, version, partitions } = this.#options
    await refreshSkipped(runtime.database, runtime.schema, new Map([[version.id, this.#options.skipped]]))
    const standings = await storedStandings(store, this.#model, partitions)
    const [first] = standings
    // Whether it was built is known in the database: it may have been since this range was taken.
    if (standings.length === 1 && !first?.checkpoint) await this.#options.onMissing()
    for (const { checkpoint } of standings) await checkOrigin(runtime.eventLog, { version, store, model: this.#model }, checkpoint)
    this.#startFrom(standings.length === 1 ? (first?.checkpoint ?? null) : await level(this.#place(), standings))
  }

  #place() {
    const { runtime, store, folding, skipped, mayHoldRows, version } = this.#options
    const { eventLog, clock } = runtime
    return { name: version.name, eventLog, store, model: this.#model, folding, skipped, mayHoldRows, now: () => clock.now() }
  }

  #startFrom(checkpoint: Checkpoint | null): void {
    this.#stored = checkpoint
    this.#set = this.#emptySet(checkpoint)
    this.#reading.clear()
    this.#cadence.begin()
  }

  #emptySet(checkpoint: Checkpoint | null): WorkingSet {
    const { folding, partitions, skipped, mayHoldRows, version } = this.#options
    const cacheRows = this.#options.building() ? 100_000 : 20_000
    return new WorkingSet({
      folding,
      model: storedModel(this.#options.runtime.schema, version),
      partitions,
      skipped,
      checkpoint,
      mayHoldRows,
      now: () => this.#options.runtime.clock.now(),
      cacheRows,
    })
  }

  /** The next events: of the feed, or its own reading. None: it is at the head. */
  async #next(): Promise<readonly Event[]> {
    if (this.#overflow) {
      this.#overflow = false
      this.#inbox = []
      this.#waiting = 0
    }
    if (this.#joined !== undefined) return await this.#fromInbox(this.#joined)
    const events = await this.#reading.read(this.#set.reached.position)
    if (events.length === 0) {
      this.#joined = this.#options.feed.join(this, this.#set.reached.position)
      if (this.#joined === undefined) this.#ring()
    }
    return events
  }

  /** The feed may have been behind when this one joined: what it gives again is passed over, but has to be in order too. */
  async #fromInbox(from: number): Promise<readonly Event[]> {
    if (this.#inbox.length === 0) return []
    const events = this.#inbox.length === 1 ? (this.#inbox[0] ?? []) : this.#inbox.flat()
    const full = this.#waiting > inboxMax / 4
    this.#inbox = []
    this.#waiting = 0
    if (full) this.#options.feed.wake()
    const { position } = this.#set.reached
    if (from === position) {
      this.#joined = events.at(-1)?.position ?? from
      return events
    }
    const { good, fault } = contiguous(this.#options.version.name, from, events)
    if (fault) throw new StopError(fault)
    this.#joined = from + good.length
    return good.filter((event) => event.position > position)
  }

  #leave(): void {
    if (this.#joined !== undefined) this.#options.feed.leave(this)
    this.#joined = undefined
  }

  async #fold(events: readonly Event[]): Promise<void> {
    const stop = await this.#foldOn(events, this.#options.store)
    if (!stop) return
    await this.#flush()
    await this.#writing
    // The rows that it remembers may be gone together with the log that they were folded from: then it begins anew, from what is there now.
    if (stop instanceof LogMismatchError) await this.#checkPlace()
    throw new StopError(stop)
  }

  async #foldOn(events: readonly Event[], store: Store): Promise<Error | undefined> {
    const { good, fault } = contiguous(this.#options.version.name, this.#set.reached.position, events)
    return (await this.#set.fold(good, store, () => this.#writing ?? Promise.resolve())) ?? fault
  }

  /** Begins to write what was folded, after the batch before it is written. */
  async #flush(): Promise<void> {
    await this.#writing
    const { position } = this.#set.reached
    if (this.#stored && position === this.#stored.position && this.#set.changed === 0) return
    const writing = this.#apply(this.#options.store)
    // Its failure is thrown to whoever waits for it next.
    writing.catch(() => undefined)
    this.#writing = writing
  }

  async #apply(store: Store): Promise<void> {
    this.#cadence.written()
    if (this.#stored && this.#set.reached.position === this.#stored.position && this.#set.changed === 0) return
    const batch = this.#set.take(this.#stored)
    await this.#checkLog()
    const outcome = await store.apply(this.#model, batch)
    if (outcome === 'lost') throw new LostError(`${this.#model.name}: another process moved its checkpoint`)
    // What was folded on rows that the store does not have counts nothing: it begins again with what is there.
    if (outcome === 'parked') throw new LostError(`${this.#model.name}: ${store.description} cannot hold some rows; their keys are parked`)
    this.#set.written()
    this.#stored = batch.to
    if (batch.park.length > 0) {
      const [first] = batch.park
      this.#options.runtime.log('error', `${this.#model.name}: parked ${batch.park.length === 1 ? 'a key' : `${batch.park.length} keys`}`, {
        key: first?.key,
        position: first?.position,
        reason: first?.reason,
      })
    }
    this.#options.onProgress()
  }

  async #handleRequests(): Promise<void> {
    if (this.#requests.length === 0) return
    const requests = this.#requests
    this.#requests = []
    await this.#flush()
    await this.#writing
    const { checkpoint } = this.#options.folding.sync ? await this.#options.store.load(this.#model, []) : { checkpoint: this.#stored }
    if (!checkpoint) return
    const keys = await handleRequests({ ...this.#options, model: this.#model, checkpoint }, requests)
    this.#set.forget(keys)
  }

  #ring(): void {
    this.#rung = true
    this.#bell.ring()
  }
}
