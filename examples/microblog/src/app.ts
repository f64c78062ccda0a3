import { headwater } from 'headwater'
import { pglite, postgres } from 'headwater/postgres'
import * as commands from './commands.ts'
import * as queries from './queries.ts'
import * as readModels from './read-models.ts'

const { DATABASE_URL, DATA_DIR } = process.env
const searchPath = 'microblog'

export const database = DATABASE_URL ? postgres(DATABASE_URL, { searchPath }) : pglite(DATA_DIR ?? '.data/microblog', { searchPath })

export const app = headwater({ database, schema: 'headwater_microblog', commands, readModels, queries })
