import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The root of the repository, with a slash at its end. */
export const root = fileURLToPath(new URL('../..', import.meta.url))

const generated = new Set(['.git', 'node_modules', 'dist', '.data', 'coverage'])

/** The files a commit would hold, as paths from the root. */
export function projectFiles(folder = ''): readonly string[] {
  return readdirSync(`${root}${folder}`, { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}${entry.name}`
    if (entry.isDirectory()) return generated.has(entry.name) ? [] : projectFiles(`${path}/`)
    return /\.(log|tgz|tsbuildinfo)$/.test(path) ? [] : [path]
  })
}

export function read(path: string): string {
  return readFileSync(`${root}${path}`, 'utf8')
}

export interface CodeBlock {
  readonly language: string
  /** Belongs to the block before it, as one module: written after its language. */
  readonly continued: boolean
  readonly code: string
}

/** The fenced blocks of a page, in order. */
export function codeBlocks(path: string): readonly CodeBlock[] {
  return [...read(path).matchAll(/^```(\w+)( continued)?\n(.*?)^```$/gms)].map(([, language = '', continued, code = '']) => ({
    language,
    continued: continued !== undefined,
    code,
  }))
}

/** The modules that a page's TypeScript blocks make. */
export function typescriptModules(path: string): readonly string[] {
  const modules: string[] = []
  for (const { code, continued } of codeBlocks(path).filter(({ language }) => language === 'ts')) {
    if (continued && modules.length > 0) modules.push(`${modules.pop()}${code}`)
    else modules.push(code)
  }
  return modules
}
