// All that the package's entries share, in one file: what is loaded as it is served is one file then, and an error is of
// one class whichever entry it comes from. Not in the package's face: that is index.ts.

export * from './index.js'
export { Connection, OPENING, SIGNED_OUT } from './connection.js'
