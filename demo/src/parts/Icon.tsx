// The icons: drawn in one stroke on a square of 24.

const PATHS = {
  today: 'M4 11.5 12 5l8 6.5V19a1 1 0 0 1-1 1h-4v-5.5H9V20H5a1 1 0 0 1-1-1z',
  pictures: 'M4 6.5A1.5 1.5 0 0 1 5.5 5h13A1.5 1.5 0 0 1 20 6.5v11a1.5 1.5 0 0 1-1.5 1.5h-13A1.5 1.5 0 0 1 4 17.5zM4 16l4.5-4.5 4 4 2.5-2.5 5 5M15.5 9.5h.01',
  words: 'M5 5.5A1.5 1.5 0 0 1 6.5 4H18v13H6.5A1.5 1.5 0 0 0 5 18.5zM5 18.5A1.5 1.5 0 0 0 6.5 20H18v-3M9 8.5h5',
  progress: 'M5 20V11M12 20V4M19 20v-6',
  more: 'M5 12h.01M12 12h.01M19 12h.01',
  exports: 'M12 4v11M7.5 10.5 12 15l4.5-4.5M5 19.5h14',
  keys: 'M14.5 12.5a4.25 4.25 0 1 0-3-3L4.5 16.5V20H8v-2h2v-2h2z',
  device: 'M8 3.5h8A1.5 1.5 0 0 1 17.5 5v14a1.5 1.5 0 0 1-1.5 1.5H8A1.5 1.5 0 0 1 6.5 19V5A1.5 1.5 0 0 1 8 3.5zM11 17.5h2',
  settings: 'M4 7.5h9M17 7.5h3M4 16.5h3M11 16.5h9M15 5v5M9 14v5',
  plane: 'M21 15.5v-2l-7.5-5V4a1.5 1.5 0 0 0-3 0v4.5L3 13.5v2l7.5-2.5v5L8 20v1.5l4-1 4 1V20l-2.5-2v-5z',
  check: 'M5 12.5 10 17.5 19.5 7',
  plus: 'M12 5v14M5 12h14',
  cross: 'M6 6l12 12M18 6 6 18',
  arrow: 'M5 12h14M13 6l6 6-6 6',
  back: 'M19 12H5M11 6l-6 6 6 6',
  pencil: 'M4.5 19.5 5.5 15 15.5 5l3.5 3.5L9 18.5zM13 7.5 16.5 11',
  bin: 'M5 7h14M10 7V4.5h4V7M7 7l1 12.5h8L17 7M10.5 10.5v5.5M13.5 10.5v5.5',
  sync: 'M19.5 8A8 8 0 0 0 5 9.5M5 5v4.5h4.5M4.5 16A8 8 0 0 0 19 14.5M19 19v-4.5h-4.5',
  lock: 'M7 11V8a5 5 0 0 1 10 0v3M5.5 11h13v9h-13zM12 14.5v2',
} as const

export type IconName = keyof typeof PATHS

export function Icon({ name }: { name: IconName }) {
  return (
    <svg className="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  )
}
