//! A server that is set back to right before a device's last changes: what the device has seen there, or what was acknowledged while
//! pages were still to come. It is shown all the same, until it is there again.

use marea_core::Signal;

use super::world::{Checked, World};

impl World<'_> {
    /// In one world of five, and not drawn: another draw would make other worlds of all seeds.
    pub(super) fn live_through_a_set_back(&mut self, chosen: usize) -> Checked {
        if !self.plan.steps.is_multiple_of(5) || self.plan.fast_clocks || self.server.beside.is_some() {
            return Ok(());
        }
        self.settle(chosen)?;
        self.server.save(self.now_ms);
        self.update_export(chosen)?;
        self.put_key(chosen)?;
        self.record_session(chosen)?;
        let page_rows = self.server.page_rows;
        if self.plan.steps.is_multiple_of(10) {
            self.settle(chosen)?;
        } else {
            self.server.page_rows = 1;
            self.sync_once(chosen)?;
        }
        self.server.set_back(usize::MAX, self.oldest_set_back());
        self.tell("server", |_| "is set back to before the last changes".to_owned());
        self.server.page_rows = 500;
        self.sync_once(chosen)?;
        self.server.page_rows = page_rows;
        Ok(())
    }

    fn sync_once(&mut self, chosen: usize) -> Checked {
        let device = &mut self.devices[chosen];
        device.engine.signal(Signal::SyncNow, device.now(self.now_ms));
        self.send_one(chosen).map(|_| ())
    }
}
