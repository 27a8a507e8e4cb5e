//! Passphrases and keys, from where other users of the machine cannot see them: a file descriptor, the environment, or a
//! prompt without echo. Never from arguments.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;

use zeroize::Zeroizing;

use crate::failure::Failure;

/// Longer than any passphrase or key; more is a wrong file.
const MAX_BYTES: usize = 4096;

/// Where secrets come from in this run.
#[derive(Default)]
pub(crate) struct Secrets {
    open: HashMap<u32, File>,
}

/// One secret that a command needs.
pub(crate) struct Wanted {
    /// The descriptor given for it.
    pub(crate) fd: Option<u32>,
    /// The option that gives one.
    pub(crate) option: &'static str,
    /// The environment variable.
    pub(crate) variable: &'static str,
    /// What a person is asked.
    pub(crate) prompt: &'static str,
}

impl Secrets {
    /// The secret, if it was given without asking a person.
    pub(crate) fn given(&mut self, wanted: &Wanted) -> Result<Option<Zeroizing<String>>, Failure> {
        if let Some(fd) = wanted.fd {
            return self.line(fd, wanted.option).map(Some);
        }
        let from_environment = std::env::var(wanted.variable).ok().map(Zeroizing::new);
        Ok(from_environment.filter(|text| !text.is_empty()))
    }

    /// The secret, from a person if need be.
    pub(crate) fn get(&mut self, wanted: &Wanted) -> Result<Zeroizing<String>, Failure> {
        match self.given(wanted)? {
            Some(text) => Ok(text),
            None => ask(wanted),
        }
    }

    /// A secret that is being chosen: a person types it twice.
    pub(crate) fn choose(&mut self, wanted: &Wanted) -> Result<Zeroizing<String>, Failure> {
        if let Some(text) = self.given(wanted)? {
            return Ok(text);
        }
        let first = ask(wanted)?;
        let again = ask(&Wanted { prompt: "Once more: ", fd: None, ..*wanted })?;
        if *first != *again {
            return Err(Failure::usage("the two are not the same; nothing was changed"));
        }
        Ok(first)
    }

    /// One line of a descriptor, byte by byte: a buffer would keep what it read, and take what belongs to the next secret.
    fn line(&mut self, fd: u32, option: &str) -> Result<Zeroizing<String>, Failure> {
        let unreadable = || Failure::usage(format!("{option}: nothing can be read from descriptor {fd}"));
        let file = match self.open.entry(fd) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(File::open(format!("/dev/fd/{fd}")).map_err(|_| unreadable())?)
            }
        };
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES));
        let mut byte = [0_u8];
        while file.read(&mut byte).map_err(|_| unreadable())? == 1 && byte[0] != b'\n' {
            if bytes.len() == MAX_BYTES {
                let problem =
                    format!("{option}: the line of descriptor {fd} has more than {MAX_BYTES} bytes");
                return Err(Failure::usage(problem));
            }
            bytes.push(byte[0]);
        }
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        let text = std::str::from_utf8(&bytes).ok().filter(|text| !text.is_empty());
        text.map(|text| Zeroizing::new(text.to_owned())).ok_or_else(unreadable)
    }
}

fn ask(wanted: &Wanted) -> Result<Zeroizing<String>, Failure> {
    let asked = rpassword::prompt_password(wanted.prompt).map(Zeroizing::new);
    asked.map_err(|_| {
        let Wanted { option, variable, .. } = wanted;
        Failure::usage(format!("there is no terminal to ask on: give {option} N or {variable}"))
    })
}
