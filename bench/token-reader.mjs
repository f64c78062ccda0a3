// A process of fan-out's own: runs the same application, and answers each { postId, token, body } with how long a read with that token took.
import { headwater, silentLog } from 'headwater'
import { postgres } from 'headwater/postgres'
import { publishedPosts, queriesOver } from './community.mjs'

const { BENCH_URL = '', BENCH_SCHEMA = '', BENCH_TABLES = '', BENCH_UPDATE = '' } = process.env
const view = publishedPosts(BENCH_UPDATE === 'sync' ? 'sync' : 'async')
const database = postgres(BENCH_URL, { searchPath: BENCH_TABLES })
const app = headwater({ database, schema: BENCH_SCHEMA, readModels: { view }, queries: queriesOver(view), log: silentLog })
await app.start()

process.on('message', async ({ postId, token, body }) => {
  const began = performance.now()
  const { result } = await app.query('post', { postId }, { after: token, waitMs: 30_000 })
  process.send?.({ ms: performance.now() - began, right: result?.body === body })
})
process.on('disconnect', () => process.exit())
process.send?.('ready')
