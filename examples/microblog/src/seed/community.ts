import { personName } from './names.ts'
import { Random, Zipf } from './random.ts'
import { postText, replyText, topicCount } from './texts.ts'

export interface CommunitySize {
  readonly users: number
  /** Posts that are no replies. */
  readonly posts: number
  readonly replies: number
  readonly likes: number
  readonly follows: number
}

export interface Person {
  readonly id: string
  readonly name: string
  readonly registeredAt: Date
  readonly interests: readonly number[]
}

export interface Post {
  readonly id: string
  readonly author: Person
  readonly body: string
  readonly publishedAt: Date
  readonly topic: number
  readonly inReplyTo: Post | undefined
}

export interface Like {
  readonly post: Post
  readonly person: Person
  readonly at: Date
}

export interface Follow {
  readonly follower: Person
  readonly followee: Person
  readonly at: Date
}

export interface Community {
  readonly people: readonly Person[]
  readonly posts: readonly Post[]
  readonly likes: readonly Like[]
  readonly follows: readonly Follow[]
}

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour
/** How far back the oldest posts lie. */
const history = 150 * day

/** A micro-blog as it might be after some months. The same seed and `now` make the same one. Popularity of people and posts follows Zipf's law. */
export function makeCommunity(size: CommunitySize, seed: number, now: Date): Community {
  const random = new Random(seed)
  const people = Array.from({ length: size.users }, () => makePerson(random, now))
  const posts = makePosts(random, people, size.posts, now)
  const all = [...posts, ...makeReplies(random, people, posts, size.replies, now)]
  return {
    people,
    posts: all,
    likes: makeLikes(random, people, all, size.likes, now),
    follows: makeFollows(random, people, size.follows, now),
  }
}

function makePerson(random: Random, now: Date): Person {
  const interests = random.shuffle(Array.from({ length: topicCount }, (_, topic) => topic)).slice(0, 2 + random.below(3))
  return { id: random.uuid(), name: personName(random), registeredAt: before(now, history + random.fraction() * 60 * day), interests }
}

/** Well-known people (the first ones) post more, recent days have more posts, and hardly anybody posts at four in the morning. */
function makePosts(random: Random, people: readonly Person[], count: number, now: Date): Post[] {
  const writers = new Zipf(people.length, 40)
  const written = new Set<string>()
  return Array.from({ length: count }, () => {
    const author = at(people, writers.draw(random))
    const topic = random.pick(author.interests)
    return {
      id: random.uuid(),
      author,
      body: unwritten(written, () => postText(random, topic)),
      publishedAt: before(now, minute + awake(random, now)),
      topic,
      inReplyTo: undefined,
    }
  })
}

/** Something nobody wrote before, if that can be had in a few tries. */
function unwritten(written: Set<string>, write: () => string): string {
  let text = write()
  for (let tries = 0; written.has(text) && tries < 8; tries++) text = write()
  written.add(text)
  return text
}

function awake(random: Random, now: Date): number {
  const age = history * random.fraction() ** 1.6
  const hourOfDay = new Date(now.getTime() - age).getUTCHours()
  return hourOfDay < 6 && random.chance(0.8) ? age + 8 * hour : age
}

/** Most answer a post, some an answer; busy threads get busier. */
function makeReplies(random: Random, people: readonly Person[], posts: readonly Post[], count: number, now: Date): Post[] {
  const threads = random.shuffle(posts).map((post) => [post])
  const busy = new Zipf(threads.length, 30)
  return Array.from({ length: count }, () => {
    const thread = at(threads, busy.draw(random))
    const inReplyTo = random.chance(0.7) ? at(thread, 0) : random.pick(thread)
    const author = random.chance(0.15) ? at(thread, 0).author : random.pick(people)
    const { topic } = inReplyTo
    const reply = {
      id: random.uuid(),
      author,
      body: replyText(random, topic, inReplyTo.author.name),
      publishedAt: soonAfter(random, inReplyTo.publishedAt, 3 * hour, now),
      topic,
      inReplyTo,
    }
    thread.push(reply)
    return reply
  })
}

function makeLikes(random: Random, people: readonly Person[], posts: readonly Post[], count: number, now: Date): Like[] {
  const byPopularity = random.shuffle(posts)
  const loved = new Zipf(posts.length, 20)
  return distinctPairs(
    count,
    () => [loved.draw(random), random.below(people.length)],
    (postRank, person) => {
      const post = at(byPopularity, postRank)
      return { post, person: at(people, person), at: soonAfter(random, post.publishedAt, 9 * hour, now) }
    },
  )
}

function makeFollows(random: Random, people: readonly Person[], count: number, now: Date): Follow[] {
  const known = new Zipf(people.length, 20)
  return distinctPairs(
    count,
    () => {
      const [follower, followee] = [random.below(people.length), known.draw(random)]
      return follower === followee ? undefined : [follower, followee]
    },
    (follower, followee) => ({
      follower: at(people, follower),
      followee: at(people, followee),
      at: before(now, random.fraction() * history),
    }),
  )
}

/** Draws pairs until there are `count` different ones, or almost none is left to draw. */
function distinctPairs<T>(count: number, draw: () => [number, number] | undefined, make: (a: number, b: number) => T): T[] {
  const drawn = new Set<number>()
  const made: T[] = []
  for (let tries = 0; made.length < count && tries < count * 20; tries++) {
    const pair = draw()
    if (!pair) continue
    const [a, b] = pair
    const key = a * 2 ** 26 + b
    if (drawn.has(key)) continue
    drawn.add(key)
    made.push(make(a, b))
  }
  return made
}

function before(time: Date, ms: number): Date {
  return new Date(time.getTime() - ms)
}

/** Some time later, and always before now. */
function soonAfter(random: Random, time: Date, meanMs: number, now: Date): Date {
  const age = now.getTime() - time.getTime()
  const wait = minute / 2 + random.exponential(meanMs)
  return new Date(time.getTime() + (wait < age ? wait : age * random.fraction()))
}

function at<T>(items: readonly T[], index: number): T {
  const item = items[index]
  if (item === undefined) throw new RangeError(`there is no item ${index} of ${items.length}`)
  return item
}
