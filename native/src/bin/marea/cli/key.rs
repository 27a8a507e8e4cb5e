//! The words of `marea key ...`. No secret is an argument: other users of the machine see those.

use clap::{Args, Subcommand, ValueEnum};
use marea_native::Provider;

#[derive(Subcommand)]
#[command(after_help = "\
Passphrases and keys come from a prompt without echo, a file descriptor or the environment, never from arguments:
  marea key set openai
  MAREA_PASSPHRASE=... MAREA_API_KEY=... marea key set openai
  marea key get openai --passphrase-fd 3 3< passphrase.txt

A passphrase has 15 characters or more and is not easily guessed; `--generate` makes one and shows it once.

The key is sealed on this machine; `marea sync` sends the sealed form, and other devices open it with the passphrase.")]
pub(crate) enum KeyCommand {
    /// Seal a key, in place of the provider's last one; the first time, choose the passphrase
    Set {
        /// Whose API it is for
        provider: Named,
        #[command(flatten)]
        from: From,
        /// Read the key from this file descriptor, one line [environment: MAREA_API_KEY]
        #[arg(long, value_name = "N")]
        key_fd: Option<u32>,
        /// The first time: make a passphrase that nobody guesses, and show it once
        #[arg(long, conflicts_with = "passphrase_fd")]
        generate: bool,
    },
    /// Print a key in the clear
    Get {
        /// Whose API it is for
        provider: Named,
        #[command(flatten)]
        from: From,
    },
    /// Show which keys there are; with a passphrase from a descriptor or the environment, also a few letters of each
    List {
        #[command(flatten)]
        from: From,
    },
    /// Take a key away, on all devices
    Remove {
        /// Whose API it is for
        provider: Named,
    },
    /// Bring keys that were sealed under another passphrase, on a device set up apart, under this one
    Join {
        #[command(flatten)]
        from: From,
        /// Read the other passphrase from this file descriptor, one line [environment: MAREA_OTHER_PASSPHRASE]
        #[arg(long, value_name = "N")]
        other_passphrase_fd: Option<u32>,
    },
    /// Let the system's keychain open the vault from now on, so that this device asks for no passphrase
    Remember {
        #[command(flatten)]
        from: From,
    },
    /// Let the keychain forget this vault
    Forget,
    /// Change the passphrase, seal all keys with a new data key, and replace the recovery code
    Passphrase {
        #[command(flatten)]
        from: From,
        #[command(flatten)]
        new: New,
    },
    /// Print a passphrase that nobody guesses
    Suggest,
    /// Seal all keys with a new data key, and replace the recovery code
    Rotate {
        #[command(flatten)]
        from: From,
    },
    /// Make a recovery code, in place of the one before; it is shown once
    Recovery {
        #[command(flatten)]
        from: From,
    },
    /// Choose a new passphrase with the recovery code, seal all keys with a new data key, and replace the code
    Recover {
        /// Read the recovery code from this file descriptor, one line [environment: MAREA_RECOVERY_CODE]
        #[arg(long, value_name = "N")]
        code_fd: Option<u32>,
        #[command(flatten)]
        new: New,
    },
    /// Give up all keys and the passphrase, on all devices
    Reset {
        /// Yes, all of them
        #[arg(long, required = true)]
        yes: bool,
    },
}

#[derive(Args)]
pub(crate) struct From {
    /// Read the passphrase from this file descriptor, one line [environment: MAREA_PASSPHRASE]
    #[arg(long, value_name = "N")]
    pub(crate) passphrase_fd: Option<u32>,
}

#[derive(Args)]
pub(crate) struct New {
    /// Read the new passphrase from this file descriptor, one line [environment: MAREA_NEW_PASSPHRASE]
    #[arg(long, value_name = "N")]
    pub(crate) new_passphrase_fd: Option<u32>,
    /// Make a passphrase that nobody guesses, and show it once
    #[arg(long, conflicts_with = "new_passphrase_fd")]
    pub(crate) generate: bool,
    /// Change the passphrase only: the recovery code stays. Not for a passphrase that somebody may know: with an old backup the
    /// old one opens also what is sealed later
    #[arg(long)]
    pub(crate) rewrap_only: bool,
}

/// A provider, as it is typed.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Named {
    Openai,
    Unsplash,
    Anthropic,
}

impl Named {
    pub(crate) fn provider(self) -> Provider {
        match self {
            Named::Openai => Provider::Openai,
            Named::Unsplash => Provider::Unsplash,
            Named::Anthropic => Provider::Anthropic,
        }
    }
}
