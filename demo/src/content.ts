// The pictures, what can be seen in them, and what is asked about them, in both languages.

import harbour from './pictures/harbour.svg'
import kitchen from './pictures/kitchen.svg'
import market from './pictures/market.svg'
import night from './pictures/night.svg'
import park from './pictures/park.svg'
import train from './pictures/train.svg'
import { daysAgo } from './days'

export type Language = 'en' | 'es'

/** One thing in both languages. */
export type Pair = Readonly<Record<Language, string>>

export interface Question {
  ask: Pair
  /** The first one is right; they are shown in an order of their own. */
  options: readonly [Pair, Pair, Pair]
}

export interface Picture {
  id: string
  source: string
  title: Pair
  words: readonly Pair[]
  questions: readonly Question[]
}

const pair = (en: string, es: string): Pair => ({ en, es })
const words = (list: string): Pair[] =>
  list.split(', ').map((entry) => {
    const [en = '', es = ''] = entry.split(' = ')
    return pair(en, es)
  })
const question = (ask: Pair, ...options: [Pair, Pair, Pair]): Question => ({ ask, options })

export const pictures: readonly Picture[] = [
  {
    id: 'harbour',
    source: harbour,
    title: pair('The harbour', 'El puerto'),
    words: words(
      'the lighthouse = el faro, the boat = el barco, the sail = la vela, the sea = el mar, the fisherman = el pescador, the wave = la ola, the seagull = la gaviota, the pier = el muelle',
    ),
    questions: [
      question(pair('What is the man on the pier doing?', '¿Qué hace el hombre del muelle?'), pair('He is fishing', 'Está pescando'), pair('He is swimming', 'Está nadando'), pair('He is sleeping', 'Está durmiendo')),
      question(pair('What colours is the lighthouse?', '¿De qué colores es el faro?'), pair('Red and white', 'Rojo y blanco'), pair('Blue and yellow', 'Azul y amarillo'), pair('Green and black', 'Verde y negro')),
      question(pair('How many boats are there?', '¿Cuántos barcos hay?'), pair('Two', 'Dos'), pair('Four', 'Cuatro'), pair('None', 'Ninguno')),
      question(pair('What is the weather like?', '¿Qué tiempo hace?'), pair('It is sunny', 'Hace sol'), pair('It is raining', 'Está lloviendo'), pair('It is snowing', 'Está nevando')),
    ],
  },
  {
    id: 'market',
    source: market,
    title: pair('The market', 'El mercado'),
    words: words(
      'the stall = el puesto, the orange = la naranja, the apple = la manzana, the banana = el plátano, the basket = la cesta, the scales = la balanza, the egg = el huevo, the apron = el delantal',
    ),
    questions: [
      question(pair('What is the woman holding?', '¿Qué tiene la mujer en la mano?'), pair('An orange', 'Una naranja'), pair('A fish', 'Un pescado'), pair('A newspaper', 'Un periódico')),
      question(pair('Where are the bananas?', '¿Dónde están los plátanos?'), pair('They hang on the left', 'Cuelgan a la izquierda'), pair('They are in the basket', 'Están en la cesta'), pair('They are on the ground', 'Están en el suelo')),
      question(pair('Which animal is there?', '¿Qué animal hay?'), pair('A cat', 'Un gato'), pair('A dog', 'Un perro'), pair('A horse', 'Un caballo')),
      question(pair('What is in the basket?', '¿Qué hay en la cesta?'), pair('Green vegetables', 'Verduras'), pair('Eggs', 'Huevos'), pair('Nothing', 'Nada')),
    ],
  },
  {
    id: 'kitchen',
    source: kitchen,
    title: pair('The kitchen', 'La cocina'),
    words: words(
      'the teapot = la tetera, the cup = la taza, the bread = el pan, the chair = la silla, the table = la mesa, the window = la ventana, the clock = el reloj, the plant = la planta',
    ),
    questions: [
      question(pair('What time is it?', '¿Qué hora es?'), pair('Four o’clock', 'Las cuatro'), pair('Nine o’clock', 'Las nueve'), pair('Half past one', 'La una y media')),
      question(pair('Where is the cat?', '¿Dónde está el gato?'), pair('On the chair', 'En la silla'), pair('Under the table', 'Debajo de la mesa'), pair('At the window', 'En la ventana')),
      question(pair('What is on the table?', '¿Qué hay en la mesa?'), pair('A teapot, a cup and bread', 'Una tetera, una taza y pan'), pair('Only a lamp', 'Solo una lámpara'), pair('A cake', 'Una tarta')),
      question(pair('What colour is the teapot?', '¿De qué color es la tetera?'), pair('Blue', 'Azul'), pair('Red', 'Roja'), pair('Yellow', 'Amarilla')),
    ],
  },
  {
    id: 'park',
    source: park,
    title: pair('The park', 'El parque'),
    words: words(
      'the kite = la cometa, the bench = el banco, the dog = el perro, the bicycle = la bicicleta, the tree = el árbol, the newspaper = el periódico, the ball = la pelota, the cloud = la nube',
    ),
    questions: [
      question(pair('What is the old man doing?', '¿Qué hace el anciano?'), pair('He is reading', 'Está leyendo'), pair('He is running', 'Está corriendo'), pair('He is eating', 'Está comiendo')),
      question(pair('What is the child playing with?', '¿Con qué juega el niño?'), pair('A kite', 'Una cometa'), pair('A computer', 'Un ordenador'), pair('A doll', 'Una muñeca')),
      question(pair('Who is riding the bicycle?', '¿Quién monta en la bicicleta?'), pair('Nobody', 'Nadie'), pair('The child', 'El niño'), pair('The old man', 'El anciano')),
      question(pair('What is the dog looking at?', '¿Qué mira el perro?'), pair('The ball and the child', 'La pelota y el niño'), pair('A cat', 'Un gato'), pair('The sea', 'El mar')),
    ],
  },
  {
    id: 'train',
    source: train,
    title: pair('The train', 'El tren'),
    words: words(
      'the bridge = el puente, the mountain = la montaña, the lake = el lago, the snow = la nieve, the carriage = el vagón, the journey = el viaje, the boat = la barca, the oar = el remo',
    ),
    questions: [
      question(pair('Where is the train?', '¿Dónde está el tren?'), pair('On a bridge', 'En un puente'), pair('In a tunnel', 'En un túnel'), pair('At the station', 'En la estación')),
      question(pair('What is under the bridge?', '¿Qué hay debajo del puente?'), pair('A lake', 'Un lago'), pair('A street', 'Una calle'), pair('A field', 'Un campo')),
      question(pair('What is there on the mountains?', '¿Qué hay en las montañas?'), pair('Snow', 'Nieve'), pair('Houses', 'Casas'), pair('Goats', 'Cabras')),
      question(pair('How many people are in the boat?', '¿Cuántas personas hay en la barca?'), pair('One', 'Una'), pair('Three', 'Tres'), pair('Nobody', 'Nadie')),
    ],
  },
  {
    id: 'night',
    source: night,
    title: pair('The street at night', 'La calle de noche'),
    words: words(
      'the moon = la luna, the street lamp = la farola, the star = la estrella, the roof = el tejado, the door = la puerta, the taxi = el taxi, the light = la luz, the neighbour = el vecino',
    ),
    questions: [
      question(pair('Where is the cat?', '¿Dónde está el gato?'), pair('On the roof', 'En el tejado'), pair('In the taxi', 'En el taxi'), pair('At the table', 'En la mesa')),
      question(pair('What colour is the taxi?', '¿De qué color es el taxi?'), pair('Yellow', 'Amarillo'), pair('White', 'Blanco'), pair('Black', 'Negro')),
      question(pair('Who is sitting at the café?', '¿Quién está sentado en el café?'), pair('A person with a red cap', 'Una persona con gorra roja'), pair('Two children', 'Dos niños'), pair('Nobody', 'Nadie')),
      question(pair('What can be seen in the sky?', '¿Qué se ve en el cielo?'), pair('The moon and stars', 'La luna y estrellas'), pair('The sun', 'El sol'), pair('A plane', 'Un avión')),
    ],
  },
]

export const pictureOf = (id: string | undefined): Picture | undefined => pictures.find((picture) => picture.id === id)

/** One picture for each day, the same on all devices. */
export function pictureOfTheDay(): Picture {
  const day = Math.round(Date.parse(`${daysAgo(0)}T12:00:00Z`) / 86_400_000)
  return pictures[day % pictures.length] as Picture
}

const plain = (text: string): string =>
  text
    .normalize('NFD')
    .replace(/\p{M}/gu, '')
    .toLowerCase()

/** Which of the picture's words a text uses: their places in the list. Articles do not count, plurals do. */
export function wordsUsed(text: string, picture: Picture, language: Language): Set<number> {
  const written = plain(text).split(/[^\p{L}]+/u)
  const uses = (word: string): boolean => {
    const bare = plain(word).replace(/^(the|el|la|los|las) /, '').split(' ')
    return bare.every((part) => {
      const stem = part.length > 4 ? part.slice(0, -1) : part
      return written.some((token) => token === part || token === `${part}s` || token === `${part}es` || (part.length > 4 && token.startsWith(stem)))
    })
  }
  return new Set(picture.words.flatMap((word, index) => (uses(word[language]) ? [index] : [])))
}
