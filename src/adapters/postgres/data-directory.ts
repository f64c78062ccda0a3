import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { IncompatibleStoreError } from '../../index.ts'
import { DirectoryLock } from './directory-lock.ts'

/** The major version of the PostgreSQL inside the PGlite that `peerDependencies` allows. */
export const postgresMajor = 18

const stampName = 'headwater.json'

/** What Headwater notes in a directory that it made: whether the first boot was finished, and by which PostgreSQL. */
interface Stamp {
  readonly state: 'initialising' | 'ready'
  readonly postgresMajor: number
  /** What lay there before, and is nobody's business here. */
  readonly foreign?: readonly string[]
}

/**
 * A directory that PGlite keeps its files in, held by this process until `release()`. PGlite does not notice a second process by itself, and
 * two of them would destroy the data. Processes in different containers that share a volume do not see each other.
 */
export class DataDirectory {
  readonly path: string
  readonly #lock: DirectoryLock

  private constructor(path: string, lock: DirectoryLock) {
    this.path = path
    this.#lock = lock
  }

  /** Rejects with `IncompatibleStoreError` when another process holds it (`locked`) or another PostgreSQL made it (`other_version`). */
  static async hold(path: string): Promise<DataDirectory> {
    await mkdir(path, { recursive: true, mode: 0o700 })
    const directory = new DataDirectory(path, await DirectoryLock.take(path))
    try {
      await directory.#prepare()
    } catch (error) {
      await directory.release()
      throw error
    }
    return directory
  }

  /** Notes that the directory is whole, once PGlite has booted on it. */
  async ready(): Promise<void> {
    await this.#writeStamp({ state: 'ready', postgresMajor })
  }

  async release(): Promise<void> {
    await this.#lock.release()
  }

  async #prepare(): Promise<void> {
    const stamp = await this.#readStamp()
    if (stamp?.state === 'initialising') await this.#clear(stamp.foreign ?? [])
    const made = (await this.#read('PG_VERSION'))?.trim()
    if (made === undefined) return this.#writeStamp({ state: 'initialising', postgresMajor, foreign: await this.#names() })
    if (made !== String(postgresMajor)) {
      throw new IncompatibleStoreError(
        'other_version',
        `${this.path} was made by PostgreSQL ${made}, and this PGlite is PostgreSQL ${postgresMajor}: ` +
          'install the version of @electric-sql/pglite that made it, or dump its data and load it into a new directory',
      )
    }
  }

  /** What a first boot that was killed left behind can never be opened, and holds nothing yet. */
  async #clear(foreign: readonly string[]): Promise<void> {
    for (const name of await this.#names()) {
      if (!foreign.includes(name)) await rm(join(this.path, name), { recursive: true })
    }
  }

  async #names(): Promise<readonly string[]> {
    return (await readdir(this.path)).filter((name) => !DirectoryLock.isPart(name) && name !== stampName)
  }

  async #readStamp(): Promise<Stamp | undefined> {
    const content = await this.#read(stampName)
    return content === undefined ? undefined : JSON.parse(content)
  }

  /** It appears whole, so that a kill cannot leave half of one. */
  async #writeStamp(stamp: Stamp): Promise<void> {
    const file = join(this.path, stampName)
    await writeFile(`${file}.new`, JSON.stringify(stamp))
    await rename(`${file}.new`, file)
  }

  async #read(name: string): Promise<string | undefined> {
    try {
      return await readFile(join(this.path, name), 'utf8')
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
      throw error
    }
  }
}
