import { type Database, type Mode, materializedView, type as typeOf } from 'headwater'

/** The smallest schema with a fan-out, a child table and a cascade. */
export const blogTables = `
  create table users (id int primary key, name text not null);
  create table posts (id int primary key, author_id int not null references users, body text not null);
  create index posts_author on posts (author_id);
  create table likes (post_id int not null references posts on delete cascade, user_id int not null, primary key (post_id, user_id));
`

export interface PostRow {
  id: number
  body: string
  author: string
  likes: number
}

export const postSelect = `select p.id, p.body, u.name as author, (select count(*) from likes l where l.post_id = p.id) as likes
  from posts p join users u on u.id = p.author_id`

/** A join with one fan-out: renaming a user touches all of that user's posts. */
export function postsView(update: Mode, name = 'posts_view') {
  return materializedView(name, {
    row: typeOf<PostRow>(),
    key: 'id',
    select: postSelect,
    changedBy: { posts: 'id', likes: 'post_id', users: { sql: 'select id from posts where author_id = $1', params: ['id'] } },
    indexes: { byAuthor: ['author'] },
    update,
  })
}

/** What the view should hold. */
export async function expectedPosts(database: Database): Promise<readonly PostRow[]> {
  return (await database.query<PostRow>(`${postSelect} order by p.id`)).rows
}

/** What it holds. */
export async function storedPosts(database: Database, schema: string, name = 'posts_view'): Promise<readonly PostRow[]> {
  return (await database.query<PostRow>(`select id, body, author, likes from "${schema}"."${name}" order by id`)).rows
}
