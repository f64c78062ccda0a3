/** What tells two writers apart that find a checkpoint at the same place. */
export const sql = `
-- Raised by every batch that leaves the checkpoint where it is (a retry, a repair): whoever waited for it looked at rows that have changed since.
alter table :schema.checkpoint add column turn integer not null default 0;
`
