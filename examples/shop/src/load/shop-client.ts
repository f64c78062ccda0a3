/** What a command came to: done, or refused. */
export interface Outcome {
  readonly status: number
  readonly code: string | undefined
  readonly details: unknown
}

const triesMax = 10

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
    const response = await this.#send(`/commands/${name}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'Idempotency-Key': key },
      body: JSON.stringify(input),
    })
    this.#token = response.headers.get('Headwater-Token') ?? this.#token
    const { code, details } = (await response.json()) as { readonly code?: string; readonly details?: unknown }
    return { status: response.status, code, details }
  }

  async query<T>(name: string, input: unknown): Promise<T> {
    const search = `?input=${encodeURIComponent(JSON.stringify(input))}`
    const response = await this.#send(`/queries/${name}${search}`, { headers: { 'Headwater-Wait-Ms': '20000' } })
    if (!response.ok) throw new Error(`${name}: ${response.status} ${await response.text()}`)
    return (await response.json()) as T
  }

  /** What passes, a lost connection or 503, is tried again. */
  async #send(path: string, request: RequestInit): Promise<Response> {
    for (let attempt = 1; ; attempt++) {
      try {
        const response = await fetch(`${this.#url}${path}`, { ...request, headers: { ...request.headers, ...this.#headers() } })
        if (response.status !== 503 || attempt === triesMax) return response
        await response.arrayBuffer()
      } catch (error) {
        if (attempt === triesMax) throw error
      }
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
