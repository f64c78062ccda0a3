import { UsageError } from '../errors.ts'

/** Imports a package that a user installs beside this one; says how when it is missing. */
export async function importPeer<T>(name: string, usedBy: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load()
  } catch (error) {
    if (!isMissing(error, name)) throw error
    throw new UsageError(`${usedBy} needs the package ${name}, which is not installed: npm install ${name}`, { cause: error })
  }
}

/** Whether it is this package that is missing, and not one that it needs itself. */
function isMissing(error: unknown, name: string): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND' && error.message.includes(`'${name}'`)
}
