import { describe, test } from 'vitest'
import { databaseStore } from '../../src/read-model/database-store.ts'
import { storeContract } from '../../src/testing/store-contract.ts'
import { databases, freshSchema } from '../support/databases.ts'

for (const target of databases) {
  describe.skipIf(target.skip)(`the store in another database, on ${target.name}`, async () => {
    const schema = freshSchema('store')
    const database = target.skip ? undefined : await target.open()
    const open = async () => {
      if (!database) throw new Error('skipped')
      return databaseStore(database, schema, { home: false })
    }
    for (const { name, run, skip } of storeContract(open)) test.skipIf(skip)(name, run)
  })
}
