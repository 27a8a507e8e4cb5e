// The test page. Tests with several versions of the package name the one to use.

import { install } from './calls.js'

const { open } = await import(`${new URL(location).searchParams.get('package') ?? '/marea/'}index.js`)
install(open)
