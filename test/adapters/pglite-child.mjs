// A process that holds a PGlite directory and may be killed: `node pglite-child.mjs <what> <directory>`. It runs what was built.
import { pglite } from 'headwater/postgres'

const [, , what, directory] = process.argv
const database = pglite(directory)

if (what === 'hold') {
  await database.query('select 1')
  console.log('held')
  setInterval(() => {}, 1000)
} else if (what === 'write') {
  await database.query('create table written (n int primary key)')
  for (let n = 1; ; n++) {
    await database.query('insert into written values ($1)', [n], { prepare: true })
    console.log(n)
  }
} else if (what === 'close') {
  await database.query('select 1')
  await database.close()
  console.log('closed')
} else if (what === 'leave') {
  await database.query('select 1')
  console.log('idle')
}
