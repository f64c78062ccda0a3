import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { postgresUrl } from '../support/databases.ts'
import { freePort } from '../support/free-port.ts'

/** Why there is no PgBouncer to test through, or false. */
export const pgbouncerMissing: string | false = spawnSync('pgbouncer', ['--version']).error ? 'pgbouncer is not installed' : false

/** A PgBouncer in transaction mode before the test server, with few server connections, so that clients have to share them. */
export class Pgbouncer {
  readonly url: string
  readonly #process: ChildProcess
  readonly #directory: string

  private constructor(url: string, process: ChildProcess, directory: string) {
    this.url = url
    this.#process = process
    this.#directory = directory
  }

  /** `schema` becomes the search path of its connections, which clients cannot set. */
  static async start(schema: string): Promise<Pgbouncer> {
    const directory = await mkdtemp(join(tmpdir(), 'headwater-pgbouncer-'))
    const port = await freePort()
    const { hostname, port: serverPort, username, password, pathname } = new URL(postgresUrl)
    const config = join(directory, 'pgbouncer.ini')
    await writeFile(
      config,
      `[databases]
test = host=${hostname} port=${serverPort || 5432} dbname=${pathname.slice(1)} user=${username}${password && ` password=${decodeURIComponent(password)}`} connect_query='set search_path to ${schema}'
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
max_client_conn = 200
`,
      { mode: 0o644 },
    )
    const nobody = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}
    spawnSync('chmod', ['755', directory])
    const child = spawn('pgbouncer', [config], { stdio: ['ignore', 'ignore', 'pipe'], ...nobody })
    let said = ''
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()))
    while (!(await accepts(port))) {
      if (child.exitCode !== null) throw new Error(`pgbouncer ended: ${said}`)
      await setTimeout(20)
    }
    return new Pgbouncer(`postgres://postgres@127.0.0.1:${port}/test`, child, directory)
  }

  async stop(): Promise<void> {
    const ended = once(this.#process, 'exit')
    this.#process.kill('SIGKILL')
    await ended
    await rm(this.#directory, { recursive: true })
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}
