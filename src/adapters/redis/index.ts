/**
 * Read models in Redis (6.2 or newer, or a server that speaks like it, with scripts).
 *
 * @module
 */

export type { RedisClient } from './connection.ts'
export type { RedisKeys } from './keys.ts'
export { type RedisNative, type RedisOptions, type RedisStore, redis } from './redis.ts'
