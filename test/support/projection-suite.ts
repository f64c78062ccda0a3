import { type Database, silentLog } from 'headwater'
import { afterEach, beforeEach } from 'vitest'
import type { Projection } from '../../src/projection/projection-definition.ts'
import { type ProjectionHandle, projectionHandle } from '../../src/projection/projection-handle.ts'
import { projectionStatuses } from '../../src/projection/projection-status.ts'
import { ProjectionWorker, type ProjectionWorkerOptions } from '../../src/projection/worker.ts'
import { freshSchema, type Target } from './databases.ts'
import { type Ledger, openLedger } from './ledger.ts'

/**
 * For each test of a suite a database with a ledger, and workers, which are stopped after the test. The suite calls this before it has hooks of its
 * own: those find what the test has `opened`. The workers are over `ledger()`, so that a test may put another in its place.
 */
export function projectionSuite(target: Target, ledger: () => Ledger) {
  let database: Database
  let schema: string
  let own: Ledger
  let worker: ProjectionWorker | undefined
  const workers: ProjectionWorker[] = []

  beforeEach(async () => {
    database = await target.open()
    schema = freshSchema()
    worker = undefined
    own = await openLedger(database, schema, { companion: () => worker?.companion, onAppended: () => worker?.wake(), log: silentLog })
  })

  afterEach(async () => {
    for (const one of workers.splice(0)) await one.stop()
    await database.query(`drop schema if exists "${schema}" cascade`)
    await database.close()
  })

  async function started(projections: unknown, options: Partial<ProjectionWorkerOptions> = {}): Promise<ProjectionWorker> {
    const one = new ProjectionWorker(ledger().runtime, {
      projections: (Array.isArray(projections) ? projections : [projections]) as Projection[],
      pollIntervalMs: 20,
      rollbackWindowMs: 86_400_000,
      ...options,
    })
    worker = one
    workers.push(one)
    await one.start()
    return one
  }

  async function stopped(one: ProjectionWorker): Promise<void> {
    workers.splice(workers.indexOf(one), 1)
    await one.stop()
  }

  async function statusOf(one: ProjectionWorker, name = 'balances') {
    await one.refresh()
    const statuses = await projectionStatuses(ledger().runtime, one.versions, {
      defined: new Set(one.own.map(({ version }) => version.name)),
      storeOf: (version) => one.placeOf(version)?.store,
      trouble: (id) => one.trouble(id),
    })
    return statuses.find((status) => status.name === name)
  }

  function handleOf(one: ProjectionWorker, name = 'balances'): ProjectionHandle {
    return projectionHandle(ledger().runtime, one, name, () => statusOf(one, name))
  }

  return { opened: () => ({ database, schema, ledger: own }), workers, started, stopped, statusOf, handleOf }
}
