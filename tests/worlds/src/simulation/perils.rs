//! What becomes of a device: it dies in the middle of a call, loses its power, is copied, is updated.

use marea_core::{Error, MIRROR_VERSION};

use super::device::{Device, some_place};
use super::world::{Checked, World};
use crate::disk::{Fault, Files};

impl World<'_> {
    /// Calls a device's engine. It may die in the middle, with the mirror's file as it was right before some write, sync,
    /// truncation or deletion: then the caller is told nothing.
    pub(super) fn dare<T>(
        &mut self,
        chosen: usize,
        call: impl FnOnce(&mut Device) -> Result<T, Error>,
    ) -> Result<Option<T>, String> {
        let dies = self.random.within(0..=999) < self.plan.crashes;
        if dies {
            let place = some_place(&mut self.random);
            self.devices[chosen].remember()?;
            self.devices[chosen].disk.break_at(place, Fault::Crash);
        }
        let device = &mut self.devices[chosen];
        let called = call(device).map_err(|error| error.to_string())?;
        if !dies {
            return Ok(Some(called));
        }
        device.disk.mend();
        // A short call is over before that moment: the device dies before it can tell.
        let files = device.disk.found_at_crash().unwrap_or_else(|| device.disk.as_it_is());
        self.die(chosen, files).map(|()| None)
    }

    /// The device starts again on the files as they were, or on what a power cut has left of them.
    pub(super) fn die(&mut self, chosen: usize, files: Files) -> Checked {
        let is_cut = self.random.chance(self.plan.power_cuts);
        let files = if is_cut { files.after_power_cut(&mut self.random) } else { files };
        let life = self.new_life();
        self.devices[chosen].start_again(files, life, &mut self.random)?;
        let refused = self.devices[chosen].engine.rejected().map_err(|error| error.to_string())?;
        self.devices[chosen].oracle.refused.extend(refused.iter().map(|mutation| mutation.id));
        let name = self.devices[chosen].name.clone();
        let what = if is_cut { "loses its power" } else { "crashes" };
        self.tell(&name, |_| format!("{what} and starts again"));
        Ok(())
    }

    /// The app was of an older version until now, and is updated with all that is in its queue.
    pub(super) fn upgrade(&mut self, chosen: usize) -> Checked {
        let newest = i64::from(MIRROR_VERSION);
        if newest == 1 {
            return Ok(());
        }
        let version = u32::try_from(self.random.within(1..=newest - 1)).expect("a version");
        let files = self.devices[chosen].files_of_version(version);
        let name = self.devices[chosen].name.clone();
        self.tell(&name, |_| format!("is updated from mirror version {version}"));
        self.die(chosen, files)?;
        self.check(chosen)
    }

    pub(super) fn copy(&mut self, chosen: usize) -> Checked {
        let life = self.new_life();
        let name = format!("device{}", self.devices.len());
        let copy = self.devices[chosen].copy(name.clone(), life, &mut self.random)?;
        self.tell(&name, |world| format!("is made as a copy of {}", world.devices[chosen].name));
        self.devices.push(copy);
        self.check(self.devices.len() - 1)
    }
}
