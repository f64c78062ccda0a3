import { homeTopics } from './phrases-home.ts'
import { outdoorTopics } from './phrases-outdoors.ts'
import { workTopics } from './phrases-work.ts'
import type { Topic } from './topic.ts'

export const topics: readonly Topic[] = [...homeTopics, ...outdoorTopics, ...workTopics]

/** Answers that fit under anything. */
export const generalReplies: readonly string[] = [
  'This made my {morning|evening|day|week}.',
  'I needed to read this today. Thank you.',
  'Could not agree more.',
  'Not sure I agree, but you have made me think about it.',
  'Same here, for {years|months|about a decade} now.',
  'Saving this for later.',
  'Ha! That is exactly what happened to me {last week|last year|on Tuesday}.',
  'Wait, really? I had no idea.',
  'Tell us how it {goes|turns out}!',
  'More of this, please.',
  'I read this out loud to my {sister|flatmate|husband|wife|dad|colleague} and we both laughed.',
  'How long did that take you?',
  'Honestly, good for you.',
  'The older I get, the more I think you are right.',
  'Asking for a friend: where does one even begin?',
  'Pictures or it did not happen.',
  'That is the most relatable thing I have read {all week|this month}.',
  'My grandmother said the same, and she was never wrong.',
  'Oh no. And oh yes.',
  'You have convinced me. Trying it this weekend.',
  'Nobody warns you about this part.',
  'It gets {easier|better|stranger} after the first {month|year}, promise.',
  'Counterpoint: {naps|soup|a long walk|doing nothing at all}.',
  'First time I see someone else say this. I feel less alone.',
  'Well put.',
  'Any chance you could share the details?',
  'Congratulations! Well deserved.',
  'I tried that once. Once.',
  'Bookmarked, and sent to three people.',
  'I was today years old when I learned this.',
  'Thank you for explaining it so kindly.',
  'Right? Right.',
]
