import { execute, query } from './api.js'
import { compose } from './compose.js'
import { h, icon } from './dom.js'
import { feed } from './feed.js'
import { plural } from './format.js'
import { heading } from './heading.js'
import { me } from './session.js'

/** Everybody's posts. */
export async function everyoneView(signal) {
  const load = (before) => query('timeline', { before })
  return await timelineView('Everyone', load, ['Nothing here yet', 'Be the first to write something.'], signal)
}

/** The posts of the people one follows. */
export async function homeView(signal) {
  const user = me()
  if (!user) return { title: 'Following', node: h('div', {}, heading('Following'), signInHint()) }
  const load = (before) => query('homeTimeline', { userId: user.userId, before })
  const find = h('a', { class: 'button', href: '#/people' }, 'Find people')
  return await timelineView('Following', load, ['Nothing here yet', 'Follow somebody, and their posts come here.', find], signal)
}

function signInHint() {
  return h('p', { class: 'state' }, h('a', { href: '#/people' }, 'Sign in'), ' to see the posts of the people you follow.')
}

async function timelineView(title, load, empty, signal) {
  const posts = await feed({ load, empty })
  const news = h('div', { class: 'news' })
  const writing = compose({
    label: 'Write a post',
    placeholder: 'What is going on?',
    action: 'Publish',
    async send(body) {
      const user = me()
      const postId = crypto.randomUUID()
      await execute('publishPost', { postId, authorId: user.userId, body })
      const item = await query('post', { postId })
      if (item) await posts.prepend([item])
    },
  })
  watchForNews(load, posts, news, signal)
  return { title, node: h('div', {}, heading(title), writing, news, posts.node) }
}

/** Looks every few seconds whether others wrote something, and offers it without moving what one reads. */
function watchForNews(load, posts, box, signal) {
  const look = async () => {
    if (document.hidden) return
    const { items } = await load(undefined).catch(() => ({ items: [] }))
    const first = items.findIndex(({ postId }) => posts.has(postId))
    const fresh = items.slice(0, first === -1 ? items.length : first)
    if (signal.aborted || fresh.length === 0) return box.replaceChildren()
    const show = async () => {
      box.replaceChildren()
      await posts.prepend(fresh)
      scrollTo({ top: 0, behavior: matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth' })
    }
    const text = `Show ${fresh.length} new ${plural(fresh.length, 'post', 'posts')}`
    box.replaceChildren(h('button', { class: 'button news-button', type: 'button', onclick: show }, icon('up'), text))
  }
  const timer = setInterval(look, 4000)
  signal.addEventListener('abort', () => clearInterval(timer))
}
