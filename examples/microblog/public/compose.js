import { h, toast } from './dom.js'
import { avatar } from './format.js'
import { me } from './session.js'

const longest = 500

/** A form for a text of up to 500 characters. `send(text)` is called with it; when that fails the text stays. */
export function compose({ label, placeholder, action, send, value = '', onCancel, quiet = false }) {
  const user = me()
  if (!user) return h('p', { class: 'compose-hint' }, h('a', { href: '#/people' }, 'Sign in'), ' to write.')
  const left = h('span', { class: 'left', 'aria-live': 'polite' })
  const button = h('button', { class: 'button primary', type: 'submit', disabled: true }, action)
  const field = h('textarea', {
    'aria-label': label,
    placeholder,
    value,
    rows: 1,
    onkeydown: (event) => {
      if (event.key === 'Enter' && (event.metaKey || event.ctrlKey)) form.requestSubmit()
      if (event.key === 'Escape' && onCancel) onCancel()
    },
    oninput: () => update(),
  })
  const form = h(
    'form',
    { class: `compose ${quiet ? 'quiet' : ''}`, onsubmit: (event) => submit(event) },
    avatar(user.userId, user.name),
    h(
      'div',
      { class: 'compose-main' },
      field,
      h(
        'div',
        { class: 'compose-foot' },
        left,
        onCancel && h('button', { class: 'button', type: 'button', onclick: onCancel }, 'Cancel'),
        button,
      ),
    ),
  )

  function update() {
    const remaining = longest - field.value.length
    left.textContent = remaining < 100 ? String(remaining) : ''
    left.classList.toggle('over', remaining < 0)
    button.disabled = remaining < 0 || field.value.trim() === ''
    form.classList.toggle('filled', field.value !== '')
  }

  async function submit(event) {
    event.preventDefault()
    if (button.disabled) return
    const text = field.value.trim()
    button.disabled = true
    try {
      await send(text)
      field.value = ''
    } catch (error) {
      toast(error.message, 'problem')
    }
    update()
  }

  update()
  return form
}
