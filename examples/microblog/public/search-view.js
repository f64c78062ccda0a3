import { query } from './api.js'
import { emptyState, h, icon } from './dom.js'
import { feed } from './feed.js'
import { heading } from './heading.js'

/** Search as one types. The address holds the words, so that a search can be kept and shared. */
export async function searchView(text) {
  const results = h('div', { 'aria-live': 'polite' })
  let latest = 0
  let timer

  async function search(words) {
    const mineIs = ++latest
    history.replaceState(null, '', words ? `#/search?text=${encodeURIComponent(words)}` : '#/search')
    const node = await resultsOf(words).catch((error) => emptyState('That did not work', error.message))
    if (mineIs === latest) results.replaceChildren(node)
  }

  const field = h('input', {
    type: 'search',
    id: 'search-field',
    value: text,
    placeholder: 'Words, names, "exact phrases", -without',
    autocomplete: 'off',
    maxLength: 200,
    oninput: () => {
      clearTimeout(timer)
      timer = setTimeout(() => search(field.value.trim()), 150)
    },
  })
  const submit = (event) => {
    event.preventDefault()
    search(field.value.trim())
  }
  results.append(await resultsOf(text))
  const form = h(
    'form',
    { class: 'search', role: 'search', onsubmit: submit },
    h('label', { for: 'search-field', class: 'hidden' }, 'Search posts'),
    icon('search'),
    field,
  )
  return { title: text ? `Search: ${text}` : 'Search', node: h('div', {}, heading('Search'), form, results), focus: field }
}

async function resultsOf(text) {
  if (!text) return emptyState('Search all posts', 'By their words or the name of who wrote them.')
  const found = await feed({
    load: (after) => query('searchPosts', { text, after }),
    empty: ['Nothing found', `No post has all of “${text}”.`],
  })
  return found.node
}
