import { UsageError } from '../errors.ts'

/** What {@link Life.start} hands to its work, so that it notices that it is in vain. */
export interface Starting {
  /** Aborted when `stop()` is called. */
  readonly signal: AbortSignal
  /** @throws {UsageError} `stop()` was called meanwhile */
  readonly goOn: () => void
}

/** Where an application is in its life, from new over started to stopped, and what is under way in it. It is started once, and stopped once. */
export class Life {
  readonly #stop = new AbortController()
  #underWay = 0
  #onIdle: (() => void) | undefined
  #state: 'new' | 'starting' | 'started' | 'stopped' = 'new'
  #starting: Promise<void> | undefined
  #stopping: Promise<void> | undefined

  /** Calls are let in from here on. A start that fails later leaves that to `stop()`. */
  opened(): void {
    if (this.#state === 'starting') this.#state = 'started'
  }

  /**
   * Starts. When `stop()` is called meanwhile, that waits for `work` to notice.
   * @throws {UsageError} it was started or stopped before, or is stopped before it has started
   */
  async start(work: (starting: Starting) => Promise<void>): Promise<void> {
    if (this.#state !== 'new') throw new UsageError(`start() was called when the application was ${this.#state}`)
    this.#state = 'starting'
    const { signal } = this.#stop
    const goOn = () => {
      if (signal.aborted) throw new UsageError('start(): the application was stopped before it had started')
    }
    this.#starting = work({ signal, goOn }).then(goOn)
    await this.#starting
  }

  /** @throws {UsageError} calls are not let in yet, or not any more */
  mustBeStarted(what: string): void {
    if (this.#state === 'started') return
    throw new UsageError(`${what}() was called when the application was ${this.#state}; call it between start() and stop()`)
  }

  /** A call, which `stop()` lets finish. @throws {UsageError} see {@link mustBeStarted} */
  async during<T>(what: string, work: () => Promise<T>): Promise<T> {
    this.mustBeStarted(what)
    this.#underWay++
    try {
      return await work()
    } finally {
      if (--this.#underWay === 0) this.#onIdle?.()
    }
  }

  /** Lets nothing in any more, waits for what is under way, and ends with `work`. Whoever stops it again waits for the same end. */
  stop(work: () => Promise<void>): Promise<void> {
    this.#stopping ??= this.#finish(work)
    return this.#stopping
  }

  async #finish(work: () => Promise<void>): Promise<void> {
    this.#state = 'stopped'
    this.#stop.abort()
    await Promise.allSettled([this.#starting])
    if (this.#underWay > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve))
    await work()
  }
}
