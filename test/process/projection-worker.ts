/** A process that folds read models until it is told to stop, or killed. */
import { type ChildOptions, open } from './projection-models.ts'

const { worker, database } = open(JSON.parse(process.argv[2] ?? '{}') as ChildOptions, { fold: true })
process.on('SIGTERM', () => {
  void worker
    .stop()
    .then(() => database.close())
    .then(() => process.exit(0))
})
await worker.start()
process.stdout.write('ready\n')
