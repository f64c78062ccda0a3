import type { Database } from 'headwater'

/** What became of a version, in the order in which it became so. */
export interface Happened {
  readonly name: string
  readonly version: number
  /** A state of the version; `active`: queries read it from now on. */
  readonly state: string
  readonly error: string | null
  readonly code: string | null
}

/** Has the database write down what becomes of versions of read models, so that nothing escapes that is over before anybody looks. */
export async function recordHistory(database: Database, schema: string): Promise<void> {
  const s = `"${schema}"`
  const { rows } = await database.query<{ tables: string }>('select quote_ident(current_schema()) as tables')
  const history = `${rows[0]?.tables}.history`
  await database.query(`
    create table ${history} (id serial primary key, name text not null, version int not null, state text not null, error text, code text);
    create function ${history}_of_view() returns trigger language plpgsql as $$ begin
      insert into ${history} (name, version, state, error) values (new.name, new.version, new.state, new.error);
      return null;
    end $$;
    create function ${history}_of_projection() returns trigger language plpgsql as $$ begin
      insert into ${history} (name, version, state, error, code) values (new.name, new.version, new.state, new.error, new.error_code);
      return null;
    end $$;
    create function ${history}_of_active() returns trigger language plpgsql as $$ begin
      insert into ${history} (name, version, state)
        select new.name, v.version, 'active' from ${s}.view v where v.id = new.active and v.name = new.name
        union all select new.name, p.version, 'active' from ${s}.projection p where p.id = new.active and p.name = new.name;
      return null;
    end $$;
    create trigger history_insert after insert on ${s}.view for each row execute function ${history}_of_view();
    create trigger history after update on ${s}.view for each row when (old.state is distinct from new.state) execute function ${history}_of_view();
    create trigger history_insert after insert on ${s}.projection for each row execute function ${history}_of_projection();
    create trigger history after update on ${s}.projection for each row when (old.state is distinct from new.state)
      execute function ${history}_of_projection();
    create trigger history after update on ${s}.read_model for each row when (old.active is distinct from new.active)
      execute function ${history}_of_active();
  `)
}

export async function readHistory(database: Database): Promise<readonly Happened[]> {
  return (await database.query<Happened>('select name, version, state, error, code from history order by id')).rows
}
