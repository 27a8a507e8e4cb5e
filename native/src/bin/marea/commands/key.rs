//! `marea key ...`: API keys sealed with a passphrase. Each command opens the vault for itself and leaves it locked.

use marea_native::{
    ApiKey, KeyState, Passphrase, Provider, RecoveryCode, Vault, VaultOutcome, VaultState, VaultStatus,
    block_on,
};
use serde::Serialize;
use zeroize::Zeroizing;

use super::key_shown::{Changed, for_people, listed, shown_first};
use crate::cli::{From, Globals, KeyCommand, New};
use crate::failure::Failure;
use crate::identity::{Opened, identify};
use crate::output::Output;
use crate::secrets::{Secrets, Wanted};

pub(crate) fn run(globals: &Globals, command: &KeyCommand, output: &Output) -> Result<(), Failure> {
    if let KeyCommand::Suggest = command {
        return suggest(output);
    }
    let client = identify(globals)?.open()?;
    let (vault, secrets) = (client.vault(), Secrets::default());
    let mut session = Session { vault, client, secrets, output, notes: Vec::new(), made: None };
    match session.carry_out(command) {
        Ok(Some(done)) => session.report(done),
        Ok(None) => Ok(()),
        Err(failure) => {
            if session.made.is_some() && output.is_json() {
                // The document that was begun with the passphrase.
                let _ = output.exact("}\n");
            }
            Err(failure)
        }
    }
}

/// What a command has done.
struct Done {
    text: &'static str,
    provider: Option<Provider>,
    code: Option<String>,
}

impl Done {
    fn new(text: &'static str) -> Done {
        Done { text, provider: None, code: None }
    }

    fn of(self, provider: Provider) -> Done {
        Done { provider: Some(provider), ..self }
    }
}

/// One command's vault, and where its secrets come from.
struct Session<'a> {
    client: Opened,
    vault: Vault,
    secrets: Secrets,
    output: &'a Output,
    notes: Vec<String>,
    /// A passphrase that was generated here, and is shown.
    made: Option<Passphrase>,
}

impl Session<'_> {
    fn carry_out(&mut self, command: &KeyCommand) -> Result<Option<Done>, Failure> {
        Ok(Some(match command {
            KeyCommand::List { from } => return self.list(from).map(|()| None),
            KeyCommand::Get { provider, from } => return self.get(provider.provider(), from).map(|()| None),
            KeyCommand::Set { provider, from, key_fd, generate } => {
                self.set(provider.provider(), from, *key_fd, *generate)?
            }
            KeyCommand::Remove { provider } => {
                block_on(self.vault.remove(provider.provider()))?;
                Done::new("The key is taken away.").of(provider.provider())
            }
            KeyCommand::Join { from, other_passphrase_fd } => self.join(from, *other_passphrase_fd)?,
            KeyCommand::Remember { from } => {
                self.unlock(from)?;
                block_on(self.vault.remember_device())?;
                Done::new("This device is remembered: the system's keychain opens the vault.")
            }
            KeyCommand::Forget => Done::new(match block_on(self.vault.forget_device())? {
                true => "The keychain has forgotten this vault.",
                false => "The keychain knew nothing of this vault.",
            }),
            KeyCommand::Passphrase { from, new } => self.change(from, new)?,
            KeyCommand::Rotate { from } => {
                let current = self.passphrase(from)?;
                let outcome = block_on(self.vault.rotate(&current))?;
                Done {
                    code: code(&outcome.recovery_code),
                    ..Done::new("All keys are sealed with a new data key.")
                }
            }
            KeyCommand::Recovery { from } => {
                self.unlock(from)?;
                let made = Some(block_on(self.vault.make_recovery_code())?);
                Done { code: code(&made), ..Done::new("A recovery code is made.") }
            }
            KeyCommand::Recover { code_fd, new } => self.recover(*code_fd, new)?,
            KeyCommand::Suggest => return Ok(None),
            KeyCommand::Reset { .. } => {
                block_on(self.vault.reset())?;
                Done::new("The keys and the passphrase are given up.")
            }
        }))
    }

    fn passphrase(&mut self, from: &From) -> Result<Passphrase, Failure> {
        read_passphrase(&self.secrets.get(&current(from))?)
    }

    fn unlock(&mut self, from: &From) -> Result<VaultOutcome, Failure> {
        let outcome = match self.secrets.given(&current(from))? {
            Some(given) => block_on(self.vault.unlock(&read_passphrase(&given)?))?,
            None => match self.remembered()? {
                Some(outcome) => outcome,
                None => {
                    let given = self.passphrase(from)?;
                    block_on(self.vault.unlock(&given))?
                }
            },
        };
        self.note(&outcome);
        Ok(outcome)
    }

    /// Opens the vault with what the keychain keeps. Where there is none, or it is of no use, the passphrase is asked for.
    fn remembered(&mut self) -> Result<Option<VaultOutcome>, Failure> {
        match block_on(self.vault.unlock_remembered()) {
            Err(error) if error.code() == "vault_forgotten" => {
                self.notes.push("The keychain has forgotten this vault: it was sealed anew since.".into());
                Ok(None)
            }
            Err(error) if error.code() == "keychain_unavailable" => Ok(None),
            outcome => Ok(outcome?),
        }
    }

    /// Opens the vault with its passphrase, then with the other one: what that opens is sealed under the first.
    fn join(&mut self, from: &From, fd: Option<u32>) -> Result<Done, Failure> {
        let given = self.passphrase(from)?;
        if block_on(self.vault.unlock(&given))?.other_passphrase.is_empty() {
            return Ok(Done::new("All keys open with this passphrase."));
        }
        let wanted = Wanted {
            fd,
            option: "--other-passphrase-fd",
            variable: "MAREA_OTHER_PASSPHRASE",
            prompt: "The other passphrase: ",
        };
        let other = read_passphrase(&self.secrets.get(&wanted)?)?;
        let outcome = block_on(self.vault.unlock(&other))?;
        self.note_closed(&still_closed(&block_on(self.vault.status())?));
        Ok(Done::new(if outcome.rewritten > 0 {
            "The keys are brought together."
        } else {
            "Nothing was brought together."
        }))
    }

    fn note(&mut self, outcome: &VaultOutcome) {
        if outcome.passphrase_is_old {
            self.notes
                .push("The passphrase was changed on another device: use the new one from now on.".into());
        }
        self.note_closed(&outcome.other_passphrase);
    }

    fn note_closed(&mut self, closed: &[Provider]) {
        for provider in closed {
            let name = provider.name();
            self.notes.push(format!(
                "The {name} key was sealed under another passphrase: `marea key join` asks for both."
            ));
        }
    }

    fn list(&mut self, from: &From) -> Result<(), Failure> {
        // A script that has a passphrase at hand may list before anything was sealed with it.
        let set_up = block_on(self.vault.status())?.state != VaultState::NotSetUp;
        if let Some(given) = self.secrets.given(&current(from))?.filter(|_| set_up) {
            let outcome = block_on(self.vault.unlock(&read_passphrase(&given)?))?;
            self.note(&outcome);
        }
        self.output.result(&block_on(self.vault.status())?, listed)
    }

    fn get(&mut self, provider: Provider, from: &From) -> Result<(), Failure> {
        // Without a key there is no need to ask for a passphrase.
        if !block_on(self.vault.status())?.keys.iter().any(|key| key.provider == provider) {
            return block_on(self.vault.get(provider)).map(drop).map_err(|_| no_key(provider));
        }
        self.unlock(from)?;
        let key = block_on(self.vault.get(provider))?;
        #[derive(Serialize)]
        struct Clear<'a> {
            provider: Provider,
            key: &'a str,
        }
        self.output.result(&Clear { provider, key: key.expose() }, |clear| format!("{}\n", clear.key))
    }

    fn set(
        &mut self,
        provider: Provider,
        from: &From,
        key_fd: Option<u32>,
        generate: bool,
    ) -> Result<Done, Failure> {
        let is_first = block_on(self.vault.status())?.state == VaultState::NotSetUp;
        let mut typed = None;
        if is_first {
            if block_on(self.client.status())?.last_synced_at.is_none() {
                self.notes.push(
                    "This mirror has never synced. Where another device has a passphrase already, bring the \
                     keys together with `marea key join` after the next sync."
                        .into(),
                );
            }
            let wanted = Wanted { prompt: "Choose a passphrase (`--generate` makes one): ", ..current(from) };
            typed = self.typed(&wanted, generate)?;
        } else {
            self.unlock(from)?;
        }
        let wanted =
            Wanted { fd: key_fd, option: "--key-fd", variable: "MAREA_API_KEY", prompt: "The API key: " };
        let key = ApiKey::new(self.secrets.get(&wanted)?.to_string()).map_err(marea_native::Error::from)?;
        if is_first {
            let chosen = self.typed_or_made(typed)?;
            block_on(self.vault.set_up(&chosen))?;
        }
        block_on(self.vault.put(provider, &key))?;
        Ok(Done::new("The key is sealed.").of(provider))
    }

    fn change(&mut self, from: &From, new: &New) -> Result<Done, Failure> {
        let current = self.passphrase(from)?;
        let chosen = self.chosen(new)?;
        let outcome = block_on(async {
            match new.rewrap_only {
                true => self.vault.rewrap_passphrase(&current, &chosen).await,
                false => self.vault.change_passphrase(&current, &chosen).await,
            }
        })?;
        Ok(self.changed(&outcome, new))
    }

    fn recover(&mut self, code_fd: Option<u32>, new: &New) -> Result<Done, Failure> {
        let wanted = Wanted {
            fd: code_fd,
            option: "--code-fd",
            variable: "MAREA_RECOVERY_CODE",
            prompt: "The recovery code: ",
        };
        let code = RecoveryCode::parse(&self.secrets.get(&wanted)?).map_err(marea_native::Error::from)?;
        let chosen = self.chosen(new)?;
        let outcome = block_on(async {
            match new.rewrap_only {
                true => self.vault.recover_rewrap(code, &chosen).await,
                false => self.vault.recover(code, &chosen).await,
            }
        })?;
        Ok(self.changed(&outcome, new))
    }

    fn changed(&mut self, outcome: &VaultOutcome, new: &New) -> Done {
        self.note(outcome);
        let text = match new.rewrap_only {
            true => "The passphrase is changed; the data key is the same.",
            false => "The passphrase is changed, and all keys are sealed with a new data key.",
        };
        Done { code: code(&outcome.recovery_code), ..Done::new(text) }
    }

    fn chosen(&mut self, new: &New) -> Result<Passphrase, Failure> {
        let wanted = Wanted {
            fd: new.new_passphrase_fd,
            option: "--new-passphrase-fd",
            variable: "MAREA_NEW_PASSPHRASE",
            prompt: "Choose a new passphrase (`--generate` makes one): ",
        };
        let typed = self.typed(&wanted, new.generate)?;
        self.typed_or_made(typed)
    }

    /// A passphrase that a person chooses; `None` where one is to be generated.
    fn typed(&mut self, wanted: &Wanted, generate: bool) -> Result<Option<Passphrase>, Failure> {
        if generate { Ok(None) } else { read_passphrase(&self.secrets.choose(wanted)?).map(Some) }
    }

    /// A generated passphrase is shown before it counts: with keys sealed under one that nobody has seen, all of them are lost.
    fn typed_or_made(&mut self, typed: Option<Passphrase>) -> Result<Passphrase, Failure> {
        if let Some(typed) = typed {
            return Ok(typed);
        }
        let made = Vault::generate_passphrase()?;
        self.output.beforehand(&shown_first(&made, self.output.is_json()))?;
        self.made = Some(made.clone());
        Ok(made)
    }

    /// What is shown only once is shown whatever else fails here.
    fn report(self, done: Done) -> Result<(), Failure> {
        let locked = block_on(self.vault.lock());
        let status = block_on(self.client.status());
        let Done { text, provider, code } = done;
        let pending = status.as_ref().ok().map(|status| status.pending);
        let is_secret = self.made.is_some() || code.is_some();
        let changed = Changed { done: text, provider, pending, recovery_code: code, notes: self.notes };
        if !is_secret {
            self.output.result(&changed, for_people)?;
        } else {
            let begun = self.made.map(|made| shown_first(&made, self.output.is_json())).unwrap_or_default();
            let rest = self.output.form(&changed, for_people)?;
            // One document, which begins with the passphrase.
            let rest = match rest.strip_prefix('{').filter(|_| !begun.is_empty()) {
                Some(fields) => format!(",{fields}"),
                None => rest,
            };
            self.output.once(&rest, &(begun + &rest))?;
        }
        locked?;
        status?;
        Ok(())
    }
}

fn suggest(output: &Output) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Suggested<'a> {
        passphrase: &'a str,
    }
    let made = Vault::generate_passphrase()?;
    output.result(&Suggested { passphrase: made.expose() }, |made| format!("{}\n", made.passphrase))
}

fn still_closed(status: &VaultStatus) -> Vec<Provider> {
    let closed = status.keys.iter().filter(|key| key.state == KeyState::OtherPassphrase);
    closed.map(|key| key.provider).collect()
}

fn current(from: &From) -> Wanted {
    Wanted {
        fd: from.passphrase_fd,
        option: "--passphrase-fd",
        variable: "MAREA_PASSPHRASE",
        prompt: "Passphrase: ",
    }
}

fn read_passphrase(text: &Zeroizing<String>) -> Result<Passphrase, Failure> {
    Ok(Passphrase::new(text.to_string()).map_err(marea_native::Error::from)?)
}

fn code(made: &Option<RecoveryCode>) -> Option<String> {
    made.as_ref().map(|code| code.expose().to_string())
}

fn no_key(provider: Provider) -> Failure {
    let name = provider.name();
    Failure::new("no_key", format!("there is no {name} key here; `marea key set {name}` seals one"))
}
