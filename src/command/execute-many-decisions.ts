import type { CommandRuntime } from './command-runtime.ts'
import { carryOut, type DecisionJob, inTurn, prepareDecision } from './execute-decision.ts'
import { failedAt } from './failed-at.ts'
import type { DecidingCommand } from './judge.ts'
import type { ManyExecuted, ManyOptions } from './many-executed.ts'

const underWayDefault = 256
const progressEvery = 500

/**
 * The bulk door for commands of aggregates: many under way at once, so that they share appends, those on one stream in order. Each is committed on its
 * own. The first refusal or failure stops it: nothing new begins, what is under way ends, and the error of the lowest input that failed is thrown.
 * `details.index` is that input, all before it are committed (`details.executed` of them), and `details.done` names those after it that are, too:
 * leave them out when you start again.
 */
export async function executeManyDecisions(
  runtime: CommandRuntime,
  definition: DecidingCommand,
  inputs: Iterable<unknown>,
  { batchSize = underWayDefault, onProgress }: ManyOptions,
): Promise<ManyExecuted> {
  const run = new Run(onProgress)
  const most = Math.max(1, batchSize)
  let index = 0
  let next: unknown[] = []
  const begin = async () => {
    // All are prepared before the first of them begins: so they begin in order, and meet in one append.
    const jobs = await Promise.all(
      next.map((input, i) => prepareDecision(runtime, definition, input, {}).catch((error: unknown) => run.fail(index + i, error))),
    )
    for (const [i, job] of jobs.entries()) {
      if (!job) break
      run.begin(index + i, job)
    }
    index += jobs.length
    next = []
  }
  for (const input of inputs) {
    next.push(input)
    if (run.underWay + next.length < most) continue
    await begin()
    while (run.underWay > most / 2) await run.oneEnded()
    if (run.failed) break
  }
  if (!run.failed) await begin()
  await run.allEnded()
  const { failed, executed, position } = run
  if (!failed) {
    onProgress?.(executed)
    return { executed, writes: [], position }
  }
  const after = run.doneAfter(failed.index)
  const committed = `inputs committed: all ${failed.index} before it${after.length ? ` and ${after.length} after it` : ''}`
  throw failedAt(definition.commandName, `input ${failed.index}`, committed, failed.error, {
    index: failed.index,
    executed: failed.index,
    done: after,
  })
}

/** What is under way, done and failed in one call. */
class Run {
  executed = 0
  position: number | undefined
  failed: { readonly index: number; readonly error: unknown } | undefined
  readonly #onProgress: ManyOptions['onProgress']
  /** All inputs before this one are done, and of those after it these. */
  #before = 0
  readonly #ahead = new Set<number>()
  readonly #underWay = new Set<Promise<void>>()
  #ended = () => {}

  constructor(onProgress: ManyOptions['onProgress']) {
    this.#onProgress = onProgress
  }

  get underWay(): number {
    return this.#underWay.size
  }

  begin(index: number, job: DecisionJob): void {
    const work = inTurn(job, () => this.#carryOut(index, job)).finally(() => {
      this.#underWay.delete(work)
      this.#ended()
    })
    this.#underWay.add(work)
  }

  /** Keeps the failure of the lowest index. */
  fail(index: number, error: unknown): undefined {
    if (!this.failed || index < this.failed.index) this.failed = { index, error }
  }

  /** Inputs after `index` that are done, in order. */
  doneAfter(index: number): readonly number[] {
    return [...this.#ahead].filter((at) => at > index).sort((a, b) => a - b)
  }

  /** Resolves when the next one ends. (A race over all of them would cost as many handlers each time.) */
  oneEnded(): Promise<void> {
    return new Promise((resolve) => {
      this.#ended = resolve
    })
  }

  async allEnded(): Promise<void> {
    await Promise.all(this.#underWay)
  }

  /** Never rejects: a failure is noted while the stream's turn lasts, so that no later command on the stream goes ahead of it. */
  async #carryOut(index: number, job: DecisionJob): Promise<void> {
    // Those before the failed one are carried out, so that what is committed is easily told.
    if (this.failed && index > this.failed.index) return
    try {
      const { position } = await carryOut(job)
      if (position !== undefined && position > (this.position ?? 0)) this.position = position
      this.#ahead.add(index)
      while (this.#ahead.delete(this.#before)) this.#before++
      if (++this.executed % progressEvery === 0) this.#onProgress?.(this.executed)
    } catch (error) {
      this.fail(index, error)
    }
  }
}
