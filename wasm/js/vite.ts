// For apps that Vite builds: the setting that the development server needs, and the developer tools in every page of it. Runs in
// Node; nothing of it is in what is built.

/** What of Vite's plugins this is. */
export interface VitePlugin {
  name: string
  config(): object
  resolveId(id: string): string | undefined
  load(id: string): string | undefined
  transformIndexHtml: (html: string, context: { server?: { config: { base: string } } }) => object[] | undefined
}

export interface MareaPluginOptions {
  /** False to leave the developer tools out of the development server's pages. */
  devtools?: boolean
}

const MODULE = 'virtual:marea-devtools'
const RESOLVED = `\0${MODULE}`

/** `plugins: [marea()]` in `vite.config`. */
export function marea({ devtools = true }: MareaPluginOptions = {}): VitePlugin {
  return {
    name: 'marea',
    // The development server would bundle the package away from its worker.
    config: () => ({ optimizeDeps: { exclude: ['@marea/client'] } }),
    resolveId: (id) => (id === MODULE ? RESOLVED : undefined),
    load: (id) =>
      id === RESOLVED ? "import { mountDevtoolsOnOpen } from '@marea/client/devtools'\nmountDevtoolsOnOpen()\n" : undefined,
    transformIndexHtml: (_, { server }) =>
      devtools && server
        ? [{ tag: 'script', attrs: { type: 'module', src: `${server.config.base}@id/__x00__${MODULE}` }, injectTo: 'head-prepend' }]
        : undefined,
  }
}
