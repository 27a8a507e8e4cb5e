import { fileURLToPath } from 'node:url'

export default {
  // One folder for each way of building, so that they do not stand in each other's way.
  distDir: process.env.NEXT_DIST ?? '.next',
  // The installed packages lie in the folder above.
  turbopack: { root: process.env.APPS_ROOT ?? fileURLToPath(new URL('..', import.meta.url)) },
  // The tests check the types, strictly, with the same TypeScript as for the other apps.
  typescript: { ignoreBuildErrors: true },
}
