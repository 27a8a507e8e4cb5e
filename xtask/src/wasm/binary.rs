//! As much of WebAssembly's binary format as is read and written here.

use anyhow::{Context, Result, bail};

pub(super) const HEADER: usize = 8;
pub(super) const CUSTOM: u8 = 0;
pub(super) const IMPORTS: u8 = 2;
pub(super) const EXPORTS: u8 = 7;
pub(super) const CODE: u8 = 10;

/// Reads on from a place.
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at + length).context("the module ends too early")?;
        self.at += length;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    /// An unsigned LEB128.
    pub(super) fn number(&mut self) -> Result<usize> {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.byte()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            shift += 7;
            if shift > 28 {
                bail!("a number in the module is too long");
            }
        }
    }

    pub(super) fn name(&mut self) -> Result<&'a str> {
        let length = self.number()?;
        Ok(std::str::from_utf8(self.take(length)?)?)
    }

    /// The imported functions: the name, and what of the entry is behind it. What they are imported from is one.
    pub(super) fn imports(&mut self) -> Result<Vec<(&'a str, &'a [u8])>> {
        (0..self.number()?)
            .map(|_| {
                self.name()?;
                let name = self.name()?;
                let start = self.at;
                match self.byte()? {
                    0 => self.number()?,
                    // What rustc's modules import beside functions; nothing else has been seen.
                    other => bail!(
                        "the module imports something of kind {other}: teach xtask/src/wasm/binary.rs to read it"
                    ),
                };
                Ok((name, &self.bytes[start..self.at]))
            })
            .collect()
    }

    /// What is exported: the name, and what of the entry is behind it.
    pub(super) fn exports(&mut self) -> Result<Vec<(&'a str, &'a [u8])>> {
        (0..self.number()?)
            .map(|_| {
                let name = self.name()?;
                let start = self.at;
                self.byte()?;
                self.number()?;
                Ok((name, &self.bytes[start..self.at]))
            })
            .collect()
    }

    pub(super) fn bodies(&mut self) -> Result<Vec<&'a [u8]>> {
        let count = self.number()?;
        (0..count)
            .map(|_| {
                let length = self.number()?;
                self.take(length)
            })
            .collect()
    }
}

pub(super) fn put_number(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len());
    out.extend(text.as_bytes());
}
