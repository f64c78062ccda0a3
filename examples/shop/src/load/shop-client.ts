/** What a command came to: done, or refused. */
export interface Outcome {
  readonly status: number
  readonly code: string | undefined
  readonly details: unknown
}

/** A program that uses the shop over HTTP. It keeps the last token, so that it reads what it wrote. */
export class ShopClient {
  readonly #url: string
  #token: string | undefined

  constructor(url: string) {
    this.#url = url
  }

  /** Sends a command again until it is known what became of it; the key makes that safe. */
  async execute(name: string, input: unknown): Promise<Outcome> {
    const key = crypto.randomUUID()
    for (let attempt = 1; ; attempt++) {
      const response = await fetch(`${this.#url}/commands/${name}`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', 'Idempotency-Key': key, ...this.#headers() },
        body: JSON.stringify(input),
      })
      this.#token = response.headers.get('Headwater-Token') ?? this.#token
      if (response.ok) {
        await response.arrayBuffer()
        return { status: response.status, code: undefined, details: undefined }
      }
      const { code, details } = (await response.json()) as { readonly code: string; readonly details?: unknown }
      if (response.status !== 503 || attempt === 10) return { status: response.status, code, details }
      await new Promise((resolve) => setTimeout(resolve, 50 * attempt))
    }
  }

  async query<T>(name: string, input: unknown): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const response = await fetch(`${this.#url}/queries/${name}?input=${encodeURIComponent(JSON.stringify(input))}`, {
        headers: { 'Headwater-Wait-Ms': '20000', ...this.#headers() },
      })
      if (response.ok) return (await response.json()) as T
      const text = await response.text()
      if (response.status !== 503 || attempt === 10) throw new Error(`${name}: ${response.status} ${text}`)
      await new Promise((resolve) => setTimeout(resolve, 100 * attempt))
    }
  }

  #headers(): Record<string, string> {
    return this.#token ? { 'Headwater-Token': this.#token } : {}
  }
}

/** Whether a shop answers at an address. */
export async function isShop(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/queries/stores`, { signal: AbortSignal.timeout(2000) })
    return response.ok
  } catch {
    return false
  }
}
