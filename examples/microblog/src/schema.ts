/**
 * The write side: a normalised schema in which every fact stands once. Headwater asks nothing of it; these are the tables a team already has.
 *
 * A reply is a post with a row in `replies`. When the post it answers is deleted that row goes with it, and the reply stays as a post of its own.
 * The indexes beyond the keys are there for the read models: counting by post and by person, and finding what a changed row touches.
 */
export const schema = `
  create table if not exists users (
    id            uuid primary key,
    name          text not null check (char_length(name) between 1 and 50),
    registered_at timestamptz not null default clock_timestamp()
  );

  create table if not exists posts (
    id           uuid primary key,
    author_id    uuid not null references users on delete cascade,
    body         text not null check (char_length(body) between 1 and 500),
    published_at timestamptz not null default clock_timestamp()
  );
  create index if not exists posts_by_author on posts (author_id);

  create table if not exists replies (
    reply_id    uuid primary key references posts on delete cascade,
    in_reply_to uuid not null references posts on delete cascade
  );
  create index if not exists replies_by_post on replies (in_reply_to);

  create table if not exists likes (
    post_id  uuid not null references posts on delete cascade,
    user_id  uuid not null references users on delete cascade,
    liked_at timestamptz not null default clock_timestamp(),
    primary key (post_id, user_id)
  );
  create index if not exists likes_by_user on likes (user_id);

  create table if not exists follows (
    follower_id uuid not null references users on delete cascade,
    followee_id uuid not null references users on delete cascade,
    followed_at timestamptz not null default clock_timestamp(),
    primary key (follower_id, followee_id)
  );
  create index if not exists follows_by_followee on follows (followee_id);
`
