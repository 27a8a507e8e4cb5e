import { fileURLToPath } from 'node:url'

export default {
  // The installed packages lie in the folder above.
  turbopack: { root: fileURLToPath(new URL('..', import.meta.url)) },
  // The tests check the types, strictly, with the same TypeScript as for the other apps.
  typescript: { ignoreBuildErrors: true },
}
