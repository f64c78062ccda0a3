const pauseMinMs = 250
const pauseMaxMs = 2000
const buildPauseMs = 3000
const rowsMax = 20_000
const buildRowsMax = 100_000
const bytesMax = 32 * 2 ** 20

/** What waits to be written. */
export interface Unwritten {
  readonly changed: number
  /** Of JSON, about. */
  readonly changedBytes: number
}

/**
 * When rows are written while a projection is behind: seldom, since an event in a row that many others follow need not be written alone, but so that
 * whoever waits for what is folded waits no more than twice as long. Nobody reads a version that is being built, so it may take its time, as long as its
 * rows fit into memory and little is lost with the process.
 */
export class Cadence {
  readonly #now: () => number
  readonly #building: () => boolean
  #behindSince: number
  #writtenAt: number

  /** `now` gives milliseconds. */
  constructor(now: () => number, building: () => boolean) {
    this.#now = now
    this.#building = building
    this.#behindSince = now()
    this.#writtenAt = this.#behindSince
  }

  /** From here on it is behind, if it is. */
  begin(): void {
    this.#behindSince = this.#now()
    this.#writtenAt = this.#behindSince
  }

  written(): void {
    this.#writtenAt = this.#now()
  }

  isDue({ changed, changedBytes }: Unwritten): boolean {
    const pause = this.#now() - this.#writtenAt
    if (changedBytes >= bytesMax) return true
    if (this.#building()) return changed >= buildRowsMax || pause >= buildPauseMs
    return changed >= rowsMax || pause >= Math.min(pauseMaxMs, Math.max(pauseMinMs, this.#writtenAt - this.#behindSince))
  }
}
