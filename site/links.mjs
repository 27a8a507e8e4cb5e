// From a page of the repository to a page of the site: links to other pages go on working, links to sources become what they say.

import { existsSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'

// A block of code, a link, code within a line, or what would be HTML: what comes first.
const PIECE = /^```[\s\S]*?^```[^\n]*$|(!?)\[((?:[^\]\\]|\\.)*)\]\(([^)\s]+)\)|`[^`\n]+`|<(?!!--)/gm

/** `pages` are those that the site has; a link to nothing is an error. */
export function siteText(path, text, pages, root) {
  const link = (whole, image, label, target) => {
    if (whole === '<') return '&lt;'
    if (!target || /^[a-z]+:|^#/.test(target)) return whole
    const [file, anchor] = target.split('#')
    const meant = normalize(join(dirname(path), file)).replace(/\/$/, '')
    if (image || pages.has(meant)) return `${image}[${label}](/${meant}${anchor ? `#${anchor}` : ''})`
    if (!existsSync(join(root, meant))) throw new Error(`${path}: links to ${target}, which is not there`)
    return label.startsWith('`') ? label : `${label} (\`${meant}\`)`
  }
  const linked = text.replace(PIECE, link)
  // Braces are the site builder's own templates.
  return `::: v-pre\n\n${linked}\n\n:::\n`
}
