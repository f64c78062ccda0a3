/**
 * Headwater over HTTP: a fetch-style handler for commands, queries and status.
 *
 * @module
 */

export { type HandlerOptions, handler, type ServedApp } from './handler.ts'
export type { Problem } from './problem.ts'
