import { execute, query } from './api.js'
import { compose } from './compose.js'
import { emptyState, h } from './dom.js'
import { feed } from './feed.js'
import { heading } from './heading.js'
import { postCard } from './post-card.js'
import { me, mine } from './session.js'

const deepest = 12
const toEveryone = () => location.assign('#/')

/** A post with what it answers above and its answers below. */
export async function threadView(postId) {
  const post = await query('post', { postId })
  if (!post) {
    const text = 'It was deleted, or it never was.'
    return { title: 'Post', node: h('div', {}, heading('Post', { back: true }), emptyState('This post is not here', text)) }
  }
  const above = await ancestors(post)
  const { liked } = await mine({ postIds: [post, ...above].map(({ postId }) => postId) })
  const answers = await feed({
    load: (after) => query('replies', { postId, after }),
    empty: ['No replies yet', me() ? 'Yours could be the first.' : undefined],
    card: { inThread: true },
  })
  const large = (item) => postCard(item, { large: true, inThread: true, liked: liked.has(item.postId), onGone: toEveryone })
  let shown = large(post)
  const answer = compose({
    label: `Reply to ${post.author}`,
    placeholder: `Reply to ${post.author}`,
    action: 'Reply',
    async send(body) {
      const id = crypto.randomUUID()
      await execute('reply', { postId: id, inReplyTo: postId, authorId: me().userId, body })
      const [item, parent] = await Promise.all([query('post', { postId: id }), query('post', { postId })])
      if (item) await answers.appendItems([item])
      if (!parent) return
      const fresh = large(parent)
      shown.replaceWith(fresh)
      shown = fresh
    },
  })
  const chain = above.map((item) => postCard(item, { inThread: true, liked: liked.has(item.postId) }))
  const node = h(
    'div',
    { class: 'thread' },
    heading('Thread', { back: true }),
    above.length > 0 && h('div', { class: 'chain' }, chain),
    shown,
    answer,
    h('h2', { class: 'quiet-heading' }, 'Replies'),
    answers.node,
  )
  return { title: `${post.author}: ${post.body.slice(0, 40)}`, node, focus: above.length > 0 ? shown : undefined }
}

/** The posts this one answers, the first of the thread first. */
async function ancestors(post) {
  const found = []
  for (let id = post.inReplyTo; id && found.length < deepest; id = found[0].inReplyTo) {
    const parent = await query('post', { postId: id })
    if (!parent) break
    found.unshift(parent)
  }
  return found
}
