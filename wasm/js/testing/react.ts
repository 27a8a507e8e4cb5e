// For a test of React components: a wrapper that gives them the mirror of a test's device.

import { createElement } from 'react'
import type { ReactElement, ReactNode } from 'react'
import { MareaProvider } from '../react/index.js'
import type { TestMarea } from './index.js'

/** A component for the `wrapper` of Testing Library's `render` and `renderHook`, or to put around the tested ones. */
export function withMarea<S>({ source }: TestMarea<S>): (props: { children?: ReactNode }) => ReactElement {
  return function TestMareaProvider({ children }) {
    return createElement(MareaProvider, { source }, children)
  }
}
