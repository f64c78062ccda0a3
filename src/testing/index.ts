/**
 * For tests: of applications, and of adapters.
 *
 * @module
 */

export { type ContractCase, databaseContract } from './database-contract.ts'
export { type Decided, type Given, given } from './given.ts'
export { type FoldedSpec, givenProjection, type HappenedEvent } from './given-projection.ts'
export { givenReaction, type ReactionSpec } from './given-reaction.ts'
export { logContract } from './log-contract.ts'
export { type ManualClock, manualClock } from './manual-clock.ts'
export { type StoreContractCase, type StoreContractOptions, storeContract } from './store-contract.ts'
