import { describe, expect, it } from 'vitest'
import { makeCommunity } from '../src/seed/community.ts'

const size = { users: 300, posts: 900, replies: 900, likes: 5000, follows: 4000 }
const now = new Date('2026-01-01T00:00:00Z')

describe('the made-up community', () => {
  const community = makeCommunity(size, 7, now)

  it('is the same each time', () => {
    expect(makeCommunity(size, 7, now)).toStrictEqual(community)
    expect(makeCommunity(size, 8, now).people[0]?.id).not.toBe(community.people[0]?.id)
  })

  it('has as many of each as asked for, and no pair twice', () => {
    const { people, posts, likes, follows } = community
    expect([people.length, posts.length, likes.length, follows.length]).toStrictEqual([300, 1800, 5000, 4000])
    expect(posts.filter(({ inReplyTo }) => inReplyTo)).toHaveLength(900)
    expect(new Set([...people, ...posts].map(({ id }) => id)).size).toBe(2100)
    expect(new Set(likes.map(({ post, person }) => `${post.id} ${person.id}`)).size).toBe(5000)
    expect(new Set(follows.map(({ follower, followee }) => `${follower.id} ${followee.id}`)).size).toBe(4000)
    expect(follows.every(({ follower, followee }) => follower !== followee)).toBe(true)
  })

  it('holds nothing that the commands would refuse, and nothing from the future', () => {
    for (const { name } of community.people) expect(name).toMatch(/^\S.{0,48}\S$/u)
    for (const { body, publishedAt, inReplyTo } of community.posts) {
      expect(body).toMatch(/^[^{}|]{1,500}$/u)
      expect(publishedAt.getTime()).toBeLessThan(now.getTime())
      if (inReplyTo) expect(publishedAt.getTime()).toBeGreaterThan(inReplyTo.publishedAt.getTime())
    }
    for (const { post, at } of community.likes) expect(at.getTime()).toBeGreaterThan(post.publishedAt.getTime())
  })

  it('has few who are widely read, and many who are not', () => {
    const followers = new Map<string, number>()
    for (const { followee } of community.follows) followers.set(followee.id, (followers.get(followee.id) ?? 0) + 1)
    const counts = [...followers.values()].sort((a, b) => b - a)
    expect(counts[0]).toBeGreaterThan(5 * (counts[150] ?? 0))
  })
})
