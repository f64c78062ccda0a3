/** Tables, views and functions of every kind that the analysis of a SELECT tells apart, on the current schema. */
export const blog = `
create type mood as enum ('happy', 'sad');
create table users (id int primary key, name text, boss int);
create table posts (
  id int primary key, author_id int, body text, price numeric(10, 2), mood mood, published_at timestamptz,
  shouted text generated always as (upper(body)) stored
);
create table likes (post_id int, user_id int, at timestamptz, primary key (post_id, user_id));
create table tags (post_id int, tag text, primary key (post_id, tag));
create table replies (id int primary key, post_id int, body text);
insert into replies select n, n % 100, 'x' from generate_series(1, 12000) n;
analyze replies;
create table "Odd Name" (id int primary key);
create table measured (id int, n int, primary key (id, n)) partition by range (n);
create table measured_low partition of measured for values from (0) to (10);
create table measured_high partition of measured for values from (10) to (20) partition by range (n);
create table measured_high_one partition of measured_high for values from (10) to (20);
create table base (id int primary key, n int);
create table heir () inherits (base);
create unlogged table fleeting (id int primary key);
create table logs (id int) partition by range (id);
create unlogged table logs_one partition of logs for values from (0) to (9);
create sequence counter;
create materialized view totals as select author_id as id, count(*) as n from posts group by 1;
create view popular as select p.id, p.body, (select count(*) from likes l where l.post_id = p.id) as n from posts p;
create view top_three as select id from posts order by price limit 3;
create function opaque(int) returns int language plpgsql stable as 'begin return (select count(*) from likes where post_id = $1); end';
create function liar(int) returns int language sql immutable as 'select $1 + 1';
create function shaky(int) returns int language plpgsql as 'begin return $1; end';
create function plus_one(int, int) returns int language sql immutable as 'select $1 + $2';
create operator <+> (function = plus_one, leftarg = int, rightarg = int);
create aggregate own_sum(int) (sfunc = int4pl, stype = int, initcond = '0');
create function mood_number(mood) returns int language plpgsql immutable as 'begin return 1; end';
create cast (mood as int) with function mood_number(mood);
create view hidden as select id, opaque(id) as o from posts;
create function outer_one(int) returns int language sql stable begin atomic select opaque($1); end;
create function careless(int) returns int language sql begin atomic select $1; end;
create function tags_of(int) returns bigint language sql stable begin atomic select count(tag) from tags where post_id = $1; end;
create function tag_rows(int) returns table (tag text) language sql stable begin atomic select t.tag from tags t where t.post_id = $1; end;
create function first_tags() returns table (tag text) language sql stable begin atomic select t.tag from tags t order by 1 limit 3; end;
do $$ begin
  if current_setting('server_version_num')::int >= 180000 then
    execute 'create table virtual (id int primary key, n int, doubled int generated always as (n * 2) virtual)';
  end if;
end $$;
`
