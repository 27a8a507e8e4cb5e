// A page to read and print: the totals, charts of the last half year as SVG, and the records. No script, nothing from elsewhere.

import type { ActivityDay, Progress } from '../types.js'
import type { Records } from '../writers.js'
import { text } from './text.js'

/** Days of activity on the charts. */
const CHART_DAYS = 182
const DAY_MS = 86_400_000

const STYLE =
  'body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b2a33}' +
  'h1,h2{line-height:1.2}dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(11rem,1fr));gap:1rem}' +
  'dt{color:#56707d;font-size:.85rem}dd{margin:0;font-size:1.5rem}table{border-collapse:collapse;width:100%;font-size:.9rem}' +
  'th,td{text-align:left;padding:.3rem .5rem;border-bottom:1px solid #d5dfe4;overflow-wrap:anywhere}svg{width:100%;height:auto}' +
  'rect{fill:#1b7a9c}.wrap{overflow-x:auto}'
// It shows what a learner wrote: whatever that is, it runs nothing and calls nowhere.
const POLICY = "default-src 'none'; style-src 'unsafe-inline'"

const CHARTS = [
  ['Minutes a day', 'minutes'],
  ['Points a day', 'points'],
  ['Words a day', 'words'],
] as const

export function html(records: Records, progress: Progress, days: readonly ActivityDay[], span: [since: string, until: string]): string {
  const title = escape(records.title)
  const [since, until] = span
  const totals = totalsOf(progress).map(([label, value]) => `<div><dt>${label}</dt><dd>${value}</dd></div>`)
  const charts = CHARTS.map(([label, of]) => `<h2>${label}, ${since} to ${until}</h2>${chart(label, days, span, of)}`)
  const head = records.columns.map(({ name }) => `<th>${escape(name.replaceAll('_', ' '))}</th>`)
  const rows = records.rows.map((row) => `<tr>${records.columns.map(({ name }) => `<td>${escape(text(row[name]))}</td>`).join('')}</tr>`)
  return [
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
    `<meta http-equiv="Content-Security-Policy" content="${POLICY}">`,
    `<meta name="viewport" content="width=device-width"><title>${title}</title><style>${STYLE}</style></head><body><h1>${title}</h1>`,
    `<p>As of ${until}</p><dl>${totals.join('')}</dl>${charts.join('')}`,
    `<h2>Records</h2><div class="wrap"><table><thead><tr>${head.join('')}</tr></thead><tbody>${rows.join('')}</tbody></table></div>`,
    '</body></html>\n',
  ].join('')
}

function totalsOf(progress: Progress): [label: string, value: string][] {
  return [
    ['Sessions', text(progress.total_sessions)],
    ['Minutes', text(progress.total_time_spent_minutes)],
    ['Points', text(progress.total_points)],
    ['Days in a row', text(progress.current_streak_days)],
    ['Longest run of days', text(progress.longest_streak_days)],
    ['Questions', text(progress.total_questions_answered)],
    ['Answered correctly', `${text(progress.average_accuracy)} %`],
    ['Words learned', text(progress.total_vocabulary_learned)],
  ]
}

/** A bar for each day. In a browser it says what it stands for. */
function chart(label: string, days: readonly ActivityDay[], [since, until]: [string, string], of: 'minutes' | 'points' | 'words'): string {
  const byDay = new Map(days.map((day) => [day.day, Math.max(day[of], 0)]))
  const most = Math.max(1, ...byDay.values())
  const bars: string[] = []
  let x = 0
  for (let day = since; day <= until; day = dayAfter(day, 1), x += 5) {
    const value = byDay.get(day) ?? 0
    if (value === 0) continue
    const height = Math.max(Math.trunc((100 * value) / most), 1)
    bars.push(`<rect x="${x}" y="${100 - height}" width="4" height="${height}"><title>${day}: ${value}</title></rect>`)
  }
  const box = `viewBox="0 0 ${Math.max(x, 5)} 100" preserveAspectRatio="none"`
  return `<svg role="img" aria-label="${label}, at most ${most}" ${box}>${bars.join('')}</svg>`
}

const dayAfter = (day: string, days: number): string => new Date(Date.parse(`${day}T00:00:00Z`) + days * DAY_MS).toISOString().slice(0, 10)

/** Where the charts that end with this day begin. */
export const daysBefore = (day: string): string => dayAfter(day, -CHART_DAYS)

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }
const escape = (text: string): string => text.replace(/[&<>"']/g, (found) => ENTITIES[found]!)
