// What stands where nothing is yet: says what will be here, and how it comes.

import type { ReactNode } from 'react'
import { Icon } from './Icon'
import type { IconName } from './Icon'

export function Empty({ icon, title, text, children }: { icon: IconName; title: string; text: string; children?: ReactNode }) {
  return (
    <div className="empty">
      <Icon name={icon} />
      <p className="empty-title">{title}</p>
      <p>{text}</p>
      {children}
    </div>
  )
}
