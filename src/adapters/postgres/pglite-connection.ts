import { Worker } from 'node:worker_threads'
import { DatabaseUnavailableError } from '../../index.ts'
import type { Answer, Connection } from './connection.ts'
import { Decoding } from './decoding.ts'
import { failureOf, isFatal, isStalePlan, type ServerFailure } from './failure.ts'
import type { Reply, TextAnswer } from './pglite-message.ts'
import { StatementNames } from './statement-names.ts'

/** The one session of a PGlite in its worker thread. */
export class PgliteConnection implements Connection {
  /** PGlite's own object lives in the other thread. */
  readonly raw = undefined
  readonly #worker: Worker
  readonly #names = new StatementNames()
  readonly #waiting = new Map<number, { resolve(reply: Reply): void; reject(error: Error): void }>()
  #lastId = 0
  #status: Answer['status'] = 'I'
  #crash: Error | undefined

  private constructor(worker: Worker) {
    this.#worker = worker
    worker.on('message', (reply: Reply) => this.#settle(reply))
    worker.on('error', (error) => this.#fail(error))
    worker.on('exit', () => this.#fail(new Error('its thread has ended')))
  }

  /** The thread answers what nobody asked, number 0, when it is ready. */
  #ready(): Promise<unknown> {
    return new Promise((resolve, reject) => this.#waiting.set(0, { resolve, reject: () => reject(this.#crash) }))
  }

  /** Boots PGlite on a directory, or in memory. Rejects with what its thread threw. */
  static async open(dataDir: string | undefined): Promise<PgliteConnection> {
    const worker = new Worker(new URL('./pglite-worker.js', import.meta.url), { workerData: { dataDir }, execArgv: [] })
    const connection = new PgliteConnection(worker)
    await connection.#ready()
    return connection
  }

  get broken(): boolean {
    return this.#crash !== undefined
  }

  discard(): void {
    this.#fail(new Error('it was left in an unknown state'))
    void this.#worker.terminate()
  }

  async run(text: string, values: readonly (string | null)[], prepare: boolean): Promise<Answer> {
    const name = prepare ? this.#names.nameOf(text, values) : undefined
    const inTransaction = this.#status !== 'I'
    let reply = await this.#send(text, values, name)
    if ('failure' in reply && name !== undefined && isStalePlan(reply.failure)) {
      this.#names.forget()
      if (!inTransaction) reply = await this.#send(text, values, undefined)
    }
    if ('failure' in reply) throw this.#failure(reply.failure)
    this.#status = reply.answer.status
    return answerOf(reply.answer)
  }

  /** Lets PGlite write what it holds and ends its thread. */
  async close(): Promise<void> {
    if (this.#crash) return void (await this.#worker.terminate())
    const ended = new Promise<void>((resolve) => this.#worker.once('exit', () => resolve()))
    this.#worker.ref()
    this.#worker.postMessage('close')
    await ended
  }

  /** After a panic PostgreSQL restarts; within PGlite it cannot, and would never answer again. */
  #failure(failure: ServerFailure): Error {
    const error = Object.assign(new Error(failure.message), failure)
    if (!isFatal(failure)) return failureOf(error, 'statement')
    this.#fail(error)
    void this.#worker.terminate()
    return this.#unavailable(error)
  }

  #send(text: string, values: readonly (string | null)[], name: string | undefined): Promise<Reply> {
    return new Promise((resolve, reject) => {
      if (this.#crash) return reject(this.#unavailable(this.#crash))
      const id = ++this.#lastId
      this.#waiting.set(id, { resolve, reject })
      // The thread keeps the process alive while somebody waits for it, and only then.
      this.#worker.ref()
      this.#worker.postMessage({ id, text, values, name })
    })
  }

  #settle(reply: Reply): void {
    this.#waiting.get(reply.id)?.resolve(reply)
    this.#waiting.delete(reply.id)
    if (this.#waiting.size === 0) this.#worker.unref()
  }

  #fail(error: Error): void {
    this.#crash ??= error
    for (const { reject } of this.#waiting.values()) reject(this.#unavailable(this.#crash))
    this.#waiting.clear()
  }

  #unavailable(crash: Error): DatabaseUnavailableError {
    return new DatabaseUnavailableError(`PGlite has stopped: ${crash.message}`, 'statement', { cause: crash })
  }
}

function answerOf({ fields, rows, ...answer }: TextAnswer): Answer {
  const decoding = new Decoding()
  const decoders = fields.map(({ oid }) => decoding.column(oid))
  const columns = fields.map(({ name }) => name)
  const values = rows.map((row) => row.map((text, i) => (text === null ? null : decoders[i]?.(text))))
  return { ...answer, columns, rows: values, refusal: decoding.refusal(columns) }
}
