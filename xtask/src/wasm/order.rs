//! In which order a module's functions compress best: gzip finds what is alike in the last 32 kB, so each function is followed by the
//! one of which most has stood within that reach already. 3 % less to download: docs/adr/0050-what-the-browser-downloads.md.
//!
//! It only names the functions by their places; wasm-opt sorts by names, and writes the module.

use std::collections::HashMap;

use anyhow::{Context, Result};

use super::binary::{CODE, CUSTOM, HEADER, IMPORTS, Reader, put_number, put_text};

/// Pieces of so many bytes are compared.
const PIECE: usize = 6;
/// A little less than gzip's reach: what follows stands within it too.
const REACH: usize = 31_000;
/// How much less a piece counts for being in many functions.
const RARITY: f64 = 0.3;

/// The module with a name for each of its functions, by which they are to be sorted. Names that it had are gone.
pub(crate) fn named(module: &[u8]) -> Result<Vec<u8>> {
    let mut input = Reader { bytes: module, at: HEADER };
    let mut out = module.get(..HEADER).context("no module")?.to_vec();
    let (mut imported, mut bodies) = (0, Vec::new());
    while input.at < module.len() {
        let start = input.at;
        let (kind, length) = (input.byte()?, input.number()?);
        let mut section = Reader { bytes: input.take(length)?, at: 0 };
        match kind {
            CUSTOM => continue,
            IMPORTS => imported = section.imports()?.len(),
            CODE => bodies = section.bodies()?,
            _ => {}
        }
        out.extend(&module[start..input.at]);
    }
    let mut places = vec![0; bodies.len()];
    for (place, function) in order(&bodies).into_iter().enumerate() {
        places[function] = place;
    }
    let mut names = Vec::new();
    put_number(&mut names, places.len());
    for (function, place) in places.into_iter().enumerate() {
        put_number(&mut names, imported + function);
        put_text(&mut names, &format!("{place:06}"));
    }
    let mut section = Vec::new();
    put_text(&mut section, "name");
    // The part that holds the functions' names.
    section.push(1);
    put_number(&mut section, names.len());
    section.extend(names);
    out.push(CUSTOM);
    put_number(&mut out, section.len());
    out.extend(section);
    Ok(out)
}

/// The functions by number, in their new order.
fn order(bodies: &[&[u8]]) -> Vec<usize> {
    let mut numbers = HashMap::new();
    let mut pieces: Vec<Vec<usize>> = Vec::with_capacity(bodies.len());
    for body in bodies {
        let mut own: Vec<usize> = body
            .windows(PIECE)
            .map(|piece| {
                let next = numbers.len();
                *numbers.entry(piece).or_insert(next)
            })
            .collect();
        own.sort_unstable();
        own.dedup();
        pieces.push(own);
    }
    let mut holders = vec![Vec::new(); numbers.len()];
    for (function, own) in pieces.iter().enumerate() {
        for &piece in own {
            holders[piece].push(function);
        }
    }
    let weights: Vec<f64> = holders.iter().map(|all| weight(all.len())).collect();
    // Never zero, so that a function without anything that is elsewhere can be compared too.
    let whole: Vec<f64> =
        pieces.iter().map(|own| own.iter().map(|&piece| weights[piece]).sum::<f64>() + 1e-9).collect();
    let mut within = vec![0_u32; numbers.len()];
    let mut known = vec![0.0; bodies.len()];
    let mut placed = vec![false; bodies.len()];
    let mut order: Vec<usize> = Vec::with_capacity(bodies.len());
    let (mut oldest, mut bytes) = (0, 0);
    let mut next = (0..bodies.len()).max_by_key(|&function| bodies[function].len());
    while let Some(function) = next {
        placed[function] = true;
        order.push(function);
        bytes += bodies[function].len();
        for &piece in &pieces[function] {
            within[piece] += 1;
            if within[piece] == 1 {
                holders[piece].iter().for_each(|&holder| known[holder] += weights[piece]);
            }
        }
        while bytes > REACH && oldest + 1 < order.len() {
            let gone = order[oldest];
            oldest += 1;
            bytes -= bodies[gone].len();
            for &piece in &pieces[gone] {
                within[piece] -= 1;
                if within[piece] == 0 {
                    holders[piece].iter().for_each(|&holder| known[holder] -= weights[piece]);
                }
            }
        }
        let share = |function: usize| known[function] / whole[function];
        let left = (0..bodies.len()).filter(|&function| !placed[function]);
        next = left.max_by(|&a, &b| share(a).total_cmp(&share(b)).then(b.cmp(&a)));
    }
    order
}

/// What is in one function alone tells nothing.
fn weight(functions: usize) -> f64 {
    match u32::try_from(functions) {
        Ok(0 | 1) | Err(_) => 0.0,
        Ok(many) => f64::from(many).powf(-RARITY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alike_comes_together() {
        let (a, b) = (
            "the first kind of function, some of it".repeat(3),
            "ANOTHER ONE, WHICH IS QUITE DIFFERENT".repeat(3),
        );
        let bodies =
            [format!("{a}1"), format!("{b}22"), format!("{a}333"), format!("{b}4444"), "none".to_owned()];
        let bodies: Vec<&[u8]> = bodies.iter().map(|body| body.as_bytes()).collect();
        let order = order(&bodies);
        let place = |function| order.iter().position(|&other| other == function).unwrap();
        assert_eq!(place(0).abs_diff(place(2)), 1, "{order:?}");
        assert_eq!(place(1).abs_diff(place(3)), 1, "{order:?}");
        assert_eq!(order.len(), 5);
    }

    #[test]
    fn a_module_is_named_and_otherwise_as_it_was() {
        // One import, two functions, and a section of names that goes.
        let module = b"\0asm\x01\0\0\0\x02\x07\x01\x01m\x01f\x00\x00\x0a\x07\x02\x02\x00\x0b\x02\x00\x0b\x00\x05\x04name";
        let named = named(module).unwrap();
        assert!(named.starts_with(&module[..module.len() - 7]));
        let names = String::from_utf8_lossy(&named[module.len() - 7..]).into_owned();
        assert!(names.contains("name") && names.contains("000000") && names.contains("000001"), "{names:?}");
        assert!(super::named(&module[..20]).is_err());
    }
}
