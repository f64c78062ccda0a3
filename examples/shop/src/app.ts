import { headwater } from 'headwater'
import { pglite, postgres } from 'headwater/postgres'
import * as commands from './commands.ts'
import * as queries from './queries.ts'
import * as readModels from './read-models.ts'
import { readSettings } from './settings.ts'

const { DATABASE_URL, DATA_DIR } = process.env
const searchPath = 'shop'

export const settings = readSettings(process.argv.slice(2), process.env)
export const database = DATABASE_URL ? postgres(DATABASE_URL, { searchPath }) : pglite(DATA_DIR ?? '.data/shop', { searchPath })

export const app = headwater({ database, schema: 'headwater_shop', commands, readModels, queries })
