import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'

/**
 * Which process it is, beyond its number: numbers come again, and in a container every process is number 1, so that after a kill the
 * next one would take itself for the holder.
 */
export interface ProcessMark {
  readonly pid: number
  /** When the process began, in the system's own terms; empty where it cannot be told. */
  readonly started: string
  /** Which boot of the machine; empty where it cannot be told. */
  readonly boot: string
  /** When it took hold, for people. */
  readonly since: string
  /** Sets two holders within one process apart. */
  readonly holder: string
}

export async function thisProcess(): Promise<Omit<ProcessMark, 'holder'>> {
  return { pid: process.pid, started: await startOf(process.pid), boot: await bootId(), since: new Date().toISOString() }
}

/** Whether that very process still runs. */
export async function isAlive(mark: ProcessMark): Promise<boolean> {
  if (mark.boot !== (await bootId()) || !exists(mark.pid)) return false
  return mark.started === (await startOf(mark.pid))
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

async function bootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '')).trim()
}

async function startOf(pid: number): Promise<string> {
  // The name of the program stands in brackets and may hold anything; the start is the 20th field after it.
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  if (stat !== undefined) return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
  const asked = await promisify(execFile)('ps', ['-o', 'lstart=', '-p', String(pid)]).catch(() => undefined)
  return asked?.stdout.trim() ?? ''
}
