import { existsSync } from 'node:fs'
import { posix } from 'node:path'
import { describe, expect, test } from 'vitest'
import { projectFiles, read, root } from './support/project-files.ts'

const files = projectFiles()
const code = files.filter((path) => /\.(ts|mts|js|mjs)$/.test(path))
const pages = files.filter((path) => path.endsWith('.md'))
/** Everything that is text and written by hand. */
const texts = files.filter((path) => !/\.(png|ico|svg|woff2?)$/.test(path) && path !== 'package-lock.json')

/** Where a pattern occurs, as `path:line`. Patterns are put together from pieces, so that they do not find themselves. */
function occurrences(paths: readonly string[], pattern: RegExp): readonly string[] {
  return paths.flatMap((path) =>
    read(path)
      .split('\n')
      .flatMap((line, i) => (pattern.test(line) ? [`${path}:${i + 1}`] : [])),
  )
}

describe('files', () => {
  test('a file of src/ has at most 400 lines; a migration is one text, however long', () => {
    const long = code
      .filter((path) => path.startsWith('src/') && !path.startsWith('src/database/migrations/'))
      .map((path) => ({ path, lines: read(path).trimEnd().split('\n').length }))
    expect(long.filter(({ lines }) => lines > 400)).toEqual([])
  })

  test('no file or folder has a name that says nothing', () => {
    const banned = new Set(['types', 'utils', 'util', 'helpers', 'helper', 'common', 'lib', 'shared', 'base', 'manager', 'misc'])
    const named = files.filter((path) => path.split('/').some((part) => banned.has(part.replace(/\..*$/, ''))))
    expect(named).toEqual([])
  })

  test('nothing is left for later', () => {
    expect(occurrences([...code, ...pages], new RegExp(`\\b(${['TO', 'DO'].join('')}|FIX${'ME'}|XX${'X'})\\b`))).toEqual([])
  })
})

describe('code', () => {
  const checked = code.filter((path) => !path.endsWith('.d.ts'))

  test('no check is silenced; a test may say which error it expects of a type', () => {
    expect(occurrences(checked, new RegExp(`biome-${'ignore'}|@ts-(${'ignore|nocheck'})|eslint-${'disable'}`))).toEqual([])
    expect(
      occurrences(
        checked.filter((path) => !/(^|\/)test\//.test(path)),
        new RegExp(`@ts-${'expect'}-error`),
      ),
    ).toEqual([])
  })

  test('no value is of the type that switches checking off', () => {
    const word = 'any'
    const typed = checked.filter((path) => path.endsWith('.ts'))
    // Not in comments, and not SQL's own word.
    expect(occurrences(typed, new RegExp(`^(?!\\s*(/?\\*|//)).*((: |\\bas |<)${word}\\b(?! ?\\()|\\b${word}\\[\\])`))).toEqual([])
  })

  test('no path of somebody’s machine and no host of a package registry', () => {
    const paths = `(?<![\\w.:/~-])/(${['home', 'root', 'Users', 'work', 'mnt', 'opt'].join('|')})/[\\w.]`
    const hosts = `\\b(${['registry', 'npm', 'deb', 'proxy', 'mirror', 'artifactory', 'nexus'].join('|')})\\.[a-z][\\w-]*\\.(com|org|net|io|dev)\\b`
    expect(occurrences(texts, new RegExp(`${paths}|${hosts}`))).toEqual([])
  })

  test('the lock file names no host', () => {
    expect(read('package-lock.json')).not.toMatch(/"resolved": "[a-z+]*:\/\//)
  })
})

describe('the public face', () => {
  const { exports } = JSON.parse(read('package.json')) as { exports: Record<string, string | { 'headwater-source': string }> }
  const entries = Object.entries(exports).flatMap(([key, target]) =>
    typeof target === 'string' ? [] : [{ name: key.replace('.', 'headwater'), source: target['headwater-source'].replace('./', '') }],
  )

  test.each(entries)('$name is written about in the README or docs/', ({ name }) => {
    expect(pages.some((path) => read(path).includes(`\`${name}\``))).toBe(true)
  })

  test.each(entries)('every name of $name has a docstring', ({ source }) => {
    expect(publicNames(source).filter(({ documented }) => !documented)).toEqual([])
  })

  test('nothing is exported wholesale', () => {
    expect(
      occurrences(
        code.filter((path) => path.startsWith('src/')),
        /^export (type )?\*/,
      ),
    ).toEqual([])
  })
})

interface PublicName {
  readonly name: string
  readonly path: string
  readonly documented: boolean
}

/** The names that a module exports, followed to where each is declared. */
function publicNames(path: string): readonly PublicName[] {
  const text = read(path)
  const own = [...text.matchAll(/^export (?:declare )?(?:async )?(?:abstract )?(?:const|function|class|interface|type) (\w+)/gm)]
  const passedOn = [...text.matchAll(/^export (?:type )?\{([^}]*)\} from '([^']+)'/gms)]
  return [
    ...own.map(([, name = '']) => ({ name, path, documented: isDocumented(text, name) })),
    ...passedOn.flatMap(([, names = '', from = '']) => {
      const target = posix.join(posix.dirname(path), from)
      const wanted = names.split(',').map((name) => name.trim().replace(/^type /, ''))
      const found = publicNames(target)
      return wanted
        .filter(Boolean)
        .map((name) => found.find((candidate) => candidate.name === name) ?? { name, path: target, documented: false })
    }),
  ]
}

function isDocumented(text: string, name: string): boolean {
  const declaration = new RegExp(`^export (?:declare )?(?:async )?(?:abstract )?(?:const|function|class|interface|type) ${name}\\b`, 'm')
  return text.slice(0, text.search(declaration)).trimEnd().endsWith('*/')
}

describe('docs', () => {
  test('docs/architecture.md names every room of src/', () => {
    const rooms = new Set(files.filter((path) => /^src\/[^/]+\//.test(path)).map((path) => path.split('/')[1]))
    const page = read('docs/architecture.md')
    expect([...rooms].filter((room) => !page.includes(`\`${room}/`))).toEqual([])
  })

  test('every link and every file a page names is there', () => {
    const missing = pages.flatMap((path) => {
      const links = [...read(path).matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, link = '']) => posix.join(posix.dirname(path), link))
      const named = [...read(path).matchAll(/`((?:src|test|docs|scripts|examples|bench)\/[\w./-]*\w)`/g)].map(([, name = '']) => name)
      const isThere = (target: string) => existsSync(`${root}${target}`)
      const lost = named.filter((name) => !isThere(name) && !isThere(posix.join(posix.dirname(path), name)))
      return [...links.filter((link) => !isThere(link)), ...lost].map((target) => `${path}: ${target}`)
    })
    expect(missing).toEqual([])
  })

  test('every promise of docs/guarantees.md names a test that is there', () => {
    const rows = [...read('docs/guarantees.md').matchAll(/^\| (?!what|---)(.+?) \| (.+?) \|$/gm)]
    expect(rows.length).toBeGreaterThan(10)
    const unproved = rows.filter(([, , proof = '']) => !/`(test|examples)\/[\w./-]+\.test(-d)?\.ts`/.test(proof))
    expect(unproved.map(([row]) => row)).toEqual([])
  })
})
