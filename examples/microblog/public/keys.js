/** One key for what one does often. None works while one is writing. */
export function startKeys() {
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest('input, textarea, dialog')) return
    const post = event.target.closest('.post')
    if (event.key === 'Enter' && event.target === post && post) location.hash = `#/post/${post.dataset.post}`
    const act = actions[event.key]
    if (!act) return
    event.preventDefault()
    act(post)
  })
}

const actions = {
  j: (post) => step(post, 1),
  k: (post) => step(post, -1),
  l: (post) => post?.querySelector('.like').click(),
  n: () => {
    const field = document.querySelector('main .compose textarea')
    if (field) field.focus()
    else location.hash = '#/'
  },
  '/': () => {
    location.hash = '#/search'
  },
}

function step(post, direction) {
  const posts = [...document.querySelectorAll('main .post')]
  const next = posts[post ? posts.indexOf(post) + direction : 0]
  next?.focus()
  next?.scrollIntoView({ block: 'nearest' })
}
