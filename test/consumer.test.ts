import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { read, root, typescriptModules } from './support/project-files.ts'

const tsc = `${root}node_modules/typescript/bin/tsc`

/** The package as it would be published, in an empty project outside the repository. Needs no network. */
describe('an empty project that installs the package', { timeout: 120_000 }, () => {
  const project = realpathSync(mkdtempSync(join(tmpdir(), 'headwater-consumer-')))

  beforeAll(() => {
    run(process.execPath, [tsc, '-b', 'src'], root)
    const archives = [pack('.'), pack('./node_modules/@standard-schema/spec')]
    writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'consumer', private: true, type: 'module' }))
    run('npm', ['install', '--offline', '--ignore-scripts', '--no-audit', '--no-fund', ...archives.map((name) => `./${name}`)], project)
    // What a project installs beside it, as it stands in the repository.
    for (const name of ['pg', '@electric-sql/pglite', 'zod', '@types/node', 'undici-types']) link(name)
  }, 120_000)

  afterAll(() => rmSync(project, { recursive: true, force: true }))

  test('compiles the README’s code, with every declaration checked', () => {
    const [example = ''] = typescriptModules('README.md')
    writeFileSync(join(project, 'example.ts'), example)
    const compilerOptions = {
      target: 'es2023',
      module: 'nodenext',
      strict: true,
      exactOptionalPropertyTypes: true,
      types: ['node'],
      noEmit: true,
    }
    writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['example.ts'] }))
    expect(run(process.execPath, [tsc, '-p', '.'], project)).toBe('')
  })

  test('imports every path', () => {
    const { exports } = JSON.parse(read('package.json')) as { exports: Record<string, unknown> }
    const names = Object.keys(exports)
      .filter((key) => !key.endsWith('.json'))
      .map((key) => key.replace('.', 'headwater'))
    expect(names).toContain('headwater/postgres')
    const script = `for (const name of ${JSON.stringify(names)}) console.log(name, Object.keys(await import(name)).length > 0)`
    expect(run(process.execPath, ['--input-type=module', '--eval', script], project)).toBe(names.map((name) => `${name} true\n`).join(''))
  })

  test('says what to install where a driver is missing', () => {
    rmSync(join(project, 'node_modules/pg'))
    const script = `import { postgres } from 'headwater/postgres'; await postgres('postgres://127.0.0.1:1/x').query('select 1').catch((error) => console.log(error.message))`
    expect(run(process.execPath, ['--input-type=module', '--eval', script], project)).toContain('npm install pg')
    link('pg')
  })

  /** Packs a folder of the repository into the project; the archive's name. */
  function pack(folder: string): string {
    const packed = run('npm', ['pack', folder, '--ignore-scripts', '--json', '--pack-destination', project], root)
    const [{ filename }] = JSON.parse(packed) as [{ filename: string }]
    return filename
  }

  function link(name: string): void {
    const target = join(project, 'node_modules', name)
    mkdirSync(join(target, '..'), { recursive: true })
    symlinkSync(`${root}node_modules/${name}`, target)
  }
})

function run(program: string, args: readonly string[], cwd: string): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, npm_config_loglevel: 'error' },
  })
  if (error) throw error
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${status}:\n${stdout}${stderr}`)
  return stdout
}
