import { execute, query } from './api.js'
import { compose } from './compose.js'
import { h, icon, toast } from './dom.js'
import { avatar, bodyText, longDate, plural, shortCount, snippetText, time } from './format.js'
import { me } from './session.js'

/**
 * One post. `options.large` is the one a page is about, `options.liked` whether one likes it, `options.onGone` is called when it was deleted.
 */
export function postCard(item, options = {}) {
  const nameId = `by-${item.postId}`
  const text = h('div', { class: 'body' }, item.snippet === undefined ? bodyText(item.body) : snippetText(item.snippet))
  const card = h(
    'article',
    { class: `post ${options.large ? 'large' : ''}`, 'aria-labelledby': nameId, tabIndex: 0, 'data-post': item.postId },
    h(
      'a',
      { class: 'avatar-link', href: `#/user/${item.authorId}`, tabIndex: -1, 'aria-hidden': 'true' },
      avatar(item.authorId, item.author),
    ),
    h(
      'div',
      { class: 'post-main' },
      h(
        'header',
        {},
        h('a', { class: 'author', id: nameId, href: `#/user/${item.authorId}` }, item.author),
        !options.large &&
          h('a', { class: 'when', href: `#/post/${item.postId}`, 'aria-label': longDate(item.publishedAt) }, time(item.publishedAt)),
      ),
      item.inReplyTo && !options.inThread && h('a', { class: 'context', href: `#/post/${item.inReplyTo}` }, 'in reply to a post'),
      text,
      options.large && h('time', { class: 'full', dateTime: item.publishedAt }, longDate(item.publishedAt)),
      actions(item, options),
    ),
  )
  if (!options.large) card.addEventListener('click', (event) => open(event, item))

  card.addEventListener('edit', () => edit(item, text))
  card.addEventListener('delete', () => confirmDelete(item, () => (options.onGone ? options.onGone() : card.remove())))
  return card
}

function actions(item, { liked = false }) {
  const own = me()?.userId === item.authorId
  return h(
    'div',
    { class: 'actions' },
    h(
      'a',
      {
        class: 'action',
        href: `#/post/${item.postId}`,
        'aria-label': `${item.replies} ${plural(item.replies, 'reply', 'replies')}: read and answer`,
      },
      icon('reply'),
      h('span', { class: 'number' }, item.replies ? shortCount(item.replies) : ''),
    ),
    likeButton(item, liked),
    own && ownAction('edit', 'Edit this post'),
    own && ownAction('delete', 'Delete this post'),
  )
}

function ownAction(name, label) {
  const ask = (event) => event.currentTarget.dispatchEvent(new Event(name, { bubbles: true }))
  return h(
    'button',
    { class: 'action own', type: 'button', 'aria-label': label, title: label, onclick: ask },
    icon(name === 'edit' ? 'edit' : 'trash'),
  )
}

/** Shows the like at once, then what the read model says; takes it back when the server refuses. */
function likeButton(item, liked) {
  let on = liked
  let likes = item.likes
  const number = h('span', { class: 'number' })
  const button = h('button', { class: 'action like', type: 'button', onclick: toggle }, icon('heart'), number)

  function show() {
    button.setAttribute('aria-pressed', String(on))
    button.setAttribute('aria-label', `${likes} ${plural(likes, 'like', 'likes')}: ${on ? 'take back mine' : 'like'}`)
    number.textContent = likes ? shortCount(likes) : ''
  }

  async function toggle() {
    const user = me()
    if (!user) return toast('Sign in to like posts.')
    const before = { on, likes }
    on = !on
    likes += on ? 1 : -1
    show()
    try {
      await execute(on ? 'like' : 'unlike', { postId: item.postId, userId: user.userId })
      const fresh = await query('post', { postId: item.postId })
      if (fresh) likes = fresh.likes
    } catch (error) {
      on = before.on
      likes = before.likes
      toast(error.code === 'unknown_post' ? 'This post is gone.' : error.message, 'problem')
    }
    show()
  }

  show()
  return button
}

function edit(item, text) {
  const form = compose({
    label: 'Edit the post',
    placeholder: '',
    action: 'Save',
    value: item.body ?? text.textContent,
    quiet: true,
    onCancel: () => form.replaceWith(text),
    async send(body) {
      await execute('editPost', { postId: item.postId, body })
      const fresh = await query('post', { postId: item.postId })
      item.body = fresh?.body ?? body
      text.replaceChildren(...bodyText(item.body))
      form.replaceWith(text)
      toast('Saved.')
    },
  })
  text.replaceWith(form)
  form.querySelector('textarea').focus()
}

function confirmDelete(item, onGone) {
  const remove = async () => {
    dialog.close()
    try {
      await execute('deletePost', { postId: item.postId })
      toast('Deleted.')
      onGone()
    } catch (error) {
      toast(error.message, 'problem')
    }
  }
  const dialog = h(
    'dialog',
    { 'aria-label': 'Delete this post?', onclose: () => dialog.remove() },
    h('p', { class: 'dialog-title' }, 'Delete this post?'),
    h('p', {}, 'Its likes go with it. Replies stay, as posts of their own.'),
    h(
      'div',
      { class: 'dialog-foot' },
      h('button', { class: 'button', type: 'button', onclick: () => dialog.close() }, 'Keep it'),
      h('button', { class: 'button danger', type: 'button', onclick: remove }, 'Delete'),
    ),
  )
  document.body.append(dialog)
  dialog.showModal()
}

function open(event, item) {
  if (event.target.closest('a, button, textarea, form, dialog') || getSelection()?.toString()) return
  location.hash = `#/post/${item.postId}`
}
