import type { Database } from 'headwater'
import { expect } from 'vitest'

/**
 * Has the database itself note every move of a checkpoint and every row that is written, with the transaction it belongs to: what an owner wrote
 * that was none any more would show, even where a later one wrote over it. Tables are those of version 1 of projections in the write database.
 */
export class MoveAudit {
  readonly #database: Database
  readonly #schema: string
  readonly #models: readonly string[]

  constructor(database: Database, schema: string, models: readonly string[]) {
    this.#database = database
    this.#schema = schema
    this.#models = models
  }

  async install(): Promise<void> {
    const s = `"${this.#schema}"`
    await this.#database.query(
      `create table ${s}.audit_move (n bigserial primary key, tx xid8 not null default pg_current_xact_id(), model text not null, first int not null,
         was bigint not null, reached bigint not null);
       create table ${s}.audit_row (n bigserial primary key, tx xid8 not null default pg_current_xact_id(), model text not null, key text not null,
         was bigint, position bigint);
       create function ${s}.audit_moves() returns trigger language plpgsql security definer as $$ begin
         insert into ${s}.audit_move (model, first, was, reached)
         select p.name, new.first, old.position, new.position from ${s}.projection p where p.id = new.projection and p.store is null;
         return null; end $$;
       create function ${s}.audit_rows() returns trigger language plpgsql security definer as $$ begin
         insert into ${s}.audit_row (model, key, was, position) values (tg_argv[0], coalesce(new.key, old.key), old.position, new.position);
         return null; end $$;
       create trigger audit after update on ${s}.checkpoint for each row when (old.position is distinct from new.position)
         execute function ${s}.audit_moves();
       ${this.#models
         .map(
           (model) => `create trigger audit after insert or update or delete on ${s}."${model}_v1" for each row
             execute function ${s}.audit_rows('${model}');`,
         )
         .join('\n')}`,
    )
  }

  /**
   * Each checkpoint moved on from where it stood and never back, to the head in the end; each row was written by a transaction that moved a checkpoint
   * over just the events that are in it.
   */
  async check(head: number): Promise<{ readonly moves: number; readonly rows: number }> {
    const s = `"${this.#schema}"`
    const { rows: moves } = await this.#database.query<{ model: string; first: number; was: number; reached: number }>(
      `select model, first, was, reached from ${s}.audit_move order by n`,
    )
    const places = new Map<string, number>()
    for (const { model, first, was, reached } of moves) {
      const range = `${model} ${first}`
      expect([range, was]).toEqual([range, places.get(range) ?? 0])
      expect(reached).toBeGreaterThan(was)
      places.set(range, reached)
    }
    expect([...new Set(moves.map(({ model }) => model))].toSorted()).toEqual(this.#models.toSorted())
    expect([...places].filter(([, place]) => place !== head)).toEqual([])
    const { rows: wrong } = await this.#database.query(
      `select r.* from ${s}.audit_row r where not exists (
         select from ${s}.audit_move m where m.tx = r.tx and m.model = r.model
           and (r.position is null or r.position > m.was and r.position <= m.reached) and (r.was is null or r.was <= m.was))`,
    )
    expect(wrong).toEqual([])
    const { rows: counted } = await this.#database.query<{ rows: number }>(`select count(*)::int as rows from ${s}.audit_row`)
    return { moves: moves.length, rows: counted[0]?.rows ?? 0 }
  }
}
