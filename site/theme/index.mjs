import { nextTick, onMounted, watch } from 'vue'
import { useRoute } from 'vitepress'
import theme from 'vitepress/theme'
import './style.css'

export default {
  ...theme,
  // The first page's layout has no main part, which a screen reader jumps to; and the name of the search's button lacks
  // the keys that it shows.
  setup() {
    const route = useRoute()
    const mark = () => {
      if (!document.querySelector('main')) document.getElementById('VPContent')?.setAttribute('role', 'main')
      const search = document.querySelector('.DocSearch-Button')
      search?.setAttribute('aria-label', search.textContent.trim())
    }
    onMounted(mark)
    watch(() => route.path, () => nextTick(mark))
  },
}
