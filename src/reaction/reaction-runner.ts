import { leaseSeconds } from '../database/lease-seconds.ts'
import { isHeadwaterError, LogMismatchError, Rejection } from '../errors.ts'
import { pauseBefore } from '../internal/retry.ts'
import type { Event } from '../message/event.ts'
import { advance, type Held, type ReactionCheckpoint, release } from './checkpoint.ts'
import { describe, type Handled, handle } from './react.ts'
import type { Reaction } from './reaction.ts'
import type { ReactionOptions, ReactionRuntime } from './reaction-runtime.ts'
import { dueTasks, recordOutcomes, type Task, type TaskOutcome } from './task.ts'

const batchSize = 500
const tasksAtOnce = 256
/** What this process does not know another may: one of a newer release made the task. */
const unknown = new Set(['invalid_input', 'unknown_command'])
/** Trying again cannot help: the command, or what it is given, has to change. */
const hopeless = new Set([...unknown, 'idempotency_key_reused'])
/** How long nobody must want a reaction that was left to others before it is taken up again: all have looked by then. */
const vainMs = leaseSeconds * 1000 + 1000
/** How long it then holds that there are no others. */
const aloneMs = 60_000
/** Says nothing about the command: these tries do not count. */
const outages = new Set(['database_unavailable', 'outcome_unknown'])

/** Works on one reaction while this process holds its lease: turns events into tasks, carries tasks out, writes what became of them. */
export class ReactionRunner {
  readonly reaction: Reaction
  readonly #runtime: ReactionRuntime
  readonly #options: Required<ReactionOptions>
  readonly #owner: string
  readonly #onProgress: () => void
  readonly #stop: AbortSignal
  #checkpoint: ReactionCheckpoint | undefined
  /** Where to begin, until the log was looked at there. */
  #begin: ReactionCheckpoint | undefined
  #leaseUntil = 0
  #head = 0
  #readTo = -1
  #due = false
  /** Since when it is left to others and none of them has it. */
  #leftAt: number | undefined
  #aloneUntil = 0
  /** Tasks of events after this one are of this process's own making. */
  #takenAt = 0
  /** Why a person is needed. */
  #stopped: Error | undefined
  /** Keys under way, and those whose outcomes are not written yet. */
  readonly #busy = new Map<string, Promise<void>>()
  readonly #finished = new Set<string>()
  #outcomes: TaskOutcome[] = []
  #failures = 0
  #wanted = false
  #working: Promise<void> | undefined

  constructor(
    runtime: ReactionRuntime,
    reaction: Reaction,
    context: {
      readonly options: Required<ReactionOptions>
      readonly owner: string
      readonly stop: AbortSignal
      readonly onProgress: () => void
    },
  ) {
    this.#runtime = runtime
    this.reaction = reaction
    this.#options = context.options
    this.#owner = context.owner
    this.#stop = context.stop
    this.#onProgress = context.onProgress
  }

  get name(): string {
    return this.reaction.reactionName
  }

  get stopped(): Error | undefined {
    return this.#stopped
  }

  /** Whether it is left to others, who may know what this process does not. */
  get isLeft(): boolean {
    return this.#leftAt !== undefined
  }

  /** What came of leaving it: another process has it, or nobody wants it, and it is taken up again. */
  seeLeft(isHeld: boolean): void {
    const now = this.#runtime.clock.now()
    if (isHeld) this.#leftAt = now
    if (now - (this.#leftAt ?? now) < vainMs) return
    this.#leftAt = undefined
    this.#aloneUntil = now + aloneMs
  }

  resume(): void {
    this.#stopped = undefined
    this.#leftAt = undefined
    this.lose()
  }

  /** What the last look at the database told. `leaseUntil` is by this process's clock, and counted from before the look. */
  see(held: Held, head: number, leaseUntil: number | undefined): void {
    if (this.#stopped) return
    if (leaseUntil !== undefined) this.#leaseUntil = leaseUntil
    const isNew = this.#checkpoint === undefined
    // After a loss it may be another log, and a shorter one.
    this.#head = isNew ? head : Math.max(this.#head, head)
    this.#due ||= held.due
    if (isNew) this.#readTo = -1
    if (isNew || this.#head > this.#readTo || this.#due) this.#kick(isNew ? held : undefined)
  }

  /** The lease is another's, or the connection broke: what is known of the checkpoint may be old. */
  lose(): void {
    this.#checkpoint = undefined
    this.#leaseUntil = 0
  }

  /** Resolves when nothing of it runs any more. */
  async ended(): Promise<void> {
    await Promise.allSettled([...this.#busy.values()])
    await this.#working
    await this.#flush().catch(() => {})
  }

  #kick(begin?: ReactionCheckpoint): void {
    if (begin) this.#begin = { position: begin.position, eventId: begin.eventId }
    this.#wanted = true
    this.#working ??= this.#work().finally(() => {
      this.#working = undefined
      if (this.#wanted && !this.#stop.aborted) this.#kick()
    })
  }

  async #work(): Promise<void> {
    while (this.#wanted && !this.#stop.aborted) {
      this.#wanted = false
      try {
        await this.#pass()
        this.#failures = 0
      } catch (error) {
        await this.#survive(error)
      }
    }
  }

  async #pass(): Promise<void> {
    await this.#flush()
    if (this.#begin && !this.#checkpoint) await this.#take(this.#begin)
    if (!this.#isHeld()) return
    if (this.#head > this.#readTo) await this.#handleEvents()
    if (this.#due && this.#isHeld()) await this.#startTasks()
  }

  /** A lease that ran out while this process stood still is not waited for: another works on the reaction by now. */
  #isHeld(): boolean {
    return this.#checkpoint !== undefined && this.#runtime.clock.now() < this.#leaseUntil
  }

  /** Begins at a checkpoint, if the log is still the one it was made over. */
  async #take(checkpoint: ReactionCheckpoint): Promise<void> {
    this.#begin = undefined
    const { position, eventId } = checkpoint
    if (position > 0) {
      const [event] = await this.#runtime.eventLog.read({ after: position - 1, limit: 1 })
      if (event?.position !== position || event.id !== eventId) {
        throw new LogMismatchError(
          `reaction ${this.name}: the log does not hold event ${eventId} at position ${position}, up to which it has reacted; the database was restored or replaced: accept() lets it go on from the end of the log as it is now`,
          { reaction: this.name, position, eventId, found: event?.id ?? null },
        )
      }
    }
    this.#checkpoint = checkpoint
    this.#takenAt = position
    this.#due = true
  }

  async #handleEvents(): Promise<void> {
    const { types, afterMs } = this.reaction['~reaction']
    const [from, head] = [this.#checkpoint, this.#head]
    if (!from) return
    const events = types.length === 0 ? [] : await this.#runtime.eventLog.read({ after: from.position, limit: batchSize, types })
    const { handled, failed } = this.#handled(events)
    const last = failed ? handled.at(-1)?.event : events.at(-1)
    if (last) {
      const to = { position: last.position, eventId: last.id }
      const tasks = handled.flatMap(({ event, result }) => (result ? [{ event, handled: result }] : []))
      if (!(await advance(this.#runtime, { name: this.name, afterMs }, from, to, tasks))) return this.lose()
      this.#checkpoint = to
      this.#due ||= tasks.length > 0
      this.#onProgress()
    }
    if (failed) throw failed.error
    if (events.length < batchSize) this.#readTo = Math.max(head, last?.position ?? 0)
    else this.#wanted = true
  }

  /** What the events ask for, up to the first that needs a person. */
  #handled(events: readonly Event[]): {
    readonly handled: readonly { readonly event: Event; readonly result: Handled | undefined }[]
    readonly failed: { readonly error: unknown } | undefined
  } {
    const handled: { event: Event; result: Handled | undefined }[] = []
    for (const event of events) {
      try {
        const result = handle(this.reaction, event)
        if (result && 'error' in result.outcome) {
          this.#runtime.log('error', `reaction ${this.name}: parked the event at position ${event.position}: ${result.outcome.error}`)
        }
        handled.push({ event, result })
      } catch (error) {
        return { handled, failed: { error } }
      }
    }
    return { handled, failed: undefined }
  }

  async #startTasks(): Promise<void> {
    const free = this.#options.concurrency - this.#busy.size
    if (free <= 0) return
    this.#due = false
    const tasks = await dueTasks(this.#runtime, this.name, [...this.#busy.keys()], tasksAtOnce)
    const byKey = new Map<string, Task[]>()
    for (const task of tasks) byKey.set(task.key, [...(byKey.get(task.key) ?? []), task])
    for (const [key, run] of [...byKey].slice(0, free)) this.#busy.set(key, this.#runKey(key, run))
    // Keys beyond the free places are looked up again when one is free.
    if (byKey.size > free || tasks.length === tasksAtOnce) this.#due = true
  }

  /** Carries out tasks of one key, in order, up to the first that has no answer. Never rejects. */
  async #runKey(key: string, tasks: readonly Task[]): Promise<void> {
    for (const task of tasks) {
      if (this.#stop.aborted || !this.#isHeld()) break
      const outcome = await this.#try(task)
      if (outcome) this.#outcomes.push(outcome)
      if (outcome?.kind !== 'answered') break
    }
    this.#finished.add(key)
    this.#due = true
    this.#kick()
  }

  async #try(task: Task): Promise<TaskOutcome | undefined> {
    const { id, command, input, eventId: causationId, correlationId } = task
    try {
      await this.#runtime.send({ command, input }, { idempotencyKey: id, causationId, correlationId })
      return { id, kind: 'answered' }
    } catch (error) {
      if (isRefusal(error)) return { id, kind: 'answered' }
      return await this.#failed(task, error)
    }
  }

  async #failed({ id, command, attempts, position }: Task, error: unknown): Promise<TaskOutcome | undefined> {
    const { log, clock } = this.#runtime
    const said = describe(error)
    const code = isHeadwaterError(error) ? error.code : ''
    // The application is being stopped under it: that says nothing about the command either.
    if (this.#stop.aborted) return undefined
    if (outages.has(code)) {
      log('warn', `reaction ${this.name}: ${command}: ${said}`, { task: id })
      await clock.sleep(pauseBefore(1, { baseMs: 500, maxMs: 500 }), this.#stop)
      return undefined
    }
    if (unknown.has(code) && position <= this.#takenAt && clock.now() >= this.#aloneUntil) {
      await this.#leave(id, `${command}: ${said}`)
      return undefined
    }
    const tries = attempts + 1
    if (hopeless.has(code) || tries >= this.#options.attempts) {
      log('error', `reaction ${this.name}: parked ${command} after ${tries === 1 ? 'one try' : `${tries} tries`}: ${said}`, { task: id })
      return { id, kind: 'parked', error: said }
    }
    const pauseMs = pauseBefore(tries, { baseMs: this.#options.retryMs, maxMs: 60_000 })
    log('warn', `reaction ${this.name}: ${command}: ${said}`, { task: id, tryAgainMs: pauseMs })
    return { id, kind: 'failed', error: said, pauseMs }
  }

  /** A release that does not know a command, or what it takes, works beside one that does: that one is to have the reaction. */
  async #leave(task: string, said: string): Promise<void> {
    const { log, clock } = this.#runtime
    if (!this.#isHeld()) return
    this.#leftAt = clock.now()
    this.lose()
    log('warn', `reaction ${this.name}: ${said}; it is left to other processes, if there are any`, { task })
    // Otherwise it runs out.
    await release(this.#runtime, this.#owner, [this.name], null).catch(() => {})
  }

  /** Writes the outcomes so far. A key is free again only when its outcomes are written: its tasks would be found again until then. */
  async #flush(): Promise<void> {
    const finished = [...this.#finished]
    const outcomes = this.#outcomes.splice(0)
    if (outcomes.length > 0) {
      try {
        await recordOutcomes(this.#runtime, outcomes)
      } catch (error) {
        this.#outcomes.unshift(...outcomes)
        throw error
      }
      this.#onProgress()
    }
    for (const key of finished) {
      this.#finished.delete(key)
      this.#busy.delete(key)
    }
  }

  /** An event that this code cannot read, a key that cannot be told, another log: a person is needed. Everything else is tried again. */
  async #survive(error: unknown): Promise<void> {
    const { log, clock } = this.#runtime
    const code = isHeadwaterError(error) ? error.code : ''
    if (code === 'unknown_event' || code === 'handler' || code === 'log_mismatch') {
      this.#stopped = error as Error
      this.lose()
      log('error', `reaction ${this.name} stopped: ${(error as Error).message}`)
      // Another process may know better: it must not wait for this lease.
      await release(this.#runtime, this.#owner, [this.name], (error as Error).message).catch(() => {})
      this.#onProgress()
      return
    }
    this.lose()
    const pause = pauseBefore(++this.#failures, { baseMs: 100, maxMs: 10_000 })
    if (!this.#stop.aborted) log('warn', `reaction ${this.name}: ${describe(error)}`, { tryAgainMs: pause })
    await clock.sleep(pause, this.#stop)
  }
}

/** A refusal by the application, also from another copy of this library. */
function isRefusal(error: unknown): boolean {
  return error instanceof Rejection || (isHeadwaterError(error) && error.name === Rejection.name)
}
