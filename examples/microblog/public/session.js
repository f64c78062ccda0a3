import { query } from './api.js'

const storageKey = 'brook.user'

/** Who is signed in here, or undefined. There are no passwords: this is an example, and anybody may be anybody. */
export function me() {
  const stored = localStorage.getItem(storageKey)
  return stored ? JSON.parse(stored) : undefined
}

export function signIn({ userId, name }) {
  localStorage.setItem(storageKey, JSON.stringify({ userId, name }))
  dispatchEvent(new Event('signed-in'))
}

export function signOut() {
  localStorage.removeItem(storageKey)
  dispatchEvent(new Event('signed-in'))
}

/** Makes sure that whoever is signed in is still here, under the name they have now. */
export async function refreshMe() {
  const user = me()
  if (!user) return
  const profile = await query('profile', { userId: user.userId })
  if (!profile) signOut()
  else if (profile.name !== user.name) signIn(profile)
}

/** Which of these one likes and follows, as sets. */
export async function mine({ postIds = [], userIds = [] }) {
  const user = me()
  if (!user || postIds.length + userIds.length === 0) return { liked: new Set(), following: new Set() }
  const answer = await query('mine', { userId: user.userId, postIds, userIds })
  return { liked: new Set(answer.liked), following: new Set(answer.following) }
}
