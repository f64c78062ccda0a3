import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, existsSync, readdirSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import pg from 'pg'
import { freePort } from './free-port.ts'

/** The folder of PostgreSQL's programs, if they are there. */
export const programs = programsFolder()

/** Why tests cannot have a PostgreSQL server of their own, or false. Where `HEADWATER_TEST_REQUIRE` names postgres they run and say so. */
export const ownClusterMissing: string | false =
  programs || (process.env.HEADWATER_TEST_REQUIRE ?? '').split(',').includes('postgres')
    ? false
    : 'the programs of a PostgreSQL server (initdb, pg_basebackup) are not there; PG_BIN names their folder'

function programsFolder(): string | undefined {
  const versions = '/usr/lib/postgresql'
  const installed = existsSync(versions) ? readdirSync(versions).sort((a, b) => Number(b) - Number(a)) : []
  const folders = [process.env.PG_BIN ?? '', ...installed.map((version) => join(versions, version, 'bin'))]
  return folders.find((folder) => folder && ['initdb', 'pg_basebackup', 'postgres'].every((name) => existsSync(join(folder, name))))
}

/** PostgreSQL refuses to run as root. */
const nobody = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}

/** A PostgreSQL server of a test's own on a free port: a primary, or a standby that streams from one. Everyone on this machine may connect. */
export class OwnCluster {
  readonly port: number
  readonly #directory: string
  readonly #settings: readonly string[]
  #process: ChildProcess | undefined

  private constructor(port: number, directory: string, settings: readonly string[]) {
    this.port = port
    this.#directory = directory
    this.#settings = settings
    // The last resort, when this process ends before it could clean up.
    process.once('exit', () => this.#process?.kill('SIGQUIT'))
  }

  /** A new cluster, `settings` as in `postgresql.conf`: `['autovacuum=off']`. With `standby` it waits for log that never comes. */
  static async primary(settings: readonly string[] = [], { standby = false } = {}): Promise<OwnCluster> {
    const directory = await ownDirectory()
    run('initdb', ['-D', directory, '-U', 'postgres', '--auth=trust', '--no-sync', '--encoding=UTF8', '--locale=C'])
    if (standby) await writeFile(join(directory, 'standby.signal'), '')
    return await new OwnCluster(await freePort(), directory, settings).start()
  }

  /** A standby that follows this server. */
  async standby(settings: readonly string[] = this.#settings): Promise<OwnCluster> {
    const directory = await ownDirectory()
    run('pg_basebackup', ['-d', this.#libpq, '-D', directory, '--write-recovery-conf', '--checkpoint=fast', '--no-sync'])
    return await new OwnCluster(await freePort(), directory, settings).start()
  }

  get url(): string {
    return `postgres://postgres@127.0.0.1:${this.port}/postgres`
  }

  get #libpq(): string {
    return `host=127.0.0.1 port=${this.port} user=postgres dbname=postgres`
  }

  async start(): Promise<this> {
    const settings = ['fsync=off', 'shared_buffers=16MB', 'unix_socket_directories=', ...this.#settings]
    const args = ['-D', this.#directory, '-p', String(this.port), '-h', '127.0.0.1', ...settings.flatMap((setting) => ['-c', setting])]
    const child = spawn(join(programs ?? '', 'postgres'), args, { stdio: ['ignore', 'ignore', 'pipe'], ...nobody })
    this.#process = child
    let said = ''
    child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4000)))
    for (;;) {
      if (child.exitCode !== null) throw new Error(`postgres ended: ${said}`)
      const answered = await this.query('select').then(
        () => true,
        () => false,
      )
      if (answered) return this
      await setTimeout(30)
    }
  }

  /** Runs one statement on a connection of its own, again when it was in the way of what a standby replays. */
  async query(text: string): Promise<readonly Readonly<Record<string, unknown>>[]> {
    for (;;) {
      try {
        return await this.#query(text)
      } catch (error) {
        if ((error as { code?: string }).code !== '40001') throw error
      }
    }
  }

  /** Changes a setting while it runs. */
  async set(name: string, value: string): Promise<void> {
    await this.query(`alter system set ${name} = '${value}'`)
    await this.query('select pg_reload_conf()')
    while ((await this.query(`select setting from pg_settings where name = '${name}'`))[0]?.setting !== value) await setTimeout(5)
  }

  async #query(text: string): Promise<readonly Readonly<Record<string, unknown>>[]> {
    const client = new pg.Client({ connectionString: this.url })
    client.on('error', () => {})
    await client.connect()
    try {
      return (await client.query<Record<string, unknown>>(text)).rows
    } finally {
      await client.end().catch(() => undefined)
    }
  }

  /** Stops replaying: from now on it shows nothing newer. */
  async pause(): Promise<void> {
    await this.query('select pg_wal_replay_pause()')
    while ((await this.query('select pg_get_wal_replay_pause_state() as state'))[0]?.state !== 'paused') await setTimeout(5)
  }

  async resume(): Promise<void> {
    await this.query('select pg_wal_replay_resume()')
  }

  /** Resolves when it has replayed everything that is committed on the given server now. */
  async replayed(primary: OwnCluster): Promise<void> {
    // A commit takes everything before it to the disk, and so to the standby.
    await primary.query(`select pg_logical_emit_message(true, '', '')`)
    const [now] = await primary.query('select pg_current_wal_flush_lsn()::text as lsn')
    const reached = `select pg_last_wal_replay_lsn() >= '${String(now?.lsn)}' as reached`
    while ((await this.query(reached))[0]?.reached !== true) await setTimeout(5)
  }

  /** Ends it as a crash would: without a checkpoint, in the middle of what its clients do. */
  async crash(): Promise<void> {
    const running = this.#process
    this.#process = undefined
    if (!running || running.exitCode !== null) return
    const ended = once(running, 'exit')
    running.kill('SIGQUIT')
    await ended
  }

  /** Ends it and removes what it wrote. */
  async remove(): Promise<void> {
    await this.crash()
    await rm(this.#directory, { recursive: true, force: true })
  }
}

async function ownDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'headwater-cluster-'))
  if (nobody.uid !== undefined) chownSync(directory, nobody.uid, nobody.gid)
  return directory
}

function run(program: string, args: readonly string[]): void {
  if (!programs) throw new Error('the programs of a PostgreSQL server are not there; PG_BIN names their folder')
  const { status, stderr, error } = spawnSync(join(programs, program), args, { encoding: 'utf8', cwd: tmpdir(), ...nobody })
  if (status !== 0) throw new Error(`${program}: ${error?.message ?? stderr}`)
}
