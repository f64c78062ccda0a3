import { randomUUID } from 'node:crypto'
import { link, readdir, readFile, truncate, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { IncompatibleStoreError } from '../../index.ts'
import { isAlive, type ProcessMark, thisProcess } from './process-mark.ts'

/**
 * Says that this process uses a directory, until `release()`. The file `headwater.lock.<n>` with the highest number counts; it holds the
 * mark of its process, or nothing after a release. Whoever finds it released, or its process dead, takes the next number: a file appears
 * whole and under a name that was free, so that one of several gets it, and a number that was passed by never counts again.
 */
export class DirectoryLock {
  readonly #file: string

  private constructor(file: string) {
    this.#file = file
  }

  /** Rejects with `IncompatibleStoreError` (`locked`), naming the process, while another one has it. */
  static async take(path: string): Promise<DirectoryLock> {
    const newest = await newestLock(path)
    const holder = markIn(newest?.content)
    if (holder && (await isAlive(holder))) throw lockedBy(path, holder)
    const number = (newest?.number ?? 0) + 1
    const file = fileOf(path, number)
    const mark: ProcessMark = { ...(await thisProcess()), holder: randomUUID() }
    if (!(await create(file, JSON.stringify(mark)))) throw lockedBy(path, markIn(await contentOf(file)))
    // Others may have taken and passed on later numbers since we looked, and cleared ours away.
    if (((await newestLock(path))?.number ?? 0) > number) {
      await unlink(file)
      throw lockedBy(path, undefined)
    }
    await clearBelow(path, number)
    return new DirectoryLock(file)
  }

  async release(): Promise<void> {
    await truncate(this.#file).catch(unlessGone)
  }

  /** Whether a file of this name belongs to the lock. */
  static isPart(name: string): boolean {
    return name.startsWith(prefix)
  }
}

const prefix = 'headwater.lock.'

function fileOf(path: string, number: number): string {
  return join(path, `${prefix}${number}`)
}

async function newestLock(path: string): Promise<{ readonly number: number; readonly content: string } | undefined> {
  for (;;) {
    const number = Math.max(0, ...(await numbersIn(path)))
    if (number === 0) return undefined
    const content = await contentOf(fileOf(path, number))
    if (content !== undefined) return { number, content }
  }
}

async function numbersIn(path: string): Promise<readonly number[]> {
  const names = await readdir(path)
  return names.flatMap((name) => (/^headwater\.lock\.\d+$/.test(name) ? [Number(name.slice(prefix.length))] : []))
}

async function clearBelow(path: string, number: number): Promise<void> {
  for (const old of await numbersIn(path)) if (old < number) await unlink(fileOf(path, old)).catch(unlessGone)
}

/** Writes the file aside and links it to its name, which fails when the name is taken. */
async function create(file: string, content: string): Promise<boolean> {
  const aside = `${file}.${randomUUID()}`
  await writeFile(aside, content)
  try {
    await link(aside, file)
    return true
  } catch (error) {
    if (isCode(error, 'EEXIST')) return false
    throw error
  } finally {
    await unlink(aside)
  }
}

function lockedBy(path: string, holder: ProcessMark | undefined): IncompatibleStoreError {
  const who = holder?.pid === process.pid ? 'this process itself' : holder ? `process ${holder.pid}` : 'another process'
  const since = holder ? `, since ${holder.since}` : ''
  return new IncompatibleStoreError('locked', `${path} is in use by ${who}${since}: close the database there, or take another directory`)
}

/** Undefined when it was released, or cannot be read. */
function markIn(content: string | undefined): ProcessMark | undefined {
  if (!content) return undefined
  try {
    return JSON.parse(content)
  } catch {
    return undefined
  }
}

async function contentOf(file: string): Promise<string | undefined> {
  return readFile(file, 'utf8').catch(unlessGone)
}

function unlessGone(error: unknown): undefined {
  if (!isCode(error, 'ENOENT')) throw error
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
