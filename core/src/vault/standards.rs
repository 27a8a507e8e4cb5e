//! What Project Wycheproof publishes for the four primitives, through the functions that the vault itself calls. The files
//! hold facts of theirs in a form of our own; each says where it comes from.

use super::crypt;
use super::secret::DataKey;

fn rows(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(' ').collect())
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = if hex == "-" { "" } else { hex };
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn aes_gcm_is_the_one_of_the_standard() {
    let (mut good, mut forged) = (0, 0);
    for row in rows(include_str!("standards/aes_256_gcm.txt")) {
        let [number, verdict, rest @ ..] = row.as_slice() else { panic!("{row:?}") };
        let [key, nonce, about, plain, ciphertext, tag] =
            rest.iter().map(|part| bytes(part)).collect::<Vec<_>>().try_into().unwrap();
        let key = DataKey::from_slice(&key).unwrap();
        let sealed = [nonce.as_slice(), &ciphertext, &tag].concat();
        let opened = crypt::open_with(&key, &about, &sealed);
        if *verdict == "invalid" {
            assert!(opened.is_none(), "{number}");
            forged += 1;
            continue;
        }
        assert_eq!(opened.unwrap().as_slice(), plain, "{number}");
        let made = crypt::seal_with(&key, nonce.try_into().unwrap(), &about, &plain);
        assert_eq!(made.unwrap(), sealed, "{number}");
        good += 1;
    }
    assert!(good >= 30 && forged >= 20, "{good}, {forged}");
}

#[test]
fn hkdf_is_the_one_of_wycheproof() {
    let mut seen = 0;
    for row in rows(include_str!("standards/hkdf_sha256.txt")) {
        let [secret, info, expected] = [bytes(row[1]), bytes(row[2]), bytes(row[3])];
        let key = crypt::expand_with(&secret, &info);
        assert_eq!(&key.expose()[..expected.len()], expected, "{}", row[0]);
        seen += 1;
    }
    assert!(seen >= 10, "{seen}");
}

#[test]
fn pbkdf2_is_the_one_of_wycheproof() {
    let mut seen = 0;
    for row in rows(include_str!("standards/pbkdf2_sha256.txt")) {
        let [password, salt, expected] = [bytes(row[1]), bytes(row[2]), bytes(row[4])];
        let key = crypt::derive(&password, &salt, row[3].parse().unwrap());
        assert_eq!(&key.expose()[..expected.len()], expected, "{}", row[0]);
        seen += 1;
    }
    assert!(seen >= 40, "{seen}");
}

#[test]
fn hmac_is_the_one_of_wycheproof() {
    let (mut good, mut forged) = (0, 0);
    for row in rows(include_str!("standards/hmac_sha256.txt")) {
        let [key, message, tag] = [bytes(row[2]), bytes(row[3]), bytes(row[4])];
        let made = crypt::authenticate(&DataKey::from_slice(&key).unwrap(), &message);
        assert_eq!(crypt::same(&made, &tag), row[1] == "valid", "{}", row[0]);
        if row[1] == "valid" { good += 1 } else { forged += 1 }
    }
    assert!(good >= 20 && forged >= 20, "{good}, {forged}");
}
