/** Which definitions of a view were ever seen, and in which order; who works on views in other stores. */
export const sql = `
-- Outlives the versions, so that a process with an older definition is known as such when its version is gone. 'place' is the order.
create table :schema.view_definition (
  name text not null references :schema.read_model on delete cascade,
  fingerprint text not null,
  version integer not null,
  place integer not null,
  primary key (name, fingerprint)
);
insert into :schema.view_definition (name, fingerprint, version, place)
select v.name, v.fingerprint, max(v.version), max(v.version) from :schema.view v group by v.name, v.fingerprint;
`
