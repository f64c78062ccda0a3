/**
 * What reactions have seen, and the commands they have yet to send.
 *
 * A checkpoint and the tasks of the events up to it are written by one statement, so an event is turned into commands once, whoever tries. A task
 * goes when its command was answered. Its id is the command's idempotency key: a process that dies in between leaves a task whose command
 * is answered from its record.
 */
export const sql = `
-- One reaction, for as long as the application lives: never versioned. It begins at the head of the log when it is first seen.
create table :schema.reaction (
  name text primary key,
  position bigint not null,
  -- Of the event at that position: a witness that the log is still the one that was read. Null at the beginning of an empty log.
  event_id uuid,
  -- Who works on it. The lease decides who tries, never who may: that is the compare-and-set of the checkpoint, and the idempotency keys.
  owner uuid,
  lease_until timestamptz,
  error text,
  created_at timestamptz not null default pg_catalog.clock_timestamp()
);

-- A command to send, in the order of events and, for one event, as the handler returned them. command null: the handler itself failed.
create table :schema.reaction_task (
  id text primary key,
  reaction text not null references :schema.reaction on delete cascade,
  event_id uuid not null,
  ordinal integer not null,
  position bigint not null,
  -- Tasks of one key are carried out one after the other: a later one waits behind one that fails.
  key text not null,
  command text,
  input json,
  correlation_id text,
  due_at timestamptz not null,
  attempts integer not null default 0,
  -- 'skipped' ones stay, with the reason in error, as a record of what was left out.
  state text not null default 'waiting' check (state in ('waiting', 'parked', 'skipped')),
  error text,
  created_at timestamptz not null default pg_catalog.clock_timestamp()
);
create index reaction_task_due on :schema.reaction_task (reaction, due_at, position, ordinal) where state = 'waiting';
create index reaction_task_order on :schema.reaction_task (reaction, key, position, ordinal) where state <> 'skipped';
`
