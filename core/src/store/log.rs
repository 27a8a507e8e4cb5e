//! A write-ahead log laid over the image that it belongs to, for mirrors whose file SQLite can no longer open
//! (SQLite's "Database File Format", 4: the WAL file).

const HEADER: usize = 32;
const FRAME: usize = 24;
/// The log's first four bytes; the last bit says in which byte order its checksums are computed.
const MAGIC: u32 = 0x377f_0682;

/// Lays what was committed over the image. What is not whole, or of another log, is left out.
pub(super) fn lay_over(image: &mut Vec<u8>, log: &[u8]) {
    let Some(header) = log.get(..HEADER) else { return };
    let (magic, page) = (number(header, 0), number(header, 8) as usize);
    if magic & !1 != MAGIC || !page.is_power_of_two() || !(512..=65_536).contains(&page) {
        return;
    }
    let is_big_endian = magic & 1 == 1;
    let mut sums = checksum((0, 0), &header[..24], is_big_endian);
    if sums != (number(header, 24), number(header, 28)) {
        return;
    }
    // The pages of a transaction whose commit has not been seen yet.
    let mut open = Vec::new();
    for frame in log[HEADER..].chunks_exact(FRAME + page) {
        let (head, data) = frame.split_at(FRAME);
        sums = checksum(checksum(sums, &head[..8], is_big_endian), data, is_big_endian);
        if head[8..16] != header[16..24] || sums != (number(head, 16), number(head, 20)) {
            return;
        }
        open.push((number(head, 0) as usize, data));
        let pages = number(head, 4) as usize;
        if pages > 0 {
            for (place, data) in open.drain(..).filter(|(place, _)| (1..=pages).contains(place)) {
                let end = place * page;
                if image.len() < end {
                    image.resize(end, 0);
                }
                image[end - page..end].copy_from_slice(data);
            }
            image.truncate(pages * page);
        }
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn checksum((mut first, mut second): (u32, u32), bytes: &[u8], is_big_endian: bool) -> (u32, u32) {
    let word = |bytes: &[u8]| {
        let word = number(bytes, 0);
        if is_big_endian { word } else { word.swap_bytes() }
    };
    for pair in bytes.chunks_exact(8) {
        first = first.wrapping_add(word(pair)).wrapping_add(second);
        second = second.wrapping_add(word(&pair[4..])).wrapping_add(first);
    }
    (first, second)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    /// A database whose log holds more than its file: the file, the log.
    fn split() -> (Vec<u8>, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sqlite3");
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t(v); INSERT INTO t VALUES (0);")
            .unwrap();
        connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        for value in 1..=300 {
            connection.execute("INSERT INTO t VALUES (?1 || hex(randomblob(40)))", [value]).unwrap();
        }
        (std::fs::read(&path).unwrap(), std::fs::read(path.with_extension("sqlite3-wal")).unwrap())
    }

    fn rows(mut image: Vec<u8>, log: &[u8]) -> i64 {
        lay_over(&mut image, log);
        image[18..20].fill(1);
        let mut connection = Connection::open_in_memory().unwrap();
        connection.deserialize_read_exact(rusqlite::MAIN_DB, image.as_slice(), image.len(), true).unwrap();
        let sound: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).unwrap();
        assert_eq!(sound, "ok");
        connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn what_was_committed_is_in_the_image_and_nothing_else() {
        let (image, log) = split();
        assert_eq!(rows(image.clone(), &[]), 1);
        assert_eq!(rows(image.clone(), &log), 301);
        let cut = log.len() - 100;
        assert_eq!(rows(image.clone(), &log[..cut]), 300, "the last commit was not whole");
        let mut spoilt = log.clone();
        spoilt[cut / 2] ^= 1;
        let some = rows(image.clone(), &spoilt);
        assert!((2..300).contains(&some), "up to where it is damaged: {some}");
        spoilt[30] ^= 1;
        assert_eq!(rows(image.clone(), &spoilt), 1, "a header that is damaged says nothing of what follows");
        assert_eq!(rows(image, b"no log"), 1);
    }
}
