import { consoleLog, headwater, query, type } from 'headwater'
import { postgres } from 'headwater/postgres'
import { balances, commands } from './accounts.mjs'

/*
 * A process that only answers queries: as many as it can, or as many as a share of a core allows. It says what it answered and what CPU it used.
 */

const [url, schema] = /** @type {[string, string]} */ (process.argv.slice(2))
const model = balances('balances')
const app = headwater({
  database: postgres(url, { applicationName: 'headwater bench reader' }),
  schema,
  commands,
  readModels: { model },
  queries: { balance: query('balance', { input: type(), reads: { model }, execute: ({ id }, { model }) => model.get(id) }) },
  log: consoleLog({ minimum: 'error' }),
})
await app.start({ roles: ['queries'] })

process.on('message', async (/** @type {any} */ message) => {
  if (message.ask === 'stop') {
    await app.stop()
    process.send?.({})
    process.disconnect()
    return
  }
  process.send?.(await answerFor(app, message))
})
process.send?.('ready')

/** @param {any} app @param {{ ids: readonly string[], clients: number, ms: number, share: number }} load */
async function answerFor(app, { ids, clients, ms, share }) {
  const began = performance.now()
  const before = process.cpuUsage()
  const used = () => {
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1000
  }
  let answered = 0
  const client = async (/** @type {number} */ first) => {
    for (let i = first; performance.now() - began < ms; i += clients) {
      const ahead = used() / share - (performance.now() - began)
      if (ahead > 0) await new Promise((resolve) => setTimeout(resolve, ahead))
      await app.query('balance', { id: ids[i % ids.length] })
      answered++
    }
  }
  await Promise.all(Array.from({ length: clients }, (_client, id) => client(id)))
  const took = performance.now() - began
  return { perSecond: answered / (took / 1000), cpu: used() / took }
}
