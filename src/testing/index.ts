/**
 * For tests: of applications, and of adapters.
 *
 * @module
 */

export { type ContractCase, databaseContract } from './database-contract.ts'
export { type ManualClock, manualClock } from './manual-clock.ts'
