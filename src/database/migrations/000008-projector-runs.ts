/** What each process could fold, so that ranges are shared out among those that can take them. */
export const sql = `
-- The versions of projections whose code the process has, and at which it did not fail.
alter table :schema.projector add column runs integer[] not null default '{}';
`
