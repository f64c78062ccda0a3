import { consoleLog, headwater, query, type } from 'headwater'
import { postgres } from 'headwater/postgres'
import pg from 'pg'
import { balances, commands } from './accounts.mjs'
import { watchConnections } from './server-cpu.mjs'
import { storeOf } from './store-of.mjs'

/*
 * A process that only answers queries: as many as it can, or as many as a share of a core allows, in which what the write database does for it is counted.
 * It says what it answered and what CPU was used.
 */

const [url, schema, store] = /** @type {[string, string, string?]} */ (process.argv.slice(2))
const applicationName = 'headwater bench reader'
const model = balances('balances', store ? { store: storeOf(JSON.parse(store)) } : {})
const app = headwater({
  database: postgres(url, { applicationName }),
  schema,
  commands,
  readModels: { model },
  queries: { balance: query('balance', { input: type(), reads: { model }, execute: ({ id }, { model }) => model.get(id) }) },
  log: consoleLog({ minimum: 'error' }),
})
const pool = new pg.Pool({ connectionString: url, max: 1, application_name: 'headwater bench' })
await app.start({ roles: ['queries'] })

process.on('message', async (/** @type {any} */ message) => {
  if (message.ask === 'stop') {
    await app.stop()
    await pool.end()
    process.send?.({})
    process.disconnect()
    return
  }
  process.send?.(await answerFor(message))
})
process.send?.('ready')

/** @param {{ ids: readonly string[], clients: number, ms: number, share: number }} load */
async function answerFor({ ids, clients, ms, share }) {
  const connections = watchConnections(pool, applicationName)
  const began = performance.now()
  const before = process.cpuUsage()
  const own = () => {
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1000
  }
  let answered = 0
  const client = async (/** @type {number} */ first) => {
    for (let i = first; performance.now() - began < ms; i += clients) {
      const ahead = (own() + connections.usedMs()) / share - (performance.now() - began)
      if (ahead > 0) await new Promise((resolve) => setTimeout(resolve, ahead))
      await app.query('balance', { id: ids[i % ids.length] })
      answered++
    }
  }
  await Promise.all(Array.from({ length: clients }, (_client, id) => client(id)))
  const took = performance.now() - began
  return { perSecond: answered / (took / 1000), cpu: own() / took, serverCpu: (await connections.stop()) / took }
}
