import { drawing } from './dom.js'

/** What stands for the things of a department, on a square of 100: each a few plain forms. */
const forms = [
  [
    ['path', { d: 'M28 44h36v22a14 14 0 0 1-14 14h-8a14 14 0 0 1-14-14z' }],
    ['path', { d: 'M64 50h6a9 9 0 0 1 0 18h-6', class: 'line' }],
    ['path', { d: 'M38 22c-4 5 4 7 0 13M54 22c-4 5 4 7 0 13', class: 'line' }],
  ],
  [
    ['path', { d: 'M34 20h32l14 32H20z' }],
    ['path', { d: 'M50 52v28M34 82h32', class: 'line' }],
  ],
  [
    ['path', { d: 'M30 54h40l-6 30H36z' }],
    ['path', { d: 'M50 54c0-18-16-14-18-30 14 0 18 10 18 18 0-10 6-20 20-20-2 16-20 16-20 32z', class: 'light' }],
  ],
  [
    ['rect', { x: 30, y: 22, width: 40, height: 58, rx: 3 }],
    ['path', { d: 'M40 38h20M40 48h20M40 58h12', class: 'line' }],
  ],
  [
    ['path', { d: 'M50 20l32 58H18z' }],
    ['path', { d: 'M50 46l14 32H36z', class: 'light' }],
  ],
  [
    ['circle', { cx: 50, cy: 50, r: 28 }],
    ['circle', { cx: 50, cy: 50, r: 12, class: 'light' }],
  ],
]

function numberOf(text) {
  let sum = 0
  for (const letter of text) sum = (sum * 31 + letter.codePointAt(0)) % 9973
  return sum
}

const known = ['Kitchen', 'Home', 'Garden', 'Study', 'Outdoors']

/** A picture of a product: the form of its department, in colours of its own. */
export function artOf({ productId, category }, size = '') {
  const department = category.split('/')[0]
  const place = known.indexOf(department)
  const form = place >= 0 ? place : numberOf(department) % forms.length
  const tone = Number.parseInt(productId.slice(0, 6), 16) % 8
  return drawing(`art tone-${tone} ${size}`, '0 0 100 100', [['circle', { cx: 50, cy: 52, r: 40, class: 'ground' }], ...forms[form]])
}
