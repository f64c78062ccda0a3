import { h, icon } from './dom.js'

/** The line at the top of a page. With `back`, a way back. */
export function heading(title, { back = false } = {}) {
  const goBack = () => {
    if (history.length > 1) history.back()
    else location.hash = '#/'
  }
  return h(
    'div',
    { class: 'heading' },
    back && h('button', { class: 'round', type: 'button', 'aria-label': 'Back', onclick: goBack }, icon('back')),
    h('h1', { tabIndex: -1 }, title),
  )
}
