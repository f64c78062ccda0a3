import { query, status } from './api.js'
import { h, showIn } from './dom.js'
import { every } from './every.js'
import { count, milliseconds, money, monthName, plural, thisMonth } from './format.js'

/** What stands at the right: transfers under way, and the month's report, or how far its making is. */
export function startMargin() {
  const [moving, report] = [h('section', { class: 'note' }), h('section', { class: 'note', id: 'report' })]
  document.getElementById('margin').replaceChildren(report, moving)
  every(1000, async () => showTransfers(moving))
  every(1000, async () => showReport(report))
}

async function showTransfers(box) {
  const { items, inProgress } = await query('transfersUnderWay', { limit: 8 }, { patient: false })
  showIn(box, [items, inProgress], () =>
    [
      h('h2', {}, 'Under way'),
      items.length === 0 ? h('p', { class: 'soft' }, 'No transfer is under way.') : h('ul', { class: 'moving' }, items.map(movingRow)),
      inProgress > items.length && h('p', { class: 'soft' }, `and ${count(inProgress - items.length)} more`),
    ].filter(Boolean),
  )
}

function movingRow({ from, to, amount, inTransit }) {
  return h(
    'li',
    {},
    h('span', { class: 'amount' }, money(amount)),
    h('span', {}, `${from ?? 'nobody'} → ${to ?? 'nobody'}`),
    h('small', {}, inTransit > 0 ? 'in between' : 'asked for, or just arrived'),
  )
}

async function showReport(box) {
  const model = (await status()).find(({ name }) => name === 'monthly_report')
  if (!model) return showIn(box, 'none', noReport)
  if (model.state === 'building') return showIn(box, model.build ?? model.state, () => building(model))
  const report = await query('monthlyReport', { month: thisMonth() }, { patient: false })
  showIn(box, report, () => [h('h2', {}, monthName(report.month)), figures(report)])
}

function figures({ deposits, withdrawals, transfers, accounts }) {
  const line = (label, value, kind = '') => h('div', {}, h('dt', {}, label), h('dd', { class: `amount ${kind}` }, value))
  return h(
    'dl',
    { class: 'figures' },
    line('Paid in', money(deposits)),
    line('Paid out', money(withdrawals), 'out'),
    line('Moved', money(transfers)),
    line('Accounts opened', count(accounts)),
  )
}

function building({ build }) {
  const { keysDone = 0, keysTotal = 0, etaMs, startedAt } = build ?? {}
  const share = keysTotal > 0 ? keysDone / keysTotal : 0
  const seconds = startedAt ? Math.max(0.001, (Date.now() - new Date(startedAt)) / 1000) : 0
  return [
    h('h2', {}, 'Monthly report'),
    h('p', { class: 'soft' }, 'It is being folded from everything that has ever happened here. Nothing waits for it.'),
    h('progress', { max: 1, value: share, 'aria-label': 'How far the report is' }),
    h(
      'p',
      { class: 'progress-line' },
      h('strong', {}, `${Math.floor(100 * share)} %`),
      h('span', {}, keysTotal > 0 ? `${count(keysDone)} of ${plural(keysTotal, 'event', 'events')}` : 'beginning'),
      seconds > 1 && keysDone > 0 && h('span', {}, `${count(Math.round(keysDone / seconds))}/s`),
      etaMs !== undefined && etaMs !== null && h('span', {}, `${milliseconds(etaMs)} left`),
    ),
  ]
}

function noReport() {
  return [
    h('h2', {}, 'Monthly report'),
    h(
      'p',
      { class: 'soft' },
      'There is none yet. Start the ledger with ',
      h('code', {}, 'REPORT=1'),
      ' and watch it being made from what has happened so far.',
    ),
  ]
}
