//! The letters of a recovery code: 128 random bits and 12 bits of checksum in Crockford's base 32, which leaves out the
//! letters that are mistaken for others.

use zeroize::Zeroizing;

use crate::vault::crypt;

/// 128 bits: out of reach of guessing, so that no slow derivation is needed.
pub(crate) const CODE_BYTES: usize = 16;
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// 128 bits and 12 of checksum, 5 a letter.
const CODE_LETTERS: usize = 28;

pub(crate) fn encode(bytes: &[u8; CODE_BYTES]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(CODE_LETTERS + CODE_LETTERS / 4));
    let bits = Zeroizing::new(bits(bytes));
    for (place, five) in bits.chunks(5).enumerate() {
        if place > 0 && place % 4 == 0 {
            text.push('-');
        }
        let value = five.iter().fold(0_usize, |value, bit| value * 2 + usize::from(*bit));
        text.push(char::from(LETTERS[value]));
    }
    text
}

pub(crate) fn decode(text: &str) -> Option<Zeroizing<[u8; CODE_BYTES]>> {
    let mut found = Zeroizing::new([0_u8; CODE_LETTERS * 5]);
    let mut count = 0;
    for letter in text.chars().filter(|c| !c.is_whitespace() && *c != '-') {
        let value = value_of(letter)?;
        let five = found.get_mut(count * 5..count * 5 + 5)?;
        five.iter_mut().enumerate().for_each(|(bit, place)| *place = value >> (4 - bit) & 1);
        count += 1;
    }
    let mut bytes = Zeroizing::new([0_u8; CODE_BYTES]);
    for (byte, eight) in bytes.iter_mut().zip(found.chunks(8)) {
        *byte = eight.iter().fold(0, |value, bit| value << 1 | bit);
    }
    let whole = count == CODE_LETTERS && *found == bits(&bytes);
    whole.then_some(bytes)
}

/// All bits of a code, the first byte's highest first, then the checksum's.
fn bits(bytes: &[u8; CODE_BYTES]) -> [u8; CODE_LETTERS * 5] {
    let sum = crypt::sha256(&[b"marea recovery code ", bytes]);
    let mut bits = [0; CODE_LETTERS * 5];
    for (place, bit) in bits.iter_mut().enumerate() {
        let byte = bytes.get(place / 8).copied().unwrap_or(sum[(place / 8).saturating_sub(CODE_BYTES)]);
        *bit = byte >> (7 - place % 8) & 1;
    }
    bits
}

fn value_of(letter: char) -> Option<u8> {
    let letter = match letter.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    let place = LETTERS.iter().position(|known| char::from(*known) == letter)?;
    u8::try_from(place).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_type_it() {
        let bytes: [u8; CODE_BYTES] = std::array::from_fn(|n| (n * 37) as u8);
        let text = encode(&bytes);
        assert_eq!(text.len(), 34);
        assert_eq!(text.split('-').count(), 7);
        let typed = text.to_lowercase().replace('-', " ").replace('0', "o").replace('1', "l");
        assert_eq!(*decode(&typed).unwrap(), bytes);
    }

    #[test]
    fn every_single_mistyped_letter_is_noticed_but_for_one_in_4096() {
        let text = encode(&[9; CODE_BYTES]);
        let letters: Vec<char> = text.chars().collect();
        let mut missed = 0;
        for place in (0..letters.len()).filter(|place| letters[*place] != '-') {
            for other in LETTERS.iter().map(|l| char::from(*l)).filter(|l| *l != letters[place]) {
                let mut typed = letters.clone();
                typed[place] = other;
                missed += usize::from(decode(&typed.into_iter().collect::<String>()).is_some());
            }
        }
        assert!(missed <= 2, "{missed}");
        for wrong in ["", "0000", &text[1..], &format!("{}0", text.as_str()), "U000"] {
            assert!(decode(wrong).is_none());
        }
    }
}
