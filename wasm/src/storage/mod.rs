//! Where a mirror is kept in a browser, and what is done when it is gone or damaged.

mod local;
mod opfs;
mod salvage;
mod shelf;

use std::sync::Arc;

use marea_core::{Engine, Error, ImageKeeper, Location, Rescued, SystemEntropy, UserId};
use sqlite_wasm_vfs::sahpool::OpfsSAHPoolUtil;
use wasm_bindgen::JsValue;

use crate::error::{from_core, invalid_input};
use crate::host::now;
use crate::types::Recovery;

/// What has to be let go of with the engine.
pub(crate) enum Place {
    /// With the name of the folder for the bytes of files.
    Opfs(OpfsSAHPoolUtil, String),
    LocalStorage(Arc<local::Held>),
    Memory,
}

impl Place {
    /// Gives it back, for others to take; says whether that was possible.
    pub(crate) fn release(&self) -> bool {
        match self {
            Place::Opfs(pool, _) => pool.pause().is_ok(),
            Place::LocalStorage(_) | Place::Memory => true,
        }
    }

    /// Leaves it although a request is under way.
    pub(crate) fn leave(&self) {
        if let Place::LocalStorage(held) = self {
            held.leave();
        }
    }

    /// The folder below the site's `.marea` for the bytes of files, which belong to this mirror; none where there are no folders.
    pub(crate) fn files_folder(&self) -> Option<String> {
        match self {
            Place::Opfs(_, folder) => Some(folder.clone()),
            Place::LocalStorage(_) | Place::Memory => None,
        }
    }

    /// The revision that the mirror has come to, where tabs see each other's writes late.
    pub(crate) fn revision(&self) -> Option<f64> {
        match self {
            Place::LocalStorage(held) => Some(held.revision() as f64),
            Place::Opfs(..) | Place::Memory => None,
        }
    }
}

/// An open mirror.
pub(crate) struct Opened {
    pub(crate) engine: Engine,
    pub(crate) place: Place,
    pub(crate) recovery: Option<Recovery>,
}

/// The newest revision of a user's mirror that this page can see in `localStorage`; 0 when there is none.
pub(crate) fn image_revision(user_id: &str) -> f64 {
    local::image_revision(user_id)
}

/// Opens the user's mirror on a kind of storage, or makes it. `known`: this device has had one.
pub(crate) async fn open(storage: &str, user: UserId, known: bool) -> Result<Opened, JsValue> {
    match storage {
        "opfs" => on_opfs(user, known).await,
        "local-storage" => {
            let opened = local::open(user).map_err(|error| from_core(&error))?;
            let (engine, held, set_aside, fresh) = opened;
            Ok(Opened {
                engine,
                place: Place::LocalStorage(held),
                recovery: recovery(set_aside, fresh && known),
            })
        }
        "memory" => {
            let engine = Engine::open(&Location::Memory, user, entropy(), now());
            let engine = engine.map_err(|error| from_core(&error))?;
            Ok(Opened { engine, place: Place::Memory, recovery: None })
        }
        _ => Err(invalid_input("`storage` must be opfs, local-storage or memory")),
    }
}

async fn on_opfs(user: UserId, known: bool) -> Result<Opened, JsValue> {
    let mut generation = opfs::newest_generation(&user).await?;
    let mut damaged: Option<Rescued> = None;
    loop {
        let opened = match opfs::open_pool(&user, generation).await {
            Ok(pool) => {
                let fresh = !opfs::has_mirror(&pool);
                let location = Location::Vfs(opfs::MIRROR_FILE.to_owned());
                match Engine::open(&location, user, entropy(), now()) {
                    Ok(engine) => Ok((engine, pool, fresh)),
                    Err(error) => {
                        let _ = pool.pause();
                        let is_damage = matches!(error, Error::MirrorCorrupt);
                        // Handles that can be opened and not written.
                        let refused = fresh && matches!(error, Error::StorageFailed { .. });
                        Err((is_damage, if refused { opfs::unavailable("write") } else { from_core(&error) }))
                    }
                }
            }
            Err(failure) => Err((failure.is_damage, failure.error)),
        };
        match opened {
            Ok((mut engine, pool, fresh)) => {
                if damaged.is_none()
                    && generation > 0
                    && has_met_nothing(&engine).map_err(|error| from_core(&error))?
                {
                    damaged = Some(opfs::rescue(&user, generation - 1).await);
                }
                if let Some(rescued) = &damaged
                    && let Err(error) = engine.restore_what_is_ours(rescued, now())
                {
                    // The next opening begins the new mirror once more, and restores into that: it has met nothing then.
                    drop(engine);
                    opfs::remove_mirror(&pool);
                    let _ = pool.pause();
                    return Err(from_core(&error));
                }
                let recovery = recovery(damaged.is_some(), fresh && known);
                return Ok(Opened {
                    engine,
                    place: Place::Opfs(pool, opfs::files_folder(&user, generation)),
                    recovery,
                });
            }
            // Left as it is, beside the new one. A second damaged one in a row is no accident of the first.
            Err((true, _)) if damaged.is_none() => {
                damaged = Some(opfs::rescue(&user, generation).await);
                generation += 1;
            }
            Err((_, error)) => return Err(error),
        }
    }
}

/// Whether a tab died after it had begun this mirror in place of a damaged one, and before it had restored what could be read
/// of that: the restoring is noted, and so is each sync.
fn has_met_nothing(engine: &Engine) -> Result<bool, Error> {
    let status = engine.status(now())?;
    Ok(status.last_error.is_none() && status.last_synced_at.is_none())
}

fn recovery(set_aside: bool, evicted: bool) -> Option<Recovery> {
    match (set_aside, evicted) {
        (true, _) => Some(Recovery::SetAside),
        (false, true) => Some(Recovery::Evicted),
        (false, false) => None,
    }
}

fn entropy() -> Box<SystemEntropy> {
    Box::new(SystemEntropy::new())
}

fn open_kept(keeper: Box<dyn ImageKeeper>, user: UserId) -> Result<Engine, Error> {
    Engine::open_image(keeper, user, entropy(), now())
}
