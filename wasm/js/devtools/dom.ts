// The panel's elements, made without a framework and without HTML as text: pages that require Trusted Types take them.

type Child = Node | string | null | undefined | false
type Attributes = Record<string, string | number | boolean | null | undefined | ((event: Event) => void)>

/** An element with these attributes; a function is a listener of the event of that name, `false` leaves an attribute out. */
export function element<K extends keyof HTMLElementTagNameMap>(
  name: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(name)
  for (const [attribute, value] of Object.entries(attributes)) {
    if (typeof value === 'function') made.addEventListener(attribute, value)
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(attribute, value === true ? '' : String(value))
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false))
  return made
}

/** A table with a caption that says what it is of; what it is scrolled with can be reached with the keyboard. */
export function table(caption: string, heads: readonly string[], rows: readonly Child[][], empty: string): HTMLElement {
  if (rows.length === 0) return element('p', { class: 'empty' }, empty)
  return element(
    'div',
    { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption },
    element(
      'table',
      {},
      element('caption', {}, caption),
      element('thead', {}, element('tr', {}, ...heads.map((head) => element('th', { scope: 'col' }, head)))),
      element('tbody', {}, ...rows.map((cells) => element('tr', {}, ...cells.map((cell) => element('td', {}, cell))))),
    ),
  )
}

/** Names and values. */
export function facts(all: readonly (readonly [string, Child])[]): HTMLElement {
  return element('dl', {}, ...all.flatMap(([name, value]) => [element('dt', {}, name), element('dd', {}, value)]))
}

export const button = (label: string, press: () => void): HTMLButtonElement =>
  element('button', { type: 'button', click: press }, label)

export const bytes = (count: number): string =>
  count < 1_000 ? `${count} B` : count < 1_000_000 ? `${(count / 1_000).toFixed(1)} kB` : `${(count / 1_000_000).toFixed(1)} MB`

/** The time of day here; with the date where it is another day's. */
export function time(at: string | number | null | undefined): string {
  if (at === null || at === undefined) return '–'
  const date = new Date(at)
  const isToday = date.toDateString() === new Date().toDateString()
  return isToday ? date.toLocaleTimeString() : date.toLocaleString()
}
