import { randomUUID } from 'node:crypto'
import { leaseSeconds } from '../database/lease-seconds.ts'
import { DefinitionError, UsageError } from '../errors.ts'
import { Wake } from '../internal/wake.ts'
import { heldByOthers, hold, look, register, release } from './checkpoint.ts'
import { acceptHead, retryParked, skipParked } from './parked.ts'
import { describe } from './react.ts'
import type { Reaction } from './reaction.ts'
import { ReactionRunner } from './reaction-runner.ts'
import { type ReactionOptions, type ReactionRuntime, reactionTables } from './reaction-runtime.ts'
import { isBusy, type ParkedTask, parkedTasks } from './task.ts'

/** How a reaction is. */
export interface ReactionStatus {
  readonly name: string
  /** `stopped`: a person is needed, see `error`. */
  readonly state: 'live' | 'stopped'
  /** Every event up to here was handed to its handler. */
  readonly position: number
  /** Commands that are due. */
  readonly waiting: number
  /** Commands whose time has not come. */
  readonly delayed: number
  readonly parked: number
  readonly error: string | null
}

const renewMs = 1000
const restMs = 4

/**
 * Runs the reactions of this process. Any number of processes may: each reaction is worked on by one at a time, and should two think that they
 * are the one, events are still handed over once, and commands take effect once. Polling is the truth, waking only a hint.
 */
export class ReactionWorker {
  /** Rings after every step, for those who wait. */
  readonly progress = new Wake()
  readonly #runtime: ReactionRuntime
  readonly #pollIntervalMs: number
  readonly #owner = randomUUID()
  readonly #runners: ReadonlyMap<string, ReactionRunner>
  readonly #work = new Wake()
  readonly #stop = new AbortController()
  #renewedAt = Number.NEGATIVE_INFINITY
  #woken = false
  #loop: Promise<void> | undefined

  constructor(runtime: ReactionRuntime, reactions: Iterable<Reaction>, options: ReactionOptions = {}) {
    this.#runtime = runtime
    this.#pollIntervalMs = options.pollIntervalMs ?? 100
    const complete = { pollIntervalMs: this.#pollIntervalMs, concurrency: 32, attempts: 10, retryMs: 250, ...options }
    const context = { options: complete, owner: this.#owner, stop: this.#stop.signal, onProgress: () => this.progress.ring() }
    const runners = new Map<string, ReactionRunner>()
    for (const reaction of reactions) {
      if (runners.has(reaction.reactionName)) throw new DefinitionError(`two reactions bear the name ${reaction.reactionName}`)
      runners.set(reaction.reactionName, new ReactionRunner(runtime, reaction, context))
    }
    this.#runners = runners
  }

  /** Registers what is new, at the head of the log, and begins. */
  async start(): Promise<void> {
    if (this.#runners.size === 0) return
    await register(this.#runtime, [...this.#runners.keys()])
    this.#loop = this.#run()
  }

  /** There may be new events. */
  wake(): void {
    this.#woken = true
    this.#work.ring()
  }

  /** Ends when the commands under way have ended, and gives the leases back. */
  async stop(): Promise<void> {
    this.#stop.abort()
    this.#work.ring()
    await this.#loop
    await Promise.all([...this.#runners.values()].map((runner) => runner.ended()))
    if (this.#loop) await release(this.#runtime, this.#owner, [...this.#runners.keys()], null).catch(() => {})
  }

  /**
   * Resolves when every event was handed to its handlers and every command that is due was answered or parked. Delayed commands are not waited
   * for, and a stopped reaction neither.
   */
  async settle(): Promise<void> {
    while (!this.#stop.signal.aborted && this.#loop && !(await this.#isSettled())) {
      this.wake()
      await this.progress.wait(this.#runtime.clock, 20, this.#stop.signal)
    }
  }

  async status(): Promise<readonly ReactionStatus[]> {
    const { reaction, task } = reactionTables(this.#runtime)
    const { rows } = await this.#runtime.database.query<ReactionStatus>(
      `select r.name, case when r.error is null then 'live' else 'stopped' end as state, r.position, r.error,
         count(t.id) filter (where t.state = 'waiting' and t.due_at <= clock_timestamp()) as waiting,
         count(t.id) filter (where t.state = 'waiting' and t.due_at > clock_timestamp()) as delayed,
         count(t.id) filter (where t.state = 'parked') as parked
       from ${reaction} r left join ${task} t on t.reaction = r.name
       where r.name = any ($1::text[]) group by r.name order by r.name`,
      [[...this.#runners.keys()]],
    )
    return rows
  }

  /** What was put aside: of one reaction, or of all. */
  async parked(name?: string): Promise<readonly ParkedTask[]> {
    return await parkedTasks(this.#runtime, name === undefined ? [...this.#runners.keys()] : [this.#runner(name).name])
  }

  /** Tries parked commands again, all of a reaction or one by its id; an event whose handler failed is handed to it again. */
  async retry(name: string, id?: string): Promise<void> {
    await retryParked(this.#runtime, this.#runner(name).reaction, id)
    this.wake()
  }

  /** Leaves a parked command out for good; what waits behind it goes on. The reason stays on record. */
  async skip(name: string, id: string, reason: string): Promise<void> {
    await skipParked(this.#runtime, this.#runner(name).name, id, reason)
    this.wake()
  }

  /** Starts a stopped reaction again where it stopped. */
  resume(name: string): void {
    this.#runner(name).resume()
    this.wake()
  }

  /** Lets a reaction that stopped over a log that is not the one it knew go on from the end of this one. What lies between is not reacted to. */
  async accept(name: string): Promise<void> {
    await acceptHead(this.#runtime, this.#runner(name).name)
    this.resume(name)
  }

  #runner(name: string): ReactionRunner {
    const found = this.#runners.get(name)
    if (!found)
      throw new UsageError(
        `there is no reaction named ${JSON.stringify(name)}; there is: ${[...this.#runners.keys()].join(', ') || 'none'}`,
      )
    return found
  }

  async #run(): Promise<void> {
    const { clock, log } = this.#runtime
    while (!this.#stop.signal.aborted) {
      let pause = this.#pollIntervalMs
      this.#woken = false
      try {
        const beganAt = clock.now()
        await this.#look()
        // Many commands behind a parked one make a look expensive; it must not become all that is done.
        pause = Math.max(pause, 3 * (clock.now() - beganAt))
      } catch (error) {
        pause = Math.max(pause, 1000)
        for (const runner of this.#runners.values()) runner.lose()
        this.#renewedAt = Number.NEGATIVE_INFINITY
        if (!this.#stop.signal.aborted) log('warn', `cannot look for events to react to: ${describe(error)}`, { tryAgainMs: pause })
      }
      // Every append of this process wakes it: looking once for some of them is enough.
      await clock.sleep(restMs, this.#stop.signal)
      if (!this.#stop.signal.aborted && !this.#woken) await this.#work.wait(clock, pause, this.#stop.signal)
    }
  }

  async #look(): Promise<void> {
    const { clock, eventLog } = this.#runtime
    const now = clock.now()
    const renew = now - this.#renewedAt >= renewMs
    if (renew) await this.#lookAtLeft()
    const names = [...this.#runners.values()].filter(({ stopped, isLeft }) => !stopped && !isLeft).map(({ name }) => name)
    if (names.length === 0) return
    const held = renew ? await hold(this.#runtime, this.#owner, names) : await look(this.#runtime, this.#owner, names)
    if (renew) this.#renewedAt = now
    const head = (await eventLog.head()).position
    for (const name of names) {
      const found = held.find((one) => one.name === name)
      if (found) this.#runners.get(name)?.see(found, head, renew ? now + leaseSeconds * 1000 : undefined)
      else this.#runners.get(name)?.lose()
    }
  }

  async #lookAtLeft(): Promise<void> {
    const left = [...this.#runners.values()].filter(({ isLeft }) => isLeft)
    if (left.length === 0) return
    const held = await heldByOthers(
      this.#runtime,
      this.#owner,
      left.map(({ name }) => name),
    )
    for (const runner of left) runner.seeLeft(held.has(runner.name))
  }

  /**
   * No task, then no event to handle, and no checkpoint moved in between: then there was nothing at that moment. Looked up in the database,
   * because another process may be at work.
   */
  async #isSettled(): Promise<boolean> {
    const running = [...this.#runners.values()].filter(({ stopped }) => !stopped)
    const names = running.map(({ name }) => name)
    const before = await this.#positions(names)
    if (await isBusy(this.#runtime, names)) return false
    for (const { name, reaction } of running) {
      const { types } = reaction['~reaction']
      if (types.length === 0) continue
      const left = await this.#runtime.eventLog.read({ after: before.get(name) ?? 0, limit: 1, types })
      if (left.length > 0) return false
    }
    const after = await this.#positions(names)
    return names.every((name) => before.get(name) === after.get(name))
  }

  async #positions(names: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const { rows } = await this.#runtime.database.query<{ name: string; position: number }>(
      `select name, position from ${reactionTables(this.#runtime).reaction} where name = any ($1::text[])`,
      [names],
    )
    return new Map(rows.map(({ name, position }) => [name, position]))
  }
}
