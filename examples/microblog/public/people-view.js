import { execute, query } from './api.js'
import { emptyState, h, toast } from './dom.js'
import { avatar, plural, shortCount } from './format.js'
import { heading } from './heading.js'
import { me, signIn, signOut } from './session.js'

/** Whom to be: anybody who is here, or somebody new. */
export async function peopleView() {
  const list = h('ul', { class: 'people', 'aria-live': 'polite' })
  let latest = 0
  async function show(text) {
    const mineIs = ++latest
    const { items } = await query('people', { text, limit: 30 })
    if (mineIs !== latest) return
    list.replaceChildren(...items.map(personRow))
    if (items.length === 0)
      list.append(h('li', {}, emptyState('Nobody found', 'Names are matched from their beginning, as they are written.')))
  }
  const field = h('input', {
    type: 'search',
    id: 'people-field',
    placeholder: 'Find by name',
    autocomplete: 'off',
    maxLength: 50,
    oninput: () => show(field.value.trim()).catch((error) => toast(error.message, 'problem')),
  })
  await show('')
  const node = h(
    'div',
    {},
    heading('Who are you?'),
    h('p', { class: 'lead' }, 'There are no passwords here: be anybody, or somebody new. This browser remembers your choice.'),
    registerForm(),
    h('div', { class: 'search' }, h('label', { for: 'people-field', class: 'hidden' }, 'Find a person by name'), field),
    list,
  )
  return { title: 'Sign in', node }
}

function registerForm() {
  const field = h('input', { id: 'register-field', placeholder: 'Your name', autocomplete: 'name', maxLength: 50, required: true })
  const register = async (event) => {
    event.preventDefault()
    const person = { userId: crypto.randomUUID(), name: field.value.trim() }
    try {
      await execute('registerUser', person)
      enter(person)
    } catch (error) {
      toast(error.errors[0]?.message ?? error.message, 'problem')
    }
  }
  const user = me()
  return h(
    'form',
    { class: 'register', onsubmit: register },
    h('label', { for: 'register-field', class: 'hidden' }, 'Your name'),
    field,
    h('button', { class: 'button primary', type: 'submit' }, 'Join'),
    user && h('button', { class: 'button', type: 'button', onclick: signOut }, `Sign out ${user.name}`),
  )
}

function personRow(person) {
  return h(
    'li',
    { class: 'person' },
    avatar(person.userId, person.name),
    h(
      'div',
      {},
      h('a', { class: 'author', href: `#/user/${person.userId}` }, person.name),
      h('p', { class: 'since' }, `${shortCount(person.followers)} ${plural(person.followers, 'follower', 'followers')}`),
    ),
    h('button', { class: 'button', type: 'button', 'aria-label': `Sign in as ${person.name}`, onclick: () => enter(person) }, 'Sign in'),
  )
}

function enter(person) {
  signIn(person)
  toast(`Hello, ${person.name}.`)
  location.hash = '#/'
}
