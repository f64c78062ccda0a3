import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { freePort } from '../../../test/support/free-port.ts'
import { readSettings, SettingsError } from '../src/settings.ts'

const main = fileURLToPath(new URL('../dist/main.js', import.meta.url))
const server = { DATABASE_URL: 'postgres://127.0.0.1/shop' }

function complaintOf(args: readonly string[], environment: Record<string, string> = {}): string {
  try {
    readSettings(args, environment)
  } catch (error) {
    if (error instanceof SettingsError) return error.message
    throw error
  }
  return 'none'
}

describe('what the shop is started with', () => {
  it.each([
    [['--role', 'nonsense'], server, '--role nonsense: there is commands, projections, queries'],
    [['--role'], server, "Option '--role <value>' argument missing"],
    [['--bogus'], server, "Unknown option '--bogus'"],
    [['--role', 'queries'], {}, '--role needs DATABASE_URL'],
    [['--load', '--role', 'queries'], server, '--load is for the whole shop: leave --role out'],
    [['--reset', '--role', 'queries'], server, '--reset is for the whole shop: leave --role out'],
    [[], { ...server, PORT: 'abc' }, 'PORT=abc'],
    [[], { ...server, PORT: '65536' }, 'PORT=65536'],
    [[], { DATA_DIR: '/dev/null/shop' }, 'DATA_DIR=/dev/null/shop'],
    [
      [],
      { DATABASE_URL: 'mysql://root:hunter2@127.0.0.1/shop' },
      'DATABASE_URL is no address that begins with postgres:// or postgresql://',
    ],
    [[], { ...server, MONGODB_URL: '127.0.0.1' }, 'MONGODB_URL is no address'],
    [[], { ...server, REDIS_URL: '127.0.0.1:6379' }, 'REDIS_URL is no address'],
    [[], { ...server, COMMANDS_URL: 'somewhere' }, 'COMMANDS_URL is no address'],
  ])('%j with %j is refused in one line', (args, environment, complaint) => {
    const said = complaintOf(args, environment)
    expect(said.startsWith(complaint)).toBe(true)
    expect(said).not.toMatch(/\n|hunter2/)
  })

  it('takes several hosts, and nowhere to hand on to', () => {
    const environment = { ...server, MONGODB_URL: 'mongodb://a:1,b:2/shop', COMMANDS_URL: '', PORT: '0' }
    expect(readSettings(['--role', 'queries'], environment)).toMatchObject({ roles: ['queries'], port: 0, commandsUrl: undefined })
  })

  it('says how it is started, and ends with 2 where it cannot be', () => {
    const run = (...args: readonly string[]) => spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' })
    expect(run('--help')).toMatchObject({ status: 0, stdout: expect.stringMatching(/^usage: /), stderr: '' })
    expect(run('--bogus')).toMatchObject({ status: 2, stdout: '', stderr: expect.stringMatching(/^Unknown option '--bogus'\n\nusage: /) })
  })

  it('says that it lives while its database cannot be reached', async () => {
    const port = String(await freePort())
    const environment = { ...process.env, PORT: port, DATABASE_URL: 'postgres://127.0.0.1:1/none', REDIS_URL: '', MONGODB_URL: '' }
    const child = spawn(process.execPath, [main], { env: environment, stdio: ['ignore', 'pipe', 'ignore'] })
    const ended = once(child, 'exit')
    try {
      const health = async () => {
        const response = await fetch(`http://127.0.0.1:${port}/health`, { signal: AbortSignal.timeout(5000) }).catch(() => undefined)
        return response?.status
      }
      await expect.poll(health, { timeout: 50_000 }).toBe(200)
    } finally {
      child.kill('SIGKILL')
      await ended
    }
  })
})
