// npm run bench -- [--json] [--quick] [name ...]: builds, installs what only the benchmarks need, and runs them. See docs/benchmarks.md.
import { spawnSync } from 'node:child_process'
import { statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

/** What it prints goes to standard error, so that standard output holds figures alone. */
function run(command, args) {
  const { status } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2], shell: process.platform === 'win32' })
  if (status !== 0) process.exit(status ?? 1)
}

run('npx', ['--no-install', 'tsc', '-b', 'src'])
const changedAt = (file) => statSync(`${root}bench/${file}`, { throwIfNoEntry: false })?.mtimeMs ?? 0
if (changedAt('node_modules/.package-lock.json') < changedAt('package-lock.json')) run('npm', ['ci', '--prefix', 'bench'])
const { status } = spawnSync(process.execPath, [`${root}bench/run.mjs`, ...process.argv.slice(2)], { stdio: 'inherit' })
process.exit(status ?? 1)
