/** A client as any program might write one: it keeps the last token and sends it with every request. */
export class Client {
  readonly #url: string
  #token: string | undefined

  /** `token`: what it has written before, at another address. */
  constructor(url: string, token?: string) {
    this.#url = url
    this.#token = token
  }

  /** What it has written so far, for another client to read. */
  get token(): string | undefined {
    return this.#token
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

export interface Product {
  readonly productId: string
  readonly name: string
  readonly category: string
  readonly price: number
  readonly stock: number
}

export interface CatalogueItem extends Product {
  readonly available: boolean
}

export interface CataloguePage {
  readonly items: readonly CatalogueItem[]
  readonly facets: {
    readonly categories: readonly { readonly value: string; readonly count: number }[]
    readonly prices: readonly { readonly from: number; readonly to: number; readonly count: number }[]
  }
  readonly next: string | null
}

export interface OrderPage {
  readonly items: readonly {
    readonly orderId: string
    readonly placedAt: string
    readonly total: number
    readonly lines: readonly { readonly productId: string; readonly quantity: number; readonly price: number }[]
  }[]
  readonly next: string | null
}

/** Resolves when every read model of the application is live. */
export async function built(url: string): Promise<void> {
  for (;;) {
    const { readModels } = (await (await fetch(`${url}/status`)).json()) as { readModels: { name: string; state: string }[] }
    if (readModels.every(({ state }) => state === 'live')) return
    const stopped = readModels.find(({ state }) => state === 'stopped')
    if (stopped) throw new Error(`${stopped.name} is stopped`)
  }
}
