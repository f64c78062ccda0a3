/**
 * A process that writes and then reads what it wrote, under the token of the write and under the sum of all its tokens. Prints how many
 * answers were from before a write that they had to hold.
 */
import { command, headwater, query, silentLog, type as typeOf } from 'headwater'
import { postgres } from 'headwater/postgres'
import { postsView } from './blog.ts'

const { url, tables, schema, pairs, first } = JSON.parse(process.argv[2] ?? '{}') as {
  url: string
  tables: string
  schema: string
  pairs: number
  first: number
}
const editPost = command('editPost', {
  input: typeOf<{ id: number; body: string }>(),
  execute: async ({ id, body }, { sql }) => void (await sql`update posts set body = ${body} where id = ${id}`),
})
const [inStep, soonAfter] = [postsView('sync', 'in_step'), postsView('async', 'soon_after')]
const postsByIds = query('postsByIds', {
  input: typeOf<{ ids: number[] }>(),
  reads: { inStep, soonAfter },
  execute: async ({ ids }, { inStep, soonAfter }) => ({ sync: await inStep.getMany(ids), async: await soonAfter.getMany(ids) }),
})
const app = headwater({
  database: postgres(url, { searchPath: tables, poolSize: 4 }),
  schema,
  commands: { editPost },
  readModels: { inStep, soonAfter },
  queries: { postsByIds },
  log: silentLog,
})
await app.start()
const wrong: string[] = []
const written = new Map<number, string>()
let token: string | undefined
for (let i = 0; i < pairs; i++) {
  // A handful of posts that only this process edits, so that the newest body is known.
  const id = first + (i % 5)
  const body = `${process.pid} ${i}`
  const executed = await app.execute('editPost', { id, body }, token === undefined ? {} : { after: token })
  token = executed.token
  written.set(id, body)
  const { result } = await app.query('postsByIds', { ids: [...written.keys()] }, { after: token, waitMs: 30_000 })
  for (const [mode, rows] of Object.entries(result)) {
    for (const [known, expected] of written) {
      const found = rows.find((row) => row.id === known)?.body
      if (found !== expected) wrong.push(`${mode}: post ${known}: ${found} instead of ${expected}`)
    }
  }
}
await app.stop()
process.stdout.write(`${JSON.stringify({ pairs, wrong: wrong.length, tokenLength: token?.length ?? 0, examples: wrong.slice(0, 3) })}\n`)
