import { consoleLog, headwater } from 'headwater'
import { postgres } from 'headwater/postgres'
import { balances, commands } from './accounts.mjs'

/*
 * A process that folds. Asked to `watch` it says what CPU it used in so long; asked to `settle` it says how long it took to hold everything, and how much
 * memory it had meanwhile.
 */

const [url, schema, ...names] = /** @type {[string, string, ...string[]]} */ (process.argv.slice(2))
const app = headwater({
  database: postgres(url, { applicationName: 'headwater bench folder' }),
  schema,
  commands,
  readModels: Object.fromEntries(names.map((name) => [name, balances(name, { foldMs: Number(process.env.FOLD_MS ?? 0) })])),
  log: consoleLog({ minimum: 'error' }),
})

/** @type {Record<string, (message: never) => Promise<unknown>>} */
const answers = {
  start: async () => {
    const [began, memory] = [performance.now(), watchMemory()]
    await app.start()
    await app.settle()
    return { ms: performance.now() - began, rss: memory.stop() }
  },
  watch: async ({ ms }) => {
    const before = process.cpuUsage()
    await new Promise((resolve) => setTimeout(resolve, ms))
    const { user, system } = process.cpuUsage(before)
    return { cpuMs: (user + system) / 1000 }
  },
  settle: async () => {
    const began = performance.now()
    await app.settle()
    return { ms: performance.now() - began }
  },
  stop: async () => {
    await app.stop()
    return {}
  },
}

process.on('message', async (/** @type {any} */ message) => {
  const answer = await answers[message.ask]?.(message)
  process.send?.(answer)
  if (message.ask === 'stop') process.disconnect()
})
process.send?.('ready')

/** MiB of resident memory, ten times a second. */
function watchMemory() {
  /** @type {number[]} */
  const samples = []
  const timer = setInterval(() => samples.push(process.memoryUsage.rss() / 2 ** 20), 100)
  return {
    stop() {
      clearInterval(timer)
      return samples
    },
  }
}
