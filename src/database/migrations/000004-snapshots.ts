/** States of aggregates, so that a long stream is not read from its start. */
export const sql = `
-- The state of a stream after its first 'version' events. Only code with the same fingerprint reads it; any row may be deleted at any time.
create table :schema.snapshot (
  aggregate text collate "C" not null,
  stream text collate "C" not null,
  version integer not null,
  fingerprint text not null,
  state json not null,
  taken_at timestamptz not null default pg_catalog.clock_timestamp(),
  primary key (aggregate, stream)
);
`
