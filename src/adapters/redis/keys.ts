import type { StoredModel } from '../../index.ts'

/** The keys of one version of a read model. The braces put them into one hash slot of a cluster, so that one script may use them all. */
export interface RedisKeys {
  /**
   * Hash from key to `<position>:<version>:<JSON>`; empty JSON remembers a deleted row while its batch is under way, and until it is forgotten. In its
   * midst, under names that no key has, what is known of the whole: without {@link stateField} the version is not there.
   */
  readonly rows: string
  /** Hash from key to its index texts, so that the entries can be taken out again. */
  readonly texts: string
  /** Sorted set of the keys that have a row, all with score 0. */
  readonly keys: string
  /** Hash from key to why it is parked. */
  readonly parked: string
  /** Hash from key to partition: deleted rows that are remembered. */
  readonly deleted: string
  /** For each declared index a sorted set of `<text>\0<key>`, all with score 0. */
  readonly indexes: readonly string[]
}

/** `<format>|<how many keys are parked>|<checkpoints>`. With the rows, so that one plain command reads both in one step. */
export const stateField = '\0state'

/** Another one for each time that a version is made, so that what began before a flush does not end after it. */
export const incarnationField = '\0incarnation'

export function keysOf(prefix: string, { owner, name, version, indexes }: StoredModel): RedisKeys {
  const base = `${prefix}{${[owner, name, version].map(encodeURIComponent).join(':')}}`
  return {
    rows: `${base}:rows`,
    texts: `${base}:texts`,
    keys: `${base}:keys`,
    parked: `${base}:parked`,
    deleted: `${base}:deleted`,
    indexes: indexes.map((_, i) => `${base}:index:${i}`),
  }
}

/** In the order that the scripts expect. */
export function everyKey({ rows, texts, keys, parked, deleted, indexes }: RedisKeys): string[] {
  return [rows, texts, keys, parked, deleted, ...indexes]
}
