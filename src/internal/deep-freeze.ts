/**
 * Freezes plain objects and arrays all the way down, so that whoever changes one by mistake is told at once. What is frozen is taken to be so all
 * the way, so freezing what was made from frozen parts costs no more than making it did. Class instances are left as they are.
 */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  if (!Array.isArray(value) && !isPlain(value)) return value
  Object.freeze(value)
  for (const part of Object.values(value)) deepFreeze(part)
  return value
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
