// What is built once more for tests, as one function of its surroundings: all of the page's and the worker's code, with the module that
// it is given in the place of a download (module.ts). See `bundle.mjs`.

export { open } from '../open.js'
