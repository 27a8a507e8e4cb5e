// What the tests change about what is shown.

export const shown: { level: 'a1' | 'b1' } = $state({ level: 'a1' })
