import { EventEmitter, once } from 'node:events'
import { createServer, type Server, Socket } from 'node:net'

/** What to do with a message of the client. */
export type Verdict =
  /** Sends it on. */
  | 'forward'
  /** Breaks both connections; the server never sees it. */
  | 'cut-before'
  /** Sends it on, and breaks both connections when the server has answered; the client never sees the answer. */
  | 'cut-after'
  /** Breaks the client's connection only, and keeps this message and what came with it; the server's stays open until {@link TcpProxy.deliver} or {@link TcpProxy.drop}. */
  | 'hold'
  /** Sends nothing on from now on, in neither direction, and breaks nothing. */
  | 'half-open'

export interface ClientMessage {
  /** The text of a simple query or of a statement that is parsed; undefined for everything else. */
  readonly sql: string | undefined
  /** Which connection it is on: 1, 2, ... in the order they were opened. */
  readonly connection: number
}

/** Whether a message of the client is a COMMIT. */
export function isCommit({ sql }: ClientMessage): boolean {
  return sql?.trim().toLowerCase() === 'commit'
}

/**
 * A proxy before a PostgreSQL server that understands the client's side of the protocol (without TLS) and does to each message what `judge` says.
 * `messages` emits `message` for every one, before its verdict.
 */
export class TcpProxy {
  readonly messages = new EventEmitter()
  judge: (message: ClientMessage) => Verdict = () => 'forward'
  /** Milliseconds to wait before each piece is sent on, in both directions. */
  delayMs = 0
  /** Whether the server's side of a half-open connection goes when the client gives up its own: a server has only so many. */
  tidies = false
  readonly #server: Server
  readonly #pairs = new Set<Pair>()
  #opened = 0

  private constructor(target: { readonly host: string; readonly port: number; readonly raw?: boolean }) {
    this.#server = createServer({ noDelay: true }, (client) => {
      const pair = new Pair(this, client, target, ++this.#opened)
      this.#pairs.add(pair)
      pair.server.once('close', () => this.#pairs.delete(pair))
    })
  }

  /** `raw`: before a server that speaks something else; each piece that arrives is a message then. */
  static async open(target: { readonly host: string; readonly port: number; readonly raw?: boolean }): Promise<TcpProxy> {
    const proxy = new TcpProxy(target)
    proxy.#server.listen(0, '127.0.0.1')
    await once(proxy.#server, 'listening')
    return proxy
  }

  get port(): number {
    const address = this.#server.address()
    return typeof address === 'object' && address ? address.port : 0
  }

  /** The given address of a database, through this proxy. */
  url(url: string): string {
    const through = new URL(url)
    through.hostname = '127.0.0.1'
    through.port = String(this.port)
    return through.href
  }

  /** Resolves with the next message that fits. */
  async next(fits: (message: ClientMessage) => boolean): Promise<ClientMessage> {
    for (;;) {
      const [message] = (await once(this.messages, 'message')) as [ClientMessage]
      if (fits(message)) return message
    }
  }

  /** Sends held messages on to the server, then closes those connections. */
  deliver(): void {
    for (const pair of this.#pairs) pair.deliver()
  }

  /** Breaks the server's side of held connections; it never sees what was held. */
  drop(): void {
    for (const pair of this.#pairs) pair.drop()
  }

  /** Breaks every connection that is open, whatever it waits for. */
  cut(): void {
    for (const pair of this.#pairs) pair.break()
  }

  async close(): Promise<void> {
    this.cut()
    this.#server.close()
    await once(this.#server, 'close')
  }
}

/** One client and its connection to the server. */
class Pair {
  readonly server = new Socket()
  readonly #proxy: TcpProxy
  readonly #client: Socket
  readonly #number: number
  readonly #raw: boolean
  #unread: Buffer = Buffer.alloc(0)
  #started = false
  #held: Buffer | undefined
  readonly #toServer: Buffer[] = []
  readonly #toClient: Buffer[] = []
  #state: 'open' | 'answering' | 'held' | 'half-open' = 'open'

  constructor(
    proxy: TcpProxy,
    client: Socket,
    target: { readonly host: string; readonly port: number; readonly raw?: boolean },
    number: number,
  ) {
    this.#proxy = proxy
    this.#raw = target.raw ?? false
    this.#client = client
    this.#number = number
    this.server.setNoDelay(true)
    this.server.connect(target.port, target.host)
    client.on('data', (bytes) => this.#fromClient(bytes))
    this.server.on('data', (bytes) => this.#fromServer(bytes))
    client.on('error', () => {}).on('close', () => (this.#connected() || (proxy.tidies && this.#state === 'half-open')) && this.break())
    this.server.on('error', () => {}).on('close', () => this.#connected() && client.destroy())
  }

  deliver(): void {
    if (this.#state !== 'held' || !this.#held) return
    this.server.end(this.#held)
    this.#held = undefined
  }

  drop(): void {
    if (this.#state === 'held') this.server.destroy()
  }

  break(): void {
    this.#client.destroy()
    this.server.destroy()
  }

  #connected(): boolean {
    return this.#state === 'open' || this.#state === 'answering'
  }

  #fromClient(bytes: Buffer): void {
    this.#unread = Buffer.concat([this.#unread, bytes])
    for (let message = this.#nextMessage(); message; message = this.#nextMessage()) {
      if (this.#state === 'open') this.#obey(message)
      else if (this.#state === 'answering') this.#send(this.server, message)
      else if (this.#held) this.#held = Buffer.concat([this.#held, message])
    }
  }

  #fromServer(bytes: Buffer): void {
    if (this.#state === 'open') this.#send(this.#client, bytes)
    else if (this.#state === 'answering') this.break()
  }

  /** The first message (start, or a request for TLS) has no type; later ones have one byte of it, then their length. */
  #nextMessage(): Buffer | undefined {
    if (this.#raw) {
      const piece = this.#unread
      this.#unread = Buffer.alloc(0)
      return piece.length > 0 ? piece : undefined
    }
    const lengthAt = this.#started ? 1 : 0
    if (this.#unread.length < lengthAt + 4) return undefined
    const length = lengthAt + this.#unread.readInt32BE(lengthAt)
    if (this.#unread.length < length) return undefined
    const message = this.#unread.subarray(0, length)
    this.#unread = this.#unread.subarray(length)
    this.#started = true
    return message
  }

  #obey(bytes: Buffer): void {
    const message: ClientMessage = { sql: this.#raw ? undefined : sqlOf(bytes), connection: this.#number }
    this.#proxy.messages.emit('message', message)
    const verdict = this.#proxy.judge(message)
    if (verdict === 'cut-before') this.break()
    if (verdict === 'half-open') this.#state = 'half-open'
    if (verdict === 'hold') this.#hold(bytes)
    if (verdict === 'cut-after') this.#state = 'answering'
    if (verdict === 'forward' || verdict === 'cut-after') this.#send(this.server, bytes)
  }

  #hold(bytes: Buffer): void {
    this.#state = 'held'
    this.#held = bytes
    // Later, so that what arrived together with this message is held with it.
    setImmediate(() => this.#client.destroy())
  }

  /** What is delayed less does not overtake what is delayed more. */
  #send(to: Socket, bytes: Buffer): void {
    const waiting = to === this.server ? this.#toServer : this.#toClient
    if (this.#proxy.delayMs === 0 && waiting.length === 0) {
      to.write(bytes)
      return
    }
    waiting.push(bytes)
    setTimeout(() => to.write(waiting.shift() ?? ''), this.#proxy.delayMs)
  }
}

function sqlOf(bytes: Buffer): string | undefined {
  const kind = String.fromCharCode(bytes[0] ?? 0)
  if (kind === 'Q') return bytes.toString('utf8', 5, bytes.length - 1)
  if (kind !== 'P') return undefined
  const text = bytes.indexOf(0, 5) + 1
  return bytes.toString('utf8', text, bytes.indexOf(0, text))
}
