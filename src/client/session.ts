/** More would make the header too long: each command under way at once may leave a token of its own. Browsers send about as many at once. */
const commandsAtOnce = 8

/**
 * The tokens that stand for everything one client wrote. A command is sent with all of them, and its answer covers them, so its token takes
 * their place. Only commands that were under way at the same time leave several; with commas between them they are one.
 */
export class Session {
  readonly #keeps: boolean
  #tokens: readonly string[] = []
  #underWay = 0
  readonly #waiting: (() => void)[] = []

  /** @param keeps whether answers change the session; without it, it holds what was set by hand */
  constructor(keeps: boolean) {
    this.#keeps = keeps
  }

  get token(): string | undefined {
    return this.#tokens.length === 0 ? undefined : this.#tokens.join(',')
  }

  set token(token: string | undefined) {
    this.#tokens = token ? [token] : []
  }

  get tokens(): readonly string[] {
    return this.#tokens
  }

  /** A command that was sent with `sent` answered with `token`. */
  written(sent: readonly string[], token: string): void {
    if (this.#keeps) this.#tokens = [...this.#tokens.filter((known) => !sent.includes(known)), token]
  }

  /** `sent` can never be satisfied again: its database is gone. */
  forget(sent: readonly string[]): void {
    if (this.#keeps) this.#tokens = this.#tokens.filter((known) => !sent.includes(known))
  }

  /** Runs a command, when there are not too many under way. */
  async turn<T>(command: () => Promise<T>): Promise<T> {
    if (!this.#keeps) return await command()
    if (this.#underWay >= commandsAtOnce) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    else this.#underWay++
    try {
      return await command()
    } finally {
      const next = this.#waiting.shift()
      if (next) next()
      else this.#underWay--
    }
  }
}
