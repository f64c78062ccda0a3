import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const main = fileURLToPath(new URL('../dist/main.js', import.meta.url))
const folder = fileURLToPath(new URL('..', import.meta.url))

export interface RunningExample {
  readonly url: string
  /** What it has printed so far. */
  printed(): string
  /** Ends it, gently unless told otherwise; resolves to the exit code, or to null after a kill. */
  end(signal?: NodeJS.Signals): Promise<number | null>
}

/** Starts the built example on a free port with these settings. Resolves when it listens; rejects with what it said when it does not get that far. */
export async function startExample(settings: Readonly<Record<string, string>>, args: readonly string[] = []): Promise<RunningExample> {
  const { DATABASE_URL: _server, REDIS_URL: _redis, MONGODB_URL: _mongodb, SEED: _seed, ...environment } = process.env
  const child = spawn(process.execPath, [main, ...args], {
    cwd: folder,
    env: { ...environment, PORT: '0', SEED: 'none', ...settings },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const output = collect(child)
  const ended = once(child, 'exit') as Promise<[number | null]>
  const url = await addressIn(child, output, ended)
  return {
    url,
    printed: () => output.text,
    async end(signal = 'SIGTERM') {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal)
      return (await ended)[0]
    },
  }
}

function collect(child: ChildProcess): { text: string } {
  const output = { text: '' }
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      output.text += chunk.toString()
      child.emit('printed')
    })
  }
  return output
}

async function addressIn(child: ChildProcess, output: { text: string }, ended: Promise<unknown>): Promise<string> {
  for (;;) {
    const url = /is at (http:\S+)/.exec(output.text)?.[1]
    if (url) return url
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`the example did not start: ${output.text}`)
    await Promise.race([once(child, 'printed'), ended])
  }
}
