// The panel as a custom element: who leads, the network's switch, and a tab for each view. Its class is made when it is first
// needed, because a server that renders pages has no elements.

import { button, element } from './dom.js'
import { STYLE } from './style.js'
import { VIEWS } from './views.js'
import type { Marea } from '../marea.js'
import type { ClientStatus } from '../index.js'

export const NAME = 'marea-devtools'

/** The panel, once it is in a document. */
export interface Panel extends HTMLElement {
  /** The mirror that it shows; null shows that none is open. */
  marea: Marea | null
  /** Whether the panel is unfolded. */
  open: boolean
  /** Those who want it shown, in order. */
  readonly mounts: { marea: Marea }[]
}

export function makePanel(): Panel {
  if (!customElements.get(NAME)) customElements.define(NAME, panelClass())
  return document.createElement(NAME) as Panel
}

function panelClass(): CustomElementConstructor {
  return class extends HTMLElement implements Panel {
    #marea: Marea | null = null
    #open = false
    #chosen = Object.keys(VIEWS)[0] as string
    #stops: (() => void)[] = []
    readonly mounts: { marea: Marea }[] = []
    readonly #root = this.attachShadow({ mode: 'open' })
    readonly #said = element('p', { class: 'said', role: 'status' })

    constructor() {
      super()
      const sheet = new CSSStyleSheet()
      sheet.replaceSync(STYLE)
      this.#root.adoptedStyleSheets = [sheet]
    }

    get marea(): Marea | null {
      return this.#marea
    }

    set marea(marea: Marea | null) {
      this.#marea = marea
      this.#draw()
    }

    get open(): boolean {
      return this.#open
    }

    set open(open: boolean) {
      this.#open = open
      this.#draw()
      this.#root.querySelector<HTMLElement>(open ? '[role=tab][aria-selected=true]' : '.opener')?.focus()
    }

    connectedCallback(): void {
      this.#draw()
    }

    disconnectedCallback(): void {
      this.#end()
    }

    #end(): void {
      this.#stops.splice(0).forEach((stop) => stop())
    }

    #draw(): void {
      this.#end()
      if (!this.isConnected) return
      this.#root.replaceChildren(...(this.#open ? [this.#panel()] : [this.#opener()]), this.#said)
    }

    #opener(): HTMLElement {
      const { dot, text } = this.#state()
      return element('button', { type: 'button', class: 'opener', 'aria-expanded': 'false', click: () => (this.open = true) }, dot, 'Marea', text)
    }

    /** A dot and a few words that follow the status. */
    #state(): { dot: HTMLElement; text: HTMLElement } {
      const [dot, text] = [element('span', { class: 'dot', 'aria-hidden': 'true' }), element('span')]
      const draw = ({ connection, paused, pending, rejected, last_error }: ClientStatus): void => {
        dot.dataset.state = last_error ? 'error' : paused ? 'off' : connection
        const waiting = [pending > 0 && `${pending} waiting`, rejected > 0 && `${rejected} refused`].filter(Boolean)
        text.textContent = [paused ? 'switched off' : connection, ...waiting].join(', ')
      }
      if (!this.#marea) text.textContent = 'not open'
      else this.#stops.push(this.#marea.watchStatus(draw, (error) => (text.textContent = error.code)))
      return { dot, text }
    }

    #panel(): HTMLElement {
      const { dot, text } = this.#state()
      const fold = button('Close', () => (this.open = false))
      const head = element('header', {}, element('h2', {}, 'Marea'), element('span', { class: 'state' }, dot, text))
      if (this.#marea) head.append(...this.#controls(this.#marea))
      head.append(fold)
      const panel = element('section', { class: 'panel', 'aria-label': 'Marea developer tools' }, head)
      panel.addEventListener('keydown', ({ key }) => key === 'Escape' && (this.open = false))
      if (this.#marea) panel.append(this.#tabs(), this.#view(this.#marea))
      return panel
    }

    #controls(marea: Marea): HTMLElement[] {
      const network = element('input', { type: 'checkbox' })
      network.addEventListener('change', () => void marea.setOnline(network.checked).catch((error: Error) => this.#say(error.message)))
      this.#stops.push(marea.watchStatus(({ paused }) => (network.checked = !paused), () => undefined))
      const sync = async (): Promise<void> => {
        const { outcome, pushed, pulled } = await marea.sync()
        this.#say(`${outcome}: pushed ${pushed}, pulled ${pulled}`)
      }
      const copy = async (): Promise<void> => {
        await navigator.clipboard.writeText(await marea.diagnostics())
        this.#say('Diagnostics copied')
      }
      const told = (call: () => Promise<void>) => (): void => void call().catch((error: Error) => this.#say(error.message))
      return [
        element('label', { class: 'switch' }, network, 'Network'),
        button('Sync now', told(sync)),
        button('Copy diagnostics', told(copy)),
      ]
    }

    #tabs(): HTMLElement {
      const names = Object.keys(VIEWS)
      const choose = (name: string): void => {
        this.#chosen = name
        this.open = true
      }
      const tab = (name: string): HTMLElement => {
        const isChosen = name === this.#chosen
        const attributes = { role: 'tab', id: `tab-${name}`, 'aria-selected': String(isChosen), tabindex: isChosen ? 0 : -1 }
        return element('button', { type: 'button', ...attributes, click: () => choose(name) }, name)
      }
      const move = (event: Event): void => {
        const { key } = event as KeyboardEvent
        const at = names.indexOf(this.#chosen)
        const to = { ArrowRight: at + 1, ArrowLeft: at - 1 + names.length, Home: 0, End: names.length - 1 }[key]
        if (to === undefined) return
        event.preventDefault()
        choose(names[to % names.length] as string)
      }
      return element('div', { role: 'tablist', 'aria-label': 'What to show', keydown: move }, ...names.map(tab))
    }

    #view(marea: Marea): HTMLElement {
      const place = element('div', { role: 'tabpanel', tabindex: 0, 'aria-labelledby': `tab-${this.#chosen}` })
      const draw = VIEWS[this.#chosen]
      if (draw) this.#stops.push(draw({ marea, place, say: (text) => this.#say(text) }))
      return place
    }

    #say(text: string): void {
      this.#said.textContent = text
    }
  }
}
