import { DefinitionError } from '../errors.ts'

/** Refuses a command's or query's name that could not stand in a URL: letters, digits, `_`, `.` and `-`, 1 to 64 of them. */
export function checkMessageName(kind: 'command' | 'query', name: string): void {
  if (!/^[A-Za-z][A-Za-z0-9_.-]{0,63}$/.test(name)) {
    throw new DefinitionError(
      `${kind} ${JSON.stringify(name)}: a name has 1 to 64 letters, digits, "_", "." or "-", and begins with a letter`,
    )
  }
}
