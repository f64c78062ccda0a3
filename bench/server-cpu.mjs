import { readFile } from 'node:fs/promises'
import { sleep } from './timing.mjs'

/**
 * Adds up what the server's processes for the connections of an application use, where the server runs on this machine and tells; else 0.
 * @param {import('pg').Pool} pool with an application name of its own
 * @param {string} applicationName
 */
export function watchConnections(pool, applicationName) {
  /** @type {Map<number, { first: number, last: number }>} */
  const used = new Map()
  /** @type {readonly number[]} */
  let pids = []
  const find = async () => {
    const { rows } = await pool.query('select pid from pg_stat_activity where application_name = $1', [applicationName])
    pids = rows.map(({ pid }) => pid)
  }
  const look = async () => {
    for (const pid of pids) {
      const now = await cpuMsOf(pid)
      if (now !== undefined) used.set(pid, { first: used.get(pid)?.first ?? now, last: now })
    }
  }
  const usedMs = () => [...used.values()].reduce((sum, { first, last }) => sum + last - first, 0)
  let running = true
  const done = (async () => {
    for (let looks = 0; running; looks++) {
      if (looks % 4 === 0) await find()
      await look()
      await sleep(30)
    }
    await find()
    await look()
  })()
  return {
    /** Milliseconds of CPU, as of the last look, some hundredths of a second ago. */
    usedMs,
    async stop() {
      running = false
      await done
      return usedMs()
    },
  }
}

/** Linux alone tells, in hundredths of a second. @param {number} pid */
async function cpuMsOf(pid) {
  try {
    const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? []
    return (Number(fields[11]) + Number(fields[12])) * 10
  } catch {
    return undefined
  }
}
