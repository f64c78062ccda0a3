import { query } from './api.js'
import { h, icon } from './dom.js'
import { avatar, plural, shortCount } from './format.js'
import { me } from './session.js'

/** The name of the place, the ways through it, and who one is. */
export function renderSide(path) {
  const user = me()
  const links = [
    ['#/', 'everyone', 'Everyone'],
    ['#/home', 'home', 'Following'],
    ['#/search', 'search', 'Search'],
    [user ? `#/user/${user.userId}` : '#/people', 'person', user ? 'Profile' : 'Sign in'],
  ]
  const isHere = (href) => (href === '#/' ? path === '/' || path === '' : `#${path}`.startsWith(href))
  const link = ([href, drawing, text]) =>
    h('a', { class: 'nav-link', href, 'aria-current': isHere(href) ? 'page' : undefined }, icon(drawing), h('span', {}, text))
  document
    .getElementById('side')
    .replaceChildren(
      h(
        'a',
        { class: 'brand', href: '#/', 'aria-label': 'Brook: everyone' },
        h('img', { src: '/icon.svg', alt: '', width: 30, height: 30 }),
        h('span', {}, 'Brook'),
      ),
      h('nav', { 'aria-label': 'Pages' }, links.map(link)),
      user
        ? h(
            'a',
            { class: 'whoami', href: '#/people', 'aria-label': `You are ${user.name}. Be somebody else` },
            avatar(user.userId, user.name),
            h('span', { class: 'whoami-text' }, h('strong', {}, user.name), h('span', {}, 'Be somebody else')),
          )
        : h('a', { class: 'button primary whoami-button', href: '#/people' }, 'Sign in'),
    )
}

/** The people most follow. */
export async function renderAside() {
  const box = document.getElementById('aside')
  const { items } = await query('people', { limit: 6 }).catch(() => ({ items: [] }))
  if (items.length === 0) return box.replaceChildren()
  const row = (person) =>
    h(
      'li',
      {},
      h(
        'a',
        { href: `#/user/${person.userId}` },
        avatar(person.userId, person.name, 'small'),
        h(
          'span',
          {},
          h('strong', {}, person.name),
          h('span', {}, `${shortCount(person.followers)} ${plural(person.followers, 'follower', 'followers')}`),
        ),
      ),
    )
  box.replaceChildren(
    h('section', { class: 'panel' }, h('h2', {}, 'Widely read'), h('ul', {}, items.map(row))),
    h(
      'section',
      { class: 'panel keys' },
      h('h2', {}, 'Keys'),
      h(
        'dl',
        {},
        [
          ['j k', 'next, previous post'],
          ['l', 'like it'],
          ['↵', 'open it'],
          ['n', 'write'],
          ['/', 'search'],
        ].map(([key, text]) =>
          h(
            'div',
            {},
            h(
              'dt',
              {},
              key.split(' ').map((one) => h('kbd', {}, one)),
            ),
            h('dd', {}, text),
          ),
        ),
      ),
    ),
  )
}
