/** A node of PostgreSQL's own text of a parsed statement (`pg_node_tree`): its type and its fields. */
export interface TreeNode {
  readonly type: string
  readonly fields: ReadonlyMap<string, TreeValue>
}

/** What a field holds: a node, a list, a word (numbers and booleans are words), or null for `<>`. */
export type TreeValue = TreeNode | readonly TreeValue[] | string | null

interface Token {
  readonly raw: string
  readonly value: string
}

/**
 * Reads the text of a `pg_node_tree`: `{NODE :field value ...}`, `(lists)`, `<>`, words with backslash escapes, and the bytes of a
 * constant, `4 [ 1 0 0 0 ]`, which become a list of words.
 * @throws {SyntaxError} when the text is none.
 */
export function parseNodeTree(text: string): TreeValue {
  const reader = new Reader(text)
  const value = reader.value()
  if (!reader.ended) throw new SyntaxError('node tree: something follows its end')
  return value
}

const token = /\s*([(){}]|(?:\\[\s\S]|[^\s(){}\\])+)/y

class Reader {
  readonly #tokens: Token[] = []
  #at = 0

  constructor(text: string) {
    token.lastIndex = 0
    for (let match = token.exec(text); match; match = token.exec(text)) {
      const raw = match[1] ?? ''
      this.#tokens.push({ raw, value: raw.replace(/\\([\s\S])/g, '$1') })
    }
  }

  get ended(): boolean {
    return this.#at === this.#tokens.length
  }

  value(): TreeValue {
    const { raw, value } = this.#next()
    if (raw === '{') return this.#node()
    if (raw === '(') return this.#list()
    if (raw === '<>') return null
    return raw.length > 1 && raw.startsWith('"') && raw.endsWith('"') ? value.slice(1, -1) : value
  }

  #node(): TreeNode {
    const type = this.#next().value
    const fields = new Map<string, TreeValue>()
    while (this.#peek() !== '}') {
      const name = this.#next().value
      if (!name.startsWith(':')) throw new SyntaxError(`node tree: a field of ${type} begins with ${name}`)
      fields.set(name.slice(1), name === ':constvalue' ? this.#datum() : this.value())
    }
    this.#next()
    return { type, fields }
  }

  /** The first word of `(i 1 2)`, `(o 1 2)`, `(x 1 2)` and `(b 1 2)` only tells what kind of numbers they are. */
  #list(): readonly TreeValue[] {
    const items: TreeValue[] = []
    if (['i', 'o', 'x', 'b'].includes(this.#peek())) this.#next()
    while (this.#peek() !== ')') items.push(this.value())
    this.#next()
    return items
  }

  #datum(): TreeValue {
    const length = this.value()
    if (length === null || this.#peek() !== '[') return length
    this.#next()
    const bytes: string[] = []
    while (this.#peek() !== ']') bytes.push(this.#next().value)
    this.#next()
    return bytes
  }

  #peek(): string {
    const next = this.#tokens[this.#at]
    if (!next) throw new SyntaxError('node tree: it ends too early')
    return next.raw
  }

  #next(): Token {
    const next = this.#tokens[this.#at++]
    if (!next) throw new SyntaxError('node tree: it ends too early')
    return next
  }
}

/** Whether `value` is a node, of type `type` if that is given. */
export function isNode(value: TreeValue | undefined, type?: string): value is TreeNode {
  if (value === null || value === undefined || typeof value === 'string' || !('type' in value)) return false
  return type === undefined || value.type === type
}

/** The field as a node, or undefined. */
export function nodeAt(node: TreeNode, field: string): TreeNode | undefined {
  const value = node.fields.get(field)
  return isNode(value) ? value : undefined
}

/** The field as a list; empty when it is none. */
export function listAt(node: TreeNode, field: string): readonly TreeValue[] {
  const value = node.fields.get(field)
  return Array.isArray(value) ? value : []
}

/** The nodes in the list of the field. */
export function nodesAt(node: TreeNode, field: string): readonly TreeNode[] {
  return listAt(node, field).filter((item) => isNode(item))
}

/** The field as a number; 0 when it is absent, as PostgreSQL writes "none". */
export function numberAt(node: TreeNode, field: string): number {
  const value = node.fields.get(field)
  return typeof value === 'string' ? Number(value) : 0
}

/** The field as a word, or undefined. */
export function wordAt(node: TreeNode, field: string): string | undefined {
  const value = node.fields.get(field)
  return typeof value === 'string' ? value : undefined
}

/** Whether the field says true. */
export function isTrue(node: TreeNode, field: string): boolean {
  return node.fields.get(field) === 'true'
}

/** Calls `visit` with every node in `value`, itself first; what lies beneath a node is skipped when `visit` returns false. */
export function eachNode(value: TreeValue | undefined, visit: (node: TreeNode) => boolean | undefined): void {
  if (value === null || value === undefined || typeof value === 'string') return
  if (isNode(value)) {
    if (visit(value) === false) return
    for (const field of value.fields.values()) eachNode(field, visit)
  } else {
    for (const item of value) eachNode(item, visit)
  }
}
