import { platform } from 'node:os'

/**
 * @typedef {{ readonly ratioAtLeast?: number, readonly ratioAtMost?: number, readonly atMost?: number }} Target
 * @typedef {{
 *   readonly bench: string, readonly case: string, readonly value: number, readonly unit: string,
 *   readonly against?: string, readonly ratio?: number, readonly target?: Target
 * }} Figure
 */

/** Collects figures and prints them: a line of JSON each, or a table for each benchmark. */
export class Report {
  #json
  /** @type {Figure[]} */
  #shown = []

  /** @param {boolean} json */
  constructor(json) {
    this.#json = json
  }

  /** @param {Figure} figure */
  add(figure) {
    if (this.#json) {
      const { bench, value, unit, against = null, ratio = null } = figure
      process.stdout.write(
        `${JSON.stringify({ bench, case: figure.case, value: round(value), unit, against, ratio: ratio === null ? null : round(ratio) })}\n`,
      )
    } else this.#shown.push(figure)
  }

  /** What is going on, for whoever waits. @param {string} line */
  say(line) {
    process.stderr.write(`${process.stderr.isTTY && platform() !== 'win32' ? `\u001b[2m${line}\u001b[0m` : line}\n`)
  }

  /** Prints the figures since the last call. @param {string} title */
  table(title) {
    if (this.#shown.length === 0) return
    const rows = this.#shown.map((figure) => [
      figure.case,
      `${plain(figure.value)} ${figure.unit}`,
      figure.against ?? '',
      figure.ratio === undefined ? '' : `${plain(figure.ratio)}x`,
      targetText(figure.target),
      figure.target === undefined ? '' : reached(figure) ? 'ok' : 'short',
    ])
    this.#shown = []
    const head = ['', 'measured', 'against', 'ratio', 'target', '']
    const widths = head.map((_name, i) => Math.max(...[head, ...rows].map((row) => row[i].length)))
    const line = (/** @type {readonly string[]} */ row) =>
      row
        .map((cell, i) => (i === 1 || i === 3 ? cell.padStart(widths[i]) : cell.padEnd(widths[i])))
        .join('  ')
        .trimEnd()
    process.stdout.write(`\n${title}\n${[head, ...rows].map(line).join('\n')}\n`)
  }
}

/** @param {Figure} figure */
function reached({ value, ratio = Number.NaN, target = {} }) {
  if (target.ratioAtLeast !== undefined && !(ratio >= target.ratioAtLeast)) return false
  if (target.ratioAtMost !== undefined && !(ratio <= target.ratioAtMost)) return false
  return target.atMost === undefined || value <= target.atMost
}

/** @param {Target | undefined} target */
function targetText(target) {
  if (target?.ratioAtLeast !== undefined) return `>= ${plain(target.ratioAtLeast)}x`
  if (target?.ratioAtMost !== undefined) return `<= ${plain(target.ratioAtMost)}x`
  return target?.atMost === undefined ? '' : `<= ${plain(target.atMost)}`
}

/** @param {number} value */
const round = (value) => Number(value.toPrecision(4))
/** @param {number} value */
const plain = (value) => round(value).toLocaleString('en', { maximumSignificantDigits: 4 })
