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

export interface Item {
  readonly postId: string
  readonly authorId: string
  readonly author: string
  readonly body: string
  readonly inReplyTo: string | null
  readonly likes: number
  readonly replies: number
  readonly publishedAt: string
}

export interface Hit extends Omit<Item, 'body'> {
  readonly snippet: string
}

export interface Page<T> {
  readonly items: readonly T[]
  readonly next: string | null
}

export interface Profile {
  readonly userId: string
  readonly name: string
  readonly posts: number
  readonly replies: number
  readonly followers: number
  readonly following: number
  readonly likes: number
}

/** Resolves when every read model of the application is live. */
export async function built(url: string): Promise<void> {
  for (;;) {
    const { readModels } = (await (await fetch(`${url}/status`)).json()) as { readModels: { state: string }[] }
    if (readModels.every(({ state }) => state === 'live')) return
  }
}
