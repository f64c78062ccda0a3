import { uuid } from './ids.js'

const storageKeys = { cart: 'quay.cart', customer: 'quay.customer', order: 'quay.order' }
const changed = new EventTarget()

/** Who shops in this browser. */
export const customerId = localStorage.getItem(storageKeys.customer) ?? uuid()
localStorage.setItem(storageKeys.customer, customerId)

/** What is in the cart: quantities by product. What they are called and cost is asked each time. */
export function cartLines() {
  const lines = JSON.parse(localStorage.getItem(storageKeys.cart) ?? '[]')
  return lines.filter(({ quantity }) => quantity > 0)
}

export function cartCount() {
  return cartLines().reduce((sum, { quantity }) => sum + quantity, 0)
}

export function addToCart(productId, quantity) {
  const before = cartLines().find((line) => line.productId === productId)?.quantity ?? 0
  setQuantity(productId, before + quantity)
}

/** 0 takes it out. */
export function setQuantity(productId, quantity) {
  const lines = cartLines()
  const line = lines.find((one) => one.productId === productId)
  if (line) line.quantity = Math.min(quantity, 1000)
  else lines.push({ productId, quantity: Math.min(quantity, 1000) })
  store(lines.filter((one) => one.quantity > 0))
}

export function emptyCart() {
  localStorage.removeItem(storageKeys.order)
  store([])
}

/** The id under which these lines are ordered: the same until the cart is emptied or holds something else. */
export function orderIdFor(lines) {
  const wanted = JSON.stringify(lines)
  const kept = JSON.parse(localStorage.getItem(storageKeys.order) ?? 'null')
  if (kept?.wanted === wanted) return kept.orderId
  const orderId = uuid()
  localStorage.setItem(storageKeys.order, JSON.stringify({ orderId, wanted }))
  return orderId
}

export function onCartChange(listen) {
  changed.addEventListener('change', listen)
  addEventListener('storage', listen)
}

function store(lines) {
  localStorage.setItem(storageKeys.cart, JSON.stringify(lines))
  changed.dispatchEvent(new Event('change'))
}
