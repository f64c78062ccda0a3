/** A client as any program might write one: it keeps the last token and sends it with every request. */
export class Client {
  readonly #url: string
  #token: string | undefined

  constructor(url: string) {
    this.#url = url
  }

  async command(name: string, input: unknown, headers: Readonly<Record<string, string>> = {}): Promise<Response> {
    const response = await fetch(`${this.#url}/commands/${name}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...this.#headers(), ...headers },
      body: JSON.stringify(input),
    })
    this.#token = response.headers.get('Headwater-Token') ?? this.#token
    return response
  }

  /** Runs a command that must succeed. */
  async execute(name: string, input: unknown): Promise<void> {
    const response = await this.command(name, input)
    if (!response.ok) throw new Error(`${name}: ${await response.text()}`)
  }

  async query(name: string, input: unknown = {}): Promise<Response> {
    return await fetch(`${this.#url}/queries/${name}?input=${encodeURIComponent(JSON.stringify(input))}`, { headers: this.#headers() })
  }

  /** The answer of a query that must succeed. */
  async read<T>(name: string, input: unknown = {}): Promise<T> {
    const response = await this.query(name, input)
    if (!response.ok) throw new Error(`${name}: ${await response.text()}`)
    return (await response.json()) as T
  }

  #headers(): Record<string, string> {
    return { 'Headwater-Wait-Ms': '20000', ...(this.#token ? { 'Headwater-Token': this.#token } : {}) }
  }
}

export interface Account {
  readonly accountId: string
  readonly owner: string
  readonly balance: number
  readonly status: 'open' | 'closed'
}

export interface Statement {
  readonly accountId: string
  readonly month: string
  readonly opening: number
  readonly closing: number
  readonly lines: readonly { readonly time: string; readonly kind: string; readonly amount: number; readonly balance: number }[]
}

export interface Transfer {
  readonly transferId: string
  readonly status: 'requested' | 'completed' | 'refunded'
}

export interface Books {
  readonly accounts: number
  readonly balances: number
  readonly inTransfer: number
  readonly transfersInProgress: number
  readonly deposited: number
  readonly withdrawn: number
}

/** Resolves when every read model of the application is live. */
export async function built(url: string): Promise<void> {
  for (;;) {
    const { readModels } = (await (await fetch(`${url}/status`)).json()) as { readModels: { state: string }[] }
    if (readModels.every(({ state }) => state === 'live')) return
  }
}
