// What differs between the catalogue in a file and the server's, a line for each difference.

export function differences(before, after) {
  const [was, is] = [tablesOf(before), tablesOf(after)]
  const lines = []
  for (const [name, table] of was) if (!is.has(name)) lines.push(`- table ${name}`)
  for (const [name, table] of is) {
    const known = was.get(name)
    if (known) lines.push(...inTable(name, known, table))
    else lines.push(`+ table ${name}`)
  }
  return lines
}

function inTable(name, before, after) {
  const lines = members(before, after, ['columns']).map((line) => `~ table ${name}: ${line}`)
  const [was, is] = [columnsOf(before), columnsOf(after)]
  for (const [column] of was) if (!is.has(column)) lines.push(`- ${name}.${column}`)
  for (const [column, now] of is) {
    const known = was.get(column)
    if (known) lines.push(...members(known, now, []).map((line) => `~ ${name}.${column}: ${line}`))
    else lines.push(`+ ${name}.${column} (${now.type}, ${now.rule})`)
  }
  const common = (of, others) => [...of.keys()].filter((column) => others.has(column)).join('\n')
  if (common(was, is) !== common(is, was)) lines.push(`~ table ${name}: its columns are in another order`)
  return lines
}

function members(before, after, except) {
  const names = new Set([...Object.keys(before), ...Object.keys(after)])
  const text = (value) => (value === undefined ? 'not set' : JSON.stringify(value))
  return [...names]
    .filter((name) => !except.includes(name) && text(before[name]) !== text(after[name]))
    .map((name) => `${name} ${text(before[name])} -> ${text(after[name])}`)
}

const tablesOf = ({ tables }) => new Map(tables.map((table) => [table.name, table]))
const columnsOf = ({ columns }) => new Map(columns.map((column) => [column.name, column]))
