import { describe, expect, test } from 'vitest'
import {
  eachNode,
  isNode,
  isTrue,
  listAt,
  nodeAt,
  nodesAt,
  numberAt,
  parseNodeTree,
  wordAt,
} from '../src/materialized-view/analysis/node-tree.ts'

function nodeOf(text: string) {
  const value = parseNodeTree(text)
  if (!isNode(value)) throw new Error('no node')
  return value
}

describe('the text of a node tree', () => {
  test('gives a node with its fields', () => {
    const node = nodeOf('{VAR :varno 1 :varattno -1 :inh true :alias <> :name x}')
    expect(node.type).toBe('VAR')
    expect([numberAt(node, 'varno'), numberAt(node, 'varattno'), isTrue(node, 'inh')]).toEqual([1, -1, true])
    expect(node.fields.get('alias')).toBeNull()
    expect(wordAt(node, 'name')).toBe('x')
    expect([numberAt(node, 'absent'), wordAt(node, 'absent'), listAt(node, 'absent')]).toEqual([0, undefined, []])
  })

  test.each([
    ['a backslash escapes spaces, braces and parentheses', String.raw`{A :name \(x\)\ \{<>\}}`, '(x) {<>}'],
    ['an escaped sign of null is a word', String.raw`{A :name \<>}`, '<>'],
    ['a word may begin with a colon', '{A :name :x :other 1}', ':x'],
    ['a word may hold brackets and quotation marks', `{A :name we[ird"}`, 'we[ird"'],
    ['an escaped backslash stays one', String.raw`{A :name a\\b}`, String.raw`a\b`],
    ['a quoted word loses its quotation marks', String.raw`{A :name "two\ words"}`, 'two words'],
    ['an empty string is one', '{A :name ""}', ''],
  ])('%s', (_title, text, expected) => {
    expect(wordAt(nodeOf(text), 'name')).toBe(expected)
  })

  test.each([
    ['of nodes', '({A} {B :x 1})', 2],
    ['of integers', '(i 1 2 3)', 3],
    ['of oids', '(o 96)', 1],
    ['of the members of a set, which may be empty', '(b)', 0],
    ['of strings', String.raw`("id" "we\ ird[")`, 2],
  ])('has lists %s', (_title, text, length) => {
    expect(parseNodeTree(text)).toHaveLength(length)
  })

  test('has constants as bytes, and constants that are null', () => {
    const node = nodeOf('{L :args ({CONST :constlen 4 :constvalue 4 [ 1 0 -1 0 ]} {CONST :constvalue <>})}')
    const [first, second] = nodesAt(node, 'args')
    expect(first && listAt(first, 'constvalue')).toEqual(['1', '0', '-1', '0'])
    expect(second?.fields.get('constvalue')).toBeNull()
  })

  test('is walked from the outside in, and not below where the visitor says stop', () => {
    const node = nodeOf('{A :b {B :c {C}} :l ({D} {E})}')
    const seen: string[] = []
    eachNode(node, ({ type }) => {
      seen.push(type)
      return type !== 'B'
    })
    expect(seen).toEqual(['A', 'B', 'D', 'E'])
    expect(nodeAt(node, 'b')?.type).toBe('B')
  })

  test.each(['{A :b', '(1', '{A b}', '{A} x'])('that is none is refused: %s', (text) => {
    expect(() => parseNodeTree(text)).toThrow(SyntaxError)
  })
})
