// What the app says, by language.

import type { Language } from './content'
import { en } from './words/en'
import type { Words } from './words/en'
import { es } from './words/es'

export type { Words }
export const words: Readonly<Record<Language, Words>> = { en, es }
