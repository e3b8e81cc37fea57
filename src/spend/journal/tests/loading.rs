//! What waits in its segment while there is no room for it, and is read again.

use super::*;

/// Room for one batch of two rows at a time.
const NARROW: Limits = Limits {
    out_rows: 2,
    ..LIMITS
};

#[test]
fn what_finds_no_room_waits_in_its_segment_and_is_read_again_in_order() {
    let disk = SimulatedDisk::default();
    let mut process = Process::with_limits(&disk, Durability::Journal, NARROW);
    for number in 0..20 {
        process.record([number]);
        process.writer.seal();
        process.sync();
        process.load();
    }
    let mut reported = Vec::new();
    let (sender, called) = channel();
    process
        .writer
        .when_settled(Box::new(move || sender.send(()).unwrap()));
    for _ in 0..30 {
        let sealed = process.sealed();
        assert!(sealed.len() < 8, "of {} rows", sealed.len());
        reported.extend(numbers(&sealed));
        assert_eq!(
            called.try_recv().is_ok(),
            reported.len() == 20 && !sealed.is_empty()
        );
        process.forget(&ids(&sealed));
        process.load();
    }
    assert_eq!(reported, (0..20).collect::<Vec<_>>());
    process.writer.close();
    assert_eq!(disk.names(), []);
}

#[test]
fn a_start_after_a_long_outage_hands_out_no_more_than_there_is_room_for() {
    let disk = SimulatedDisk::default();
    let mut first = Process::start(&disk, Durability::Journal);
    for number in 0..40 {
        first.record([number]);
        first.writer.seal();
    }
    let mut second = Process::with_limits(&disk, Durability::Journal, NARROW);
    let at_once = second.sealed();
    assert_eq!(numbers(&at_once), [0, 1]);
    assert_eq!(
        (second.stats.recorded(), second.stats.pending_in_journal()),
        (40, 40)
    );
    second.load();
    assert!(second.sealed().is_empty(), "there is no room yet");
    // Redis holds the first ones, and bounds what it holds.
    second.writer.held(&ids(&at_once));
    second.load();
    assert!(numbers(&second.sealed()).contains(&2));
}

#[test]
fn a_segment_that_cannot_be_read_again_is_tried_when_something_has_happened() {
    let disk = SimulatedDisk::default();
    let mut process = Process::with_limits(&disk, Durability::Journal, NARROW);
    for number in 0..4 {
        process.record([number]);
        process.writer.seal();
    }
    process.sync();
    let first = process.sealed();
    assert_eq!(numbers(&first), [0, 1]);
    disk.fail_read(true);
    process.forget(&ids(&first));
    process.load();
    assert!(process.writer.next_load().is_none(), "not over and over");
    disk.clear_faults();
    process.record([9]);
    process.writer.seal();
    process.load();
    assert_eq!(numbers(&process.sealed())[..2], [2, 3]);
}

#[test]
fn what_is_damaged_while_it_waits_is_set_aside_and_counted() {
    let disk = SimulatedDisk::default();
    let mut process = Process::with_limits(&disk, Durability::Journal, NARROW);
    for number in 0..4 {
        process.record([number]);
        process.writer.seal();
    }
    process.sync();
    let first = process.sealed();
    let name = disk.names()[0];
    disk.damage(name, |bytes| {
        let at = bytes.windows(8).position(|w| w == b"\"t\":127,").unwrap();
        bytes[at] = b'!';
    });
    process.forget(&ids(&first));
    process.load();
    let rest = process.sealed();
    assert_eq!(numbers(&rest), [3]);
    process.forget(&ids(&rest));
    process.writer.close();
    let stats = &process.stats;
    let counts = (stats.recorded(), stats.committed(), stats.dead_lettered());
    assert_eq!((counts, stats.pending_in_journal()), ((4, 3, 1), 0));
    assert_eq!((disk.names(), disk.names_aside()), (vec![], vec![name]));
}
