import { execute, query } from './api.js'
import { emptyState, h, toast } from './dom.js'
import { feed } from './feed.js'
import { avatar, month, plural, shortCount } from './format.js'
import { heading } from './heading.js'
import { me, mine, signIn } from './session.js'

/** A person: counts, a way to follow them (or, if that is oneself, to change one's name), and what they wrote. */
export async function profileView(userId, tab) {
  const person = await query('profile', { userId })
  if (!person) {
    return {
      title: 'Profile',
      node: h('div', {}, heading('Profile', { back: true }), emptyState('Nobody of that name', 'This person is not here.')),
    }
  }
  const replies = tab === 'replies'
  const own = me()?.userId === userId
  const [posts, { following }] = await Promise.all([
    feed({
      load: (before) => query('userPosts', { userId, replies, before }),
      empty: [replies ? 'No replies yet' : 'No posts yet', own ? undefined : `${person.name} has been quiet.`],
    }),
    mine({ userIds: [userId] }),
  ])
  const node = h('div', {}, heading('Profile', { back: true }), card(person, own, following.has(userId)), tabs(userId, replies), posts.node)
  return { title: person.name, node }
}

function card(person, own, follows) {
  const box = h('section', { class: 'profile', 'aria-label': person.name })
  const show = (fresh, followed) =>
    box.replaceChildren(
      avatar(fresh.userId, fresh.name, 'big'),
      h(
        'div',
        { class: 'profile-main' },
        h('h2', { class: 'profile-name' }, fresh.name),
        h('p', { class: 'since' }, `since ${month(fresh.registeredAt)}`),
      ),
      own ? renameButton(box, fresh, (renamed) => show(renamed, false)) : followButton(fresh, followed, show),
      counts(fresh),
    )
  show(person, follows)
  return box
}

function counts(person) {
  const all = [
    [person.posts, 'post', 'posts'],
    [person.replies, 'reply', 'replies'],
    [person.followers, 'follower', 'followers'],
    [person.following, 'following', 'following'],
    [person.likes, 'like received', 'likes received'],
  ]
  return h(
    'dl',
    { class: 'counts' },
    all.map(([number, one, many]) => h('div', {}, h('dd', {}, shortCount(number)), h('dt', {}, plural(number, one, many)))),
  )
}

function followButton(person, follows, show) {
  const user = me()
  if (!user) return undefined
  const toggle = async () => {
    button.disabled = true
    try {
      await execute(follows ? 'unfollow' : 'follow', { userId: user.userId, followeeId: person.userId })
      show(await query('profile', { userId: person.userId }), !follows)
    } catch (error) {
      button.disabled = false
      toast(error.message, 'problem')
    }
  }
  const button = h(
    'button',
    { class: `button ${follows ? '' : 'primary'} follow`, type: 'button', 'aria-pressed': String(follows), onclick: toggle },
    follows ? 'Following' : 'Follow',
  )
  return button
}

function renameButton(box, person, show) {
  const begin = () => {
    const field = h('input', { class: 'rename-field', 'aria-label': 'Your name', value: person.name, maxLength: 50, required: true })
    const cancel = () => show(person)
    const form = h(
      'form',
      {
        class: 'rename',
        onsubmit: (event) => {
          event.preventDefault()
          rename(field.value.trim())
        },
        onkeydown: (event) => event.key === 'Escape' && cancel(),
      },
      field,
      h('button', { class: 'button primary', type: 'submit' }, 'Save'),
      h('button', { class: 'button', type: 'button', onclick: cancel }, 'Cancel'),
    )
    box.querySelector('.profile-main').replaceChildren(form)
    box.querySelector('.rename-begin').remove()
    field.select()
  }
  const rename = async (name) => {
    try {
      await execute('renameUser', { userId: person.userId, name })
      signIn({ userId: person.userId, name })
      toast('You have a new name.')
    } catch (error) {
      toast(error.errors[0]?.message ?? error.message, 'problem')
    }
  }
  return h('button', { class: 'button rename-begin', type: 'button', onclick: begin }, 'Change name')
}

function tabs(userId, replies) {
  const tab = (text, href, current) => h('a', { href, class: 'tab', 'aria-current': current ? 'page' : undefined }, text)
  return h(
    'nav',
    { class: 'tabs', 'aria-label': 'What they wrote' },
    tab('Posts', `#/user/${userId}`, !replies),
    tab('Replies', `#/user/${userId}/replies`, replies),
  )
}
