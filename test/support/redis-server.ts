import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient, type RedisClientType } from 'redis'
import { freePort } from './free-port.ts'

/** A Redis of its own on a free port, for tests that flush, kill or restart it. */
export class RedisServer {
  readonly url: string
  readonly #port: number
  readonly #directory: string
  #process: ChildProcess | undefined
  #control: RedisClientType | undefined

  private constructor(port: number, directory: string) {
    this.url = `redis://127.0.0.1:${port}`
    this.#port = port
    this.#directory = directory
  }

  /** `settings` as on the command line: `['--maxmemory-policy', 'allkeys-lru']`. */
  static async start(...settings: readonly string[]): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), await mkdtemp(join(tmpdir(), 'redis-')))
    await server.start(...settings)
    return server
  }

  async start(...settings: readonly string[]): Promise<void> {
    const where = ['--bind', '127.0.0.1', '--port', `${this.#port}`, '--dir', this.#directory]
    this.#process = spawn('redis-server', [...where, '--save', '', '--appendonly', 'no', ...settings], { stdio: 'ignore' })
    for (let time = 0; time < 100; time++) {
      const client = createClient({ url: this.url, socket: { reconnectStrategy: false } })
      client.on('error', () => {})
      const connected = await client.connect().catch(() => undefined)
      if (connected) {
        this.#control = client as RedisClientType
        return
      }
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    throw new Error('redis-server does not answer')
  }

  /** A client beside the one under test. */
  get control(): RedisClientType {
    if (!this.#control) throw new Error('the server does not run')
    return this.#control
  }

  /** What has been written so far is what a restart brings back. */
  async snapshot(): Promise<void> {
    await this.control.sendCommand(['SAVE'])
  }

  async kill(): Promise<void> {
    this.#control?.destroy()
    this.#control = undefined
    const running = this.#process
    if (!running || running.exitCode !== null) return
    const ended = new Promise((resolve) => running.once('exit', resolve))
    running.kill('SIGKILL')
    await ended
  }

  async stop(): Promise<void> {
    await this.kill()
    await rm(this.#directory, { recursive: true, force: true })
  }
}
