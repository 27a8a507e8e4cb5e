// A button that asks once more, in its own place, before it does what cannot be taken back.

import { useState } from 'react'
import { useSpeech } from '../language'
import { Icon } from './Icon'

interface Props {
  /** What is asked. */
  question: string
  /** What the button is called, for all or for screen readers alone. */
  name: string
  iconOnly?: boolean
  onSure(): void
}

export function Sure({ question, name, iconOnly = false, onSure }: Props) {
  const { t } = useSpeech()
  const [asking, setAsking] = useState(false)
  if (!asking) {
    return (
      <button type="button" className={iconOnly ? 'icon-button' : 'button quiet danger'} aria-label={iconOnly ? name : undefined} title={iconOnly ? name : undefined} onClick={() => setAsking(true)}>
        <Icon name="bin" />
        {!iconOnly && name}
      </button>
    )
  }
  return (
    <span className="sure" role="group" aria-label={question}>
      <span>{question}</span>
      <button type="button" className="button small danger" autoFocus onClick={onSure}>
        {t.remove}
      </button>
      <button type="button" className="button small" onClick={() => setAsking(false)}>
        {t.cancel}
      </button>
    </span>
  )
}
