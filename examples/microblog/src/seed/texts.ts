import { generalReplies, topics } from './phrases.ts'
import type { Random } from './random.ts'
import type { Topic } from './topic.ts'

export const topicCount = topics.length

/** What somebody might post about a topic. */
export function postText(random: Random, topic: number): string {
  const { posts, tails, slots, tag } = topicAt(topic)
  const body = fill(random, random.pick(posts), slots)
  const tail = random.chance(0.35) ? ` ${fill(random, random.pick(tails), slots)}` : ''
  const label = random.chance(0.12) ? ` #${tag}` : ''
  return cut(body + tail + label)
}

/** What somebody might answer to a post about that topic by a person of that name. */
export function replyText(random: Random, topic: number, author: string): string {
  const { replies, slots } = topicAt(topic)
  const about = fill(random, random.pick(replies), slots)
  const general = fill(random, random.pick(generalReplies), slots)
  const text = random.chance(0.5) ? about : random.chance(0.4) ? `${general} ${about}` : general
  return random.chance(0.08) ? cut(`${author.split(' ')[0]}, ${lowerFirst(text)}`) : cut(text)
}

function topicAt(index: number): Topic {
  const topic = topics[index % topics.length]
  if (!topic) throw new RangeError(`there is no topic ${index}`)
  return topic
}

/** Puts words into a template: `{name}` is one of the topic's words of that name, `{a|b}` one of those. Sentences begin with a capital. */
function fill(random: Random, template: string, slots: Topic['slots']): string {
  return template.replaceAll(/(^|[.!?] )?\{([^{}]+)\}/g, (_whole, begin: string | undefined, slot: string) => {
    const words = random.pick(slots[slot] ?? slot.split('|'))
    return begin === undefined ? words : begin + words.charAt(0).toUpperCase() + words.slice(1)
  })
}

/** "That is it" in the middle of a sentence, while "I" and names in capitals stay as they are. */
function lowerFirst(text: string): string {
  return /^(I\b|I'|[A-Z]{2})/.test(text) ? text : text.charAt(0).toLowerCase() + text.slice(1)
}

function cut(text: string): string {
  return text.length <= 500 ? text : `${text.slice(0, 499)}…`
}
