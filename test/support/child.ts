import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

export interface Child {
  readonly process: ChildProcess
  /** Resolves to the first line it prints. */
  line(): Promise<string>
  exited(): Promise<number | null>
  /** How it ended: `well`, or with what it printed to standard error. */
  ended(): Promise<string>
}

/** Starts a compiled file of `test/process/` with one argument, as JSON. */
export function startChild(name: string, argument: unknown): Child {
  const file = fileURLToPath(new URL(`../process/dist/${name}.js`, import.meta.url))
  const child = spawn(process.execPath, [file, JSON.stringify(argument)], { stdio: ['ignore', 'pipe', 'pipe'] })
  let out = ''
  let err = ''
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString()
    child.emit('output')
  })
  child.stderr.on('data', (chunk: Buffer) => {
    err += chunk.toString()
  })
  const ended = once(child, 'exit') as Promise<[number | null]>
  return {
    process: child,
    async line() {
      while (!out.includes('\n')) {
        if (child.exitCode !== null || child.signalCode !== null)
          throw new Error(`${name} ended without a word (${child.exitCode ?? child.signalCode}): ${err}`)
        await Promise.race([once(child, 'output'), ended])
      }
      return out.slice(0, out.indexOf('\n'))
    },
    async exited() {
      return (await ended)[0]
    },
    async ended() {
      const [code] = await ended
      return code === 0 ? 'well' : `with ${code ?? child.signalCode}: ${err}`
    },
  }
}

/** Hands on each line that a child prints, whole. */
export function onLine(child: Child, take: (line: string) => void): void {
  let text = ''
  child.process.stdout?.on('data', (chunk: Buffer) => {
    const lines = (text + chunk.toString()).split('\n')
    text = lines.pop() ?? ''
    for (const line of lines) take(line)
  })
}
