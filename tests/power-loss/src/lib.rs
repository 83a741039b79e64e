//! A library for `LD_PRELOAD` that remembers what a power cut would take: for every file below `LEVERET_POWER_DIR` what was
//! there before each write since its last sync, and every change of a folder. The journal of that goes to the folder
//! `LEVERET_POWER_LOG`; `leveret_tests::power` reads it and makes the files what the cut would have left. Syncs are noted
//! and not carried out. `LEVERET_POWER_FAIL=ENOSPC:17` lets the 17th write and all after it fail, `EIO:17` the 17th alone,
//! `EIO-SYNC:17` the 17th sync. It must not be linked into anything.

mod hooks;
mod journal;
mod state;
mod system;
