/**
 * A store inside the process, gone with it: for tests, and the shortest reading of what a store is.
 *
 * @module
 */

export { memory } from './memory.ts'
