//! The disk as SQLite sees it: a virtual file system, https://sqlite.org/vfs.html.
//!
//! The only place with `unsafe`: SQLite calls through C pointers. Each function here converts, calls the drive, converts.
#![allow(
    unsafe_code,
    reason = "SQLite's virtual file systems are C structures; no safe crate offers one for tests"
)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::{Arc, Mutex, Once};

use rusqlite::ffi;

use super::drive::{Drive, Operation};
use super::{find, lock};

/// The name to open a file by: `file:/1/mirror?vfs=marea-disk`.
pub(super) const NAME: &str = "marea-disk";
const C_NAME: &CStr = c"marea-disk";
const LONGEST_NAME: c_int = 256;

/// What SQLite keeps for an open file: its own part first, as C demands.
#[repr(C)]
struct Handle {
    base: ffi::sqlite3_file,
    open: *mut Open,
}

struct Open {
    drive: Arc<Mutex<Drive>>,
    name: String,
    goes_when_closed: bool,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock_or_unlock),
    xUnlock: Some(lock_or_unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// Makes the file system known to SQLite, once.
pub(super) fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the default file system exists as long as the program; ours is made from it, leaked, and so outlives
        // every connection.
        unsafe {
            // Counting memory takes a lock that all threads share, at each allocation: a sixth of what worlds cost. Where
            // SQLite has begun already it goes on counting, and nothing else differs.
            ffi::sqlite3_config(ffi::SQLITE_CONFIG_MEMSTATUS, 0);
            let default = ffi::sqlite3_vfs_find(std::ptr::null());
            assert!(!default.is_null(), "SQLite has a file system");
            // Randomness, sleep and the clock stay the default's; those functions do not look at the structure.
            let ours = ffi::sqlite3_vfs {
                iVersion: 2,
                szOsFile: size_of::<Handle>() as c_int,
                mxPathname: LONGEST_NAME,
                pNext: std::ptr::null_mut(),
                zName: C_NAME.as_ptr(),
                pAppData: std::ptr::null_mut(),
                xOpen: Some(open),
                xDelete: Some(delete),
                xAccess: Some(access),
                xFullPathname: Some(full_pathname),
                xSetSystemCall: None,
                xGetSystemCall: None,
                xNextSystemCall: None,
                ..*default
            };
            let code = ffi::sqlite3_vfs_register(Box::into_raw(Box::new(ours)), 0);
            assert_eq!(code, ffi::SQLITE_OK, "the file system is registered");
        }
    });
}

/// The path that SQLite handed over; ours are always UTF-8.
///
/// # Safety
/// `name` is null or a C string.
unsafe fn text<'a>(name: *const c_char) -> Option<&'a str> {
    if name.is_null() {
        return None;
    }
    // SAFETY: promised by the caller.
    unsafe { CStr::from_ptr(name) }.to_str().ok()
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite hands over a C string or null, and room for a Handle.
    unsafe {
        let handle = file.cast::<Handle>();
        // Without methods, SQLite does not call close after a failure.
        (*handle).base.pMethods = std::ptr::null();
        let found = match text(name) {
            Some(name) => find(name),
            // What spills from SQLite's memory belongs to no disk.
            None => Some((Arc::default(), "temporary")),
        };
        let Some((drive, name)) = found else { return ffi::SQLITE_CANTOPEN };
        let mut locked = lock(&drive);
        if !locked.exists(name) {
            if flags & ffi::SQLITE_OPEN_CREATE == 0 {
                return ffi::SQLITE_CANTOPEN;
            }
            if let Err(code) = locked.begin(Operation::Open) {
                return code;
            }
            locked.create(name);
        }
        drop(locked);
        let goes_when_closed = flags & ffi::SQLITE_OPEN_DELETEONCLOSE != 0;
        let open = Open { drive, name: name.to_owned(), goes_when_closed };
        (*handle).open = Box::into_raw(Box::new(open));
        (*handle).base.pMethods = &raw const METHODS;
        if !out_flags.is_null() {
            *out_flags = flags;
        }
        ffi::SQLITE_OK
    }
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, name: *const c_char, sync_folder: c_int) -> c_int {
    // SAFETY: SQLite hands over a C string.
    let Some((drive, name)) = unsafe { text(name) }.and_then(find) else { return ffi::SQLITE_IOERR_DELETE };
    let mut drive = lock(&drive);
    if !drive.exists(name) {
        return ffi::SQLITE_IOERR_DELETE_NOENT;
    }
    if let Err(code) = drive.begin(Operation::Delete) {
        return code;
    }
    drive.delete(name, sync_folder != 0);
    ffi::SQLITE_OK
}

unsafe extern "C" fn access(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    _flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite hands over a C string and room for the answer.
    unsafe {
        *out = c_int::from(text(name).and_then(find).is_some_and(|(drive, name)| lock(&drive).exists(name)));
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_pathname(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    room: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: SQLite hands over a C string, and says how much room there is for it.
    unsafe {
        let bytes = CStr::from_ptr(name).to_bytes_with_nul();
        if bytes.len() > usize::try_from(room).unwrap_or(0) {
            return ffi::SQLITE_CANTOPEN;
        }
        std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), out, bytes.len());
    }
    ffi::SQLITE_OK
}

/// The open file behind SQLite's pointer.
///
/// # Safety
/// `file` was opened by [`open`] and is not closed. SQLite keeps to both, and uses a file from one thread at a time.
unsafe fn opened<'a>(file: *mut ffi::sqlite3_file) -> &'a Open {
    // SAFETY: promised by the caller.
    unsafe { &*(*file.cast::<Handle>()).open }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes a file once, and does not use it afterwards.
    let open = unsafe { Box::from_raw((*file.cast::<Handle>()).open) };
    if open.goes_when_closed {
        lock(&open.drive).delete(&open.name, true);
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    buffer: *mut c_void,
    amount: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite hands over an open file and a buffer of `amount` bytes.
    let (open, buffer) = unsafe {
        (
            opened(file),
            std::slice::from_raw_parts_mut(buffer.cast::<u8>(), usize::try_from(amount).unwrap_or(0)),
        )
    };
    let there = lock(&open.drive).read(&open.name, usize::try_from(offset).unwrap_or(usize::MAX), buffer);
    if there { ffi::SQLITE_OK } else { ffi::SQLITE_IOERR_SHORT_READ }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    buffer: *const c_void,
    amount: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite hands over an open file and `amount` bytes.
    let (open, bytes) = unsafe {
        (opened(file), std::slice::from_raw_parts(buffer.cast::<u8>(), usize::try_from(amount).unwrap_or(0)))
    };
    let at = usize::try_from(offset).unwrap_or(0);
    let mut drive = lock(&open.drive);
    match drive.begin(Operation::Write) {
        Ok(()) => {
            drive.write(&open.name, at, bytes);
            ffi::SQLITE_OK
        }
        Err(code) => {
            if code == ffi::SQLITE_FULL {
                // The last of the space is used up before a disk says so.
                drive.write(&open.name, at, &bytes[..bytes.len() / 2]);
            }
            code
        }
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: ffi::sqlite3_int64) -> c_int {
    // SAFETY: an open file.
    let open = unsafe { opened(file) };
    let mut drive = lock(&open.drive);
    match drive.begin(Operation::Truncate) {
        Ok(()) => {
            drive.truncate(&open.name, usize::try_from(size).unwrap_or(0));
            ffi::SQLITE_OK
        }
        Err(code) => code,
    }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    // SAFETY: an open file.
    let open = unsafe { opened(file) };
    let mut drive = lock(&open.drive);
    match drive.begin(Operation::Sync) {
        Ok(()) => {
            drive.sync(&open.name);
            ffi::SQLITE_OK
        }
        Err(code) => code,
    }
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, size: *mut ffi::sqlite3_int64) -> c_int {
    // SAFETY: an open file, and room for its size.
    unsafe {
        let open = opened(file);
        *size = ffi::sqlite3_int64::try_from(lock(&open.drive).size(&open.name)).unwrap_or(0);
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn lock_or_unlock(_: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(_: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: room for the answer.
    unsafe { *out = 0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    4096
}

/// A write changes no byte beside it: what SQLite takes for granted on every desktop's file system.
unsafe extern "C" fn device_characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    region: c_int,
    size: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: an open file.
    let open = unsafe { opened(file) };
    let (region, words) = (usize::try_from(region).unwrap_or(0), usize::try_from(size).unwrap_or(0) / 8);
    let mut drive = lock(&open.drive);
    let there = drive.memory.get(&open.name).map_or(0, Vec::len);
    if there <= region {
        if extend == 0 {
            // SAFETY: room for a pointer.
            unsafe { *out = std::ptr::null_mut() };
            return ffi::SQLITE_OK;
        }
        if let Err(code) = drive.begin(Operation::Memory) {
            return code;
        }
    }
    let regions = drive.memory.entry(open.name.clone()).or_default();
    while regions.len() <= region {
        regions.push(vec![0u64; words].into_boxed_slice());
    }
    // SAFETY: room for a pointer. The memory stays where it is until it is unmapped: a box does not move.
    unsafe { *out = regions[region].as_mut_ptr().cast() };
    ffi::SQLITE_OK
}

unsafe extern "C" fn shm_lock(_: *mut ffi::sqlite3_file, _: c_int, _: c_int, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn shm_barrier(_: *mut ffi::sqlite3_file) {}

unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, delete: c_int) -> c_int {
    // SAFETY: an open file.
    let open = unsafe { opened(file) };
    if delete != 0 {
        lock(&open.drive).memory.remove(&open.name);
    }
    ffi::SQLITE_OK
}
