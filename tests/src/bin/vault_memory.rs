//! Uses a vault in every way, locks it, says so, and stays: so that a test can look through its memory for what should be gone.
//! stdin: the folder, a passphrase, a second passphrase and a key, a line each; it ends when stdin does.

use std::fs::File;
use std::io::{self, Read as _, Write as _};

use marea_native::{ApiKey, Client, Config, Error, Passphrase, Provider, block_on};

/// Byte by byte, without a buffer that would keep it.
fn line(stdin: &mut File) -> io::Result<String> {
    let mut bytes = Vec::with_capacity(256);
    let mut byte = [0];
    while stdin.read(&mut byte)? == 1 && byte[0] != b'\n' {
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).map_err(io::Error::other)
}

async fn use_it(client: &Client, first: &Passphrase, second: &Passphrase, key: &ApiKey) -> Result<(), Error> {
    let vault = client.vault();
    vault.set_up(first).await?;
    vault.put(Provider::Openai, key).await?;
    assert!(vault.get(Provider::Openai).await?.expose() == key.expose());
    assert!(vault.status().await?.keys[0].hint.is_some());
    vault.change_passphrase(first, second).await?;
    vault.make_recovery_code().await?;
    vault.rotate(second).await?;
    let remembered = vault.data_key_to_remember().await?;
    vault.lock().await?;
    vault.unlock_with_data_key(remembered).await?;
    assert!(vault.validate(Provider::Openai, |key| async move { key.expose().len() > 3 }).await?);
    vault.lock().await?;
    vault.unlock(second).await?;
    assert!(vault.get(Provider::Openai).await?.expose() == key.expose());
    vault.lock().await
}

fn main() -> io::Result<()> {
    let mut stdin = File::open("/dev/fd/0")?;
    let folder = line(&mut stdin)?;
    let user = "7d0c7d5e-0d0e-4c0f-9b3a-2f8f5a1b6c3d".parse().map_err(io::Error::other)?;
    let client = block_on(Client::open(Config::new(folder, user))).map_err(io::Error::other)?;
    {
        let first = Passphrase::new(line(&mut stdin)?).map_err(io::Error::other)?;
        let second = Passphrase::new(line(&mut stdin)?).map_err(io::Error::other)?;
        let key = ApiKey::new(line(&mut stdin)?).map_err(io::Error::other)?;
        block_on(use_it(&client, &first, &second, &key)).map_err(io::Error::other)?;
        // With an argument it still has them while it is looked at: so the test can see that it would find them.
        if std::env::args().len() > 1 {
            return wait(&mut stdin);
        }
    }
    wait(&mut stdin)
}

fn wait(stdin: &mut File) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "locked")?;
    stdout.flush()?;
    line(stdin).map(drop)
}
