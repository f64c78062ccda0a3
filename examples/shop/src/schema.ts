/**
 * The write side's tables. What was ordered is not among them: orders are events. Headwater asks nothing of these tables.
 *
 * `stock` has a table of its own because it is locked and written by every order, `prices` because they change for other reasons than products do.
 * `order_ids` is where an order's id can be taken once: streams of events take any number.
 */
export const schema = `
  create table if not exists categories (
    id   integer generated always as identity primary key,
    path text not null unique check (path <> '')
  );

  create table if not exists products (
    id          uuid primary key,
    name        text not null check (name <> ''),
    words       text[] not null,
    category_id integer not null references categories
  );
  create index if not exists products_by_category on products (category_id);

  create table if not exists prices (
    product_id uuid primary key references products on delete cascade,
    price      integer not null check (price >= 0)
  );

  create table if not exists stock (
    product_id uuid primary key references products on delete cascade,
    quantity   bigint not null check (quantity >= 0)
  );

  create table if not exists ratings (
    product_id  uuid not null references products on delete cascade,
    customer_id uuid not null,
    stars       smallint not null check (stars between 1 and 5),
    primary key (product_id, customer_id)
  );

  create table if not exists order_ids (
    id uuid primary key
  );
`
