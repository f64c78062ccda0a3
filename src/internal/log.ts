/** `debug`: for those who work on Headwater. `info`: what happened. `warn`: it goes on, but look. `error`: it needs a person. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

/** Where Headwater says what it does. `fields` are plain values, without secrets. */
export type Log = (level: LogLevel, message: string, fields?: Readonly<Record<string, unknown>>) => void

const colours: Readonly<Record<LogLevel, string>> = { debug: '\u001b[2m', info: '', warn: '\u001b[33m', error: '\u001b[31m' }

/** One line an entry on standard error: time, level, message, fields. Colour on a terminal, unless NO_COLOR is set. */
export function consoleLog(options: { readonly minimum?: LogLevel } = {}): Log {
  const order: readonly LogLevel[] = ['debug', 'info', 'warn', 'error']
  const minimum = order.indexOf(options.minimum ?? 'info')
  return (level, message, fields) => {
    if (order.indexOf(level) < minimum) return
    const colour = process.stderr.isTTY && !process.env.NO_COLOR ? colours[level] : ''
    const tail = Object.entries(fields ?? {}).map(([key, value]) => ` ${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    const line = `${new Date().toTimeString().slice(0, 8)} ${level.padEnd(5)} ${message}${tail.join('')}`
    process.stderr.write(`${colour}${line}${colour ? '\u001b[0m' : ''}\n`)
  }
}

/** Says nothing. */
export const silentLog: Log = () => {}
