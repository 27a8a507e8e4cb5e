//! Whether a passphrase is good enough to be chosen, and one that is: for every host, the browser too.
//!
//! NIST SP 800-63B-4 (2025), 3.1.1.2: at least 15 characters where a password is the only factor, no rules on its
//! composition, and a list of what is commonly used or expected, with the reason told. With that length most of what leaks
//! have is out already; what is left are repetitions, runs along the alphabet or the keyboard, known sentences, and one common
//! word with digits around it. So what is repeated, runs on or is common counts once, and enough must be left.
//!
//! What it deliberately does not do: estimate strength. A model of that (zxcvbn) is a megabyte of words, and its verdict would
//! have to be the same in the browser and on the desktop. Whoever wants certainty takes a generated one.

use zeroize::Zeroizing;

use crate::entropy::Entropy;
use crate::error::Error;
use crate::vault::secret::Passphrase;

/// Fewer characters than this are no passphrase where it is the only factor.
const MIN_CHARS: usize = 15;
/// What must be left when everything that is repeated, common or runs on counts once.
const MIN_LEFT: usize = 8;

/// Written without anything between the words, in small letters. The longest that fits counts. What runs along the keyboard is
/// not among them: it runs on by itself.
const COMMON: &str = "correcthorsebatterystaple thequickbrownfoxjumpsoverthelazydog maytheforcebewithyou tobeornottobe \
    thatisthequestion loremipsum dolorsitamet consecteturadipiscing onceuponatime inthebeginning iloveyou iloveu letmein \
    trustnoi password passwort contrasena motdepasse passphrase passcode passwd changeme secret default administrator admin \
    welcome login master access please qwertzuiop azertyuiop yxcvbnm qwertz azerty dragon monkey football baseball sunshine \
    princess superman batman michael jennifer shadow whatever freedom starwars computer internet hello teamo tequiero summer \
    winter spring autumn marea supabase openai unsplash anthropic vault apikey";

/// The keys of a keyboard, row by row: digits, letters, and the signs that are on the digits.
const KEYS: [&str; 5] = ["1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm", SIGNS];
const SIGNS: &str = "!@#$%^&*()";
/// From a key to the one below it, in numbers of [`key`].
const ROW: i64 = 32;

/// Whether a passphrase is good enough to be chosen. For hosts that derive by themselves, before they begin; the engine
/// checks the others. One that was chosen under another rule still opens.
///
/// # Errors
/// [`Error::InvalidInput`] with the reason.
pub fn check_new_passphrase(text: String) -> Result<(), Error> {
    Passphrase::new(text)?.check_new()
}

/// The reason why it is not good enough.
pub(super) fn problem(text: &str) -> Option<&'static str> {
    if text.chars().count() < MIN_CHARS {
        return Some("must have at least 15 characters: several words, or take a generated one");
    }
    // Whatever is neither a letter nor a digit is easily put anywhere, and changes nothing; or it stands for a letter.
    for signs in ["", SIGNS] {
        let mut letters = Zeroizing::new(Vec::with_capacity(text.len()));
        letters.extend(
            text.chars().filter_map(|it| if signs.contains(it) { Some(it) } else { small_letter(it) }),
        );
        if letters.is_empty() {
            return Some("needs letters or digits");
        }
        if left(&letters) < MIN_LEFT {
            return Some(
                "is easily guessed: it repeats, runs on or is common; take other words, or a generated one",
            );
        }
    }
    None
}

/// A letter or a digit, small; nothing for other characters.
#[cfg(not(target_family = "wasm"))]
fn small_letter(letter: char) -> Option<char> {
    letter.is_alphanumeric().then(|| letter.to_lowercase().next().unwrap_or(letter))
}

/// The browser knows Unicode: the standard library's tables are 13 kB to download.
#[cfg(target_family = "wasm")]
fn small_letter(letter: char) -> Option<char> {
    if letter.is_ascii() {
        return letter.is_ascii_alphanumeric().then(|| letter.to_ascii_lowercase());
    }
    let text = String::from(letter);
    let is_alphanumeric = js_sys::RegExp::new(r"[\p{Alphabetic}\p{N}]", "u").test(&text);
    let small = || String::from(js_sys::JsString::from(text).to_lower_case());
    is_alphanumeric.then(|| small().chars().next().unwrap_or(letter))
}

/// How much is left when a common word and what runs on count once, what was there before not at all, and a letter that has been
/// there twice no more.
fn left(letters: &[char]) -> usize {
    let (mut at, mut count) = (0, 0);
    while at < letters.len() {
        let rest = &letters[at..];
        let common = COMMON.split_ascii_whitespace().filter(|word| starts_with(rest, word)).map(str::len);
        let (repeated, new) = (repeated(letters, at), common.chain([run(rest)]).max().unwrap_or(1));
        count += usize::from(new > repeated);
        at += new.max(repeated);
    }
    let is_new = |at: &usize| !letters[..*at].contains(&letters[*at]);
    count.min((0..letters.len()).filter(is_new).count() * 2)
}

fn starts_with(letters: &[char], word: &str) -> bool {
    letters.len() >= word.len() && word.chars().zip(letters).all(|(one, other)| stands_for(*other, one))
}

/// Whether it stands for the letter in words that are written with digits and signs.
fn stands_for(written: char, letter: char) -> bool {
    let plain = match written {
        '0' => 'o',
        '1' | '!' if letter == 'l' => 'l',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    };
    plain == letter
}

/// How many letters from here on, four at least, were there before in this order; else none.
fn repeated(letters: &[char], at: usize) -> usize {
    let was_there = |length: &usize| {
        let end = at + length;
        end <= letters.len() && letters[..end - 1].windows(*length).any(|before| *before == letters[at..end])
    };
    (4..).take_while(was_there).last().unwrap_or(0)
}

/// How many letters run on: three or more of the same or down the keyboard, four or more along the alphabet, the digits or the
/// keyboard, and six or more of two such runs by turns (`1q2w3e`, `a1b2c3`); else one.
fn run(letters: &[char]) -> usize {
    let code: fn(char) -> i64 = |letter| i64::from(u32::from(letter));
    let lengths = [code, key].map(|place| {
        let step = |at: usize| place(letters[at + 1]) - place(letters[at]);
        let length = |every: usize| {
            let goes_on = |at: &usize| *at < every || step(*at) == step(at - every);
            (0..letters.len() - 1).take_while(goes_on).count() + 1
        };
        let least = match letters.len() {
            1 => usize::MAX,
            _ => match step(0).abs() {
                0 | ROW => 3,
                1 => 4,
                _ => usize::MAX,
            },
        };
        let (straight, by_turns) = (length(1), length(2));
        if by_turns >= 6 {
            by_turns
        } else if straight >= least {
            straight
        } else {
            1
        }
    });
    lengths.into_iter().max().unwrap_or(1)
}

/// Where a letter is on the keyboard: neighbours in a row differ by one, and by [`ROW`] those above one another.
fn key(letter: char) -> i64 {
    let found = KEYS.iter().zip([0, 1, 2, 3, 0]).find_map(|(keys, row)| Some((keys.find(letter)?, row)));
    // What is on no key is next to none.
    found.map_or(i64::from(u32::from(letter)) << 8, |(place, row)| {
        i64::try_from(place).unwrap_or(0) + row * ROW
    })
}

impl Passphrase {
    /// Whether it is good enough to be chosen. One that was chosen under another rule still opens.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] with the reason: fewer than 15 characters, or easily guessed.
    pub fn check_new(&self) -> Result<(), Error> {
        problem(self.expose()).map_or(Ok(()), |problem| Err(Error::invalid("passphrase", problem)))
    }

    /// One that nobody guesses: five words of five letters that can be spoken, 80 random bits. To be shown to the learner.
    ///
    /// # Errors
    /// [`Error::NoEntropy`].
    pub fn generate(entropy: &mut dyn Entropy) -> Result<Passphrase, Error> {
        let mut bytes = Zeroizing::new([0; WORDS * 2]);
        entropy.fill(bytes.as_mut_slice())?;
        let mut text = Zeroizing::new(String::with_capacity(WORDS * 6));
        for (place, pair) in bytes.chunks(2).enumerate() {
            if place > 0 {
                text.push('-');
            }
            let bits = usize::from(pair[0]) << 8 | usize::from(pair[1]);
            for (shift, letters) in
                [(12, CONSONANTS), (10, VOWELS), (6, CONSONANTS), (4, VOWELS), (0, CONSONANTS)]
            {
                text.push(char::from(letters[bits >> shift & (letters.len() - 1)]));
            }
        }
        Passphrase::new(text.to_string())
    }
}

const WORDS: usize = 5;
/// 16 and 4: four bits and two. After D. S. Wilkerson, *A Proposal for Proquints*, 2009.
const CONSONANTS: &[u8] = b"bdfghjklmnprstvz";
const VOWELS: &[u8] = b"aiou";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;

    #[test]
    fn what_is_short_repeats_runs_on_or_is_common_is_refused() {
        for weak in [
            "password",
            "12345678",
            "        ",
            "fourteen chars",
            "               ",
            "!!!!!!!!!!!!!!!!!!!",
            "aaaaaaaaaaaaaaaaaaaa",
            "123456789012345",
            "1234567890123456789",
            "passwordpassword",
            "Password Password 1",
            "P4ssw0rd-P4ssw0rd!",
            "abcdefghijklmnop",
            "zyxwvutsrqponmlkj",
            "qwertyuiopasdfghjkl",
            "qwerty123456qwerty123456",
            "correct horse battery staple",
            "Correct-Horse-Battery-Staple-1",
            "abababababababab",
            "abcabcabcabcabcabc",
            "iloveyouiloveyou123",
            "may the force be with you",
            "The quick brown fox jumps over the lazy dog",
            "letmein letmein 2025",
            "111222333444555",
            "marea marea marea 123",
            "P@ssw0rd1234567",
            "P@ssw0rd2024!!!!",
            "P4$$w0rd!P4$$w0rd!",
            "1qaz2wsx3edc4rfv",
            "1q2w3e4r5t6y7u8i",
            "q1w2e3r4t5y6u7i8",
            "qazwsxedcrfvtgb",
            "!QAZ2wsx#EDC4rfv",
            "zaq1xsw2cde3vfr4",
            "a1b2c3d4e5f6g7h8",
            "we1c0me to m@rea!",
            "lantern lantern lantern",
            "qwerasdfzxcv1234",
            "administrat0r 1qaz",
        ] {
            let error = check_new_passphrase(weak.to_owned()).unwrap_err();
            assert_eq!(error.code(), "invalid_input", "{weak}");
            let said = error.to_string();
            assert!(said.contains("generated") || said.contains("letters or digits"), "{said}");
        }
    }

    #[test]
    fn ordinary_words_in_any_script_are_taken() {
        for good in [
            "fifteen lettres",
            "orbit velvet canoe drum",
            "marked passphrase crimson-lantern",
            "la marea alta de agosto",
            "ﬁne ４２ écrit à la main",
            "鮎が跳ねる川の朝霧に立つ人影",
            "x7!kQ0pzW4_mR2vD",
            "the first passphrase",
            "property trees were sweeter",
            "banana republic papers",
            "Wir zahlen 14,50 $ @home!",
        ] {
            let taken = check_new_passphrase(good.to_owned());
            // The Japanese one has 14 characters: the length is counted in characters, not in bytes.
            assert_eq!(taken.is_ok(), good.chars().count() >= MIN_CHARS, "{good}");
        }
    }

    #[test]
    fn a_generated_passphrase_can_be_chosen_and_is_another_each_time() {
        let made: Vec<Passphrase> =
            (0..200).map(|_| Passphrase::generate(&mut SystemEntropy::new()).unwrap()).collect();
        for one in &made {
            assert!(one.check_new().is_ok());
            assert_eq!(one.expose().len(), 29);
        }
        let mut texts: Vec<&str> = made.iter().map(Passphrase::expose).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), made.len());
    }
}
