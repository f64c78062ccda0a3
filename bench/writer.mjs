import { randomUUID } from 'node:crypto'
import { consoleLog, headwater } from 'headwater'
import { postgres } from 'headwater/postgres'
import { commands } from './accounts.mjs'
import { openEmmett } from './peers/emmett.mjs'
import { closedLoop } from './timing.mjs'

/*
 * A process that writes: commands of one event to new streams, so many in flight. It is told how, says that it is ready, waits for `go`, and answers with
 * what it did.
 */

const [side, url, schema, clients] = /** @type {[string, string, string, string]} */ (process.argv.slice(2))
const opened = side === 'emmett' ? openPeer() : await openHeadwater()

process.once('message', async (/** @type {{ ms: number }} */ { ms }) => {
  const figures = await closedLoop({ clients: Number(clients), ms }, opened.write)
  await opened.close()
  process.send?.(figures, () => process.disconnect())
})
// The first append opens the connections and makes the plans.
await opened.write()
process.send?.('ready')

async function openHeadwater() {
  const database = postgres(url, { poolSize: clients === '1' ? 2 : 4, applicationName: 'headwater bench' })
  const app = headwater({ database, schema, commands, log: consoleLog({ minimum: 'error' }) })
  await app.start()
  return { write: () => app.execute('open', { id: randomUUID(), amount: 1 }), close: () => app.stop() }
}

function openPeer() {
  const emmett = openEmmett(url, { poolSize: Math.min(Number(clients), 10) })
  return { write: () => emmett.append(randomUUID()), close: () => emmett.close() }
}
