import { emptyState, h } from './dom.js'
import { postCard } from './post-card.js'
import { mine } from './session.js'

/**
 * A list of posts that loads more as one reads. `load(cursor)` gives `{ items, next }`, `empty` is what stands there when there is nothing.
 * Resolves when the first page is there.
 */
export async function feed({ load, empty, card = {} }) {
  const list = h('div', { class: 'feed', role: 'feed', 'aria-busy': 'false' })
  const more = h('button', { class: 'button more', type: 'button', onclick: () => loadMore() }, 'Show more')
  const box = h('div', {}, list)
  const seen = new Set()
  let next

  async function append(cursor) {
    list.setAttribute('aria-busy', 'true')
    const page = await load(cursor)
    list.append(...(await cardsOf(page.items)))
    next = page.next
    list.setAttribute('aria-busy', 'false')
    if (next) box.append(more)
    else more.remove()
  }

  /** A post that moved to another page meanwhile is not shown twice. */
  async function cardsOf(items) {
    const fresh = items.filter(({ postId }) => !seen.has(postId))
    const { liked } = await mine({ postIds: fresh.map(({ postId }) => postId) })
    return fresh.map((item) => {
      seen.add(item.postId)
      return postCard(item, { ...card, liked: liked.has(item.postId) })
    })
  }

  async function loadMore() {
    more.disabled = true
    try {
      await append(next)
    } catch (error) {
      more.textContent = `${error.message} Try again.`
    }
    more.disabled = false
  }

  await append(undefined)
  if (seen.size === 0 && empty) list.append(emptyState(...empty))
  new IntersectionObserver(([entry]) => entry.isIntersecting && !more.disabled && loadMore(), { rootMargin: '600px' }).observe(more)

  return {
    node: box,
    has: (postId) => seen.has(postId),
    async prepend(items) {
      list.querySelector('.state')?.remove()
      const cards = await cardsOf(items)
      list.prepend(...cards)
      for (const card of cards) card.classList.add('fresh')
    },
    async appendItems(items) {
      list.querySelector('.state')?.remove()
      list.append(...(await cardsOf(items)))
    },
  }
}
