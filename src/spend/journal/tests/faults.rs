//! One fault at a time.

use super::*;
use crate::domain::{EntityKind, Payer};

#[test]
fn a_batch_is_handed_out_only_when_the_disk_has_it() {
    let disk = SimulatedDisk::default();
    let mut process = Process::start(&disk, Durability::Journal);
    assert_eq!(answers(process.record(0..3)), [Ok(()), Ok(()), Ok(())]);
    process.writer.seal();
    let file = process.writer.next_sync().unwrap();
    assert!(process.sealed().is_empty());
    assert!(process.writer.next_sync().is_none(), "one at a time");
    process.writer.synced(file.sync());
    assert_eq!(numbers(&process.sealed()), [0, 1, 2]);
}

#[test]
fn with_fsync_a_record_is_acknowledged_only_when_the_disk_has_it() {
    let disk = SimulatedDisk::default();
    let mut process = Process::start(&disk, Durability::Fsync);
    let mut waiting = process.record(0..2);
    assert!(waiting[0].try_recv().is_err());
    process.sync();
    assert_eq!(answers(waiting), [Ok(()), Ok(())]);
    disk.lose_power(0);
    let mut next = Process::start(&disk, Durability::Fsync);
    assert_eq!(numbers(&next.sealed()), [0, 1]);
}

#[test]
fn a_crash_hands_out_the_same_batches_again_and_again_until_they_are_settled() {
    let disk = SimulatedDisk::default();
    let mut first = Process::start(&disk, Durability::Journal);
    first.record(0..2);
    first.writer.seal();
    first.sync();
    let sealed = first.sealed();
    first.record(2..4);

    let mut second = Process::start(&disk, Durability::Journal);
    let again = second.sealed();
    assert_eq!(numbers(&again), [0, 1, 2, 3]);
    assert_eq!(again[0], sealed[0], "the same content under the same id");
    let mut third = Process::start(&disk, Durability::Journal);
    assert_eq!(third.sealed(), again, "also what was never sealed");

    third.forget(&ids(&again));
    assert_eq!(disk.names(), []);
    assert_eq!((third.stats.recorded(), third.stats.pending()), (4, 0));
    let mut fourth = Process::start(&disk, Durability::Journal);
    assert!(fourth.sealed().is_empty());
}

#[test]
fn a_segment_goes_when_all_its_batches_are_settled_and_not_before() {
    let disk = SimulatedDisk::default();
    let mut process = Process::start(&disk, Durability::Journal);
    for number in 0..40 {
        process.record([number]);
        if number % 3 == 2 {
            process.writer.seal();
        }
    }
    process.writer.seal();
    process.sync();
    let segments = disk.names().len();
    assert!(segments > 3, "{segments}");
    let sealed = process.sealed();
    assert_eq!(numbers(&sealed), (0..40).collect::<Vec<_>>());
    let (first, rest) = ids(&sealed)
        .split_first()
        .map(|(f, r)| (*f, r.to_vec()))
        .unwrap();
    process.forget(&rest);
    assert!(
        disk.names().len() <= 2,
        "the first one's and the current one"
    );
    let mut next = Process::start(&disk, Durability::Journal);
    assert!(ids(&next.sealed()).contains(&first));
    process.forget(&[first]);
    process.writer.close();
    assert_eq!(disk.names(), []);
}

#[test]
fn a_full_disk_refuses_and_counts_nothing_and_recovers() {
    let disk = SimulatedDisk::default();
    let mut process = Process::start(&disk, Durability::Journal);
    process.record([0]);
    disk.leave_room(100);
    let refused = answers(process.record(1..4));
    assert!(
        refused
            .iter()
            .all(|answer| matches!(answer, Err(NotRecorded::Write(_))))
    );
    assert!(!process.stats.journal_healthy());
    assert_eq!(process.stats.refused(), 3);

    process.writer.seal();
    process.sync();
    let sealed = process.sealed();
    assert_eq!(
        numbers(&sealed),
        [0],
        "sealed, although the seal finds no room"
    );
    process.forget(&ids(&sealed));

    disk.clear_faults();
    assert_eq!(answers(process.record([4])), [Ok(())]);
    assert!(process.stats.journal_healthy());
    let mut next = Process::start(&disk, Durability::Journal);
    assert_eq!(numbers(&next.sealed()), [0, 4]);
}

#[test]
fn a_full_disk_at_the_first_record_leaves_no_file() {
    let disk = SimulatedDisk::default();
    disk.leave_room(10);
    let mut process = Process::start(&disk, Durability::Journal);
    assert!(answers(process.record([0]))[0].is_err());
    assert_eq!(disk.names(), []);
    disk.clear_faults();
    assert_eq!(answers(process.record([1])), [Ok(())]);
}

#[test]
fn bytes_that_cannot_be_taken_back_are_not_written_behind() {
    let disk = SimulatedDisk::default();
    let mut process = Process::start(&disk, Durability::Journal);
    process.record([0]);
    disk.leave_room(30);
    disk.fail_truncate(true);
    assert!(answers(process.record([1]))[0].is_err());
    disk.leave_room(usize::MAX);
    assert!(
        answers(process.record([2]))[0].is_err(),
        "torn bytes are in the way"
    );
    disk.clear_faults();
    assert_eq!(answers(process.record([3])), [Ok(())]);
    let mut next = Process::start(&disk, Durability::Journal);
    assert_eq!(numbers(&next.sealed()), [0, 3]);
    assert_eq!(disk.names_aside(), []);
}

#[test]
fn a_failed_sync_refuses_and_goes_on_in_another_file() {
    let disk = SimulatedDisk::default();
    let mut process = Process::start(&disk, Durability::Fsync);
    disk.fail_sync(true);
    let waiting = process.record(0..2);
    let file = process.writer.next_sync().unwrap();
    process.writer.synced(file.sync());
    assert!(matches!(answers(waiting)[0], Err(NotRecorded::Write(_))));
    assert!(!process.stats.journal_healthy());
    disk.clear_faults();
    let waiting = process.record([2]);
    process.sync();
    assert_eq!(answers(waiting), [Ok(())]);
    process.record([3]);
    assert!(process.stats.journal_healthy());
    assert_eq!(disk.names().len(), 2);
    assert_eq!(
        numbers(&process.sealed()),
        [0, 1],
        "the safest place for them is the database"
    );
}

#[test]
fn what_was_written_while_a_sync_failed_is_refused_with_it() {
    let disk = SimulatedDisk::default();
    let mut process = Process::start(&disk, Durability::Fsync);
    let before = process.record(0..2);
    let file = process.writer.next_sync().unwrap();
    let meanwhile = process.record(2..4);
    disk.fail_sync(true);
    process.writer.synced(file.sync());
    disk.clear_faults();
    // A sync of the same file that works says nothing about what the first one lost.
    process.sync();
    for answer in answers(before).into_iter().chain(answers(meanwhile)) {
        assert!(matches!(answer, Err(NotRecorded::Write(_))), "{answer:?}");
    }
    assert_eq!(numbers(&process.sealed()), [0, 1, 2, 3]);
}

#[test]
fn at_its_limit_the_journal_refuses_until_something_is_settled() {
    let disk = SimulatedDisk::default();
    let limits = Limits {
        journal_bytes: 3_000,
        ..LIMITS
    };
    let mut process = Process::with_limits(&disk, Durability::Journal, limits);
    let accepted = (0..)
        .take_while(|&n| answers(process.record([n]))[0].is_ok())
        .count();
    assert!((20..60).contains(&accepted), "{accepted}");
    assert_eq!(answers(process.record([999])), [Err(NotRecorded::Full)]);
    process.sync();
    let sealed = process.sealed();
    process.forget(&ids(&sealed));
    assert_eq!(answers(process.record([999])), [Ok(())]);
}

#[test]
fn a_batch_of_many_rows_is_sealed_before_it_is_too_many() {
    let disk = SimulatedDisk::default();
    let limits = Limits {
        batch_rows: 3,
        segment_bytes: 1 << 20,
        ..LIMITS
    };
    let mut process = Process::with_limits(&disk, Durability::Journal, limits);
    for number in 0..7 {
        process.record([number]);
    }
    process.sync();
    let sealed = process.sealed();
    assert_eq!(sealed.iter().map(|b| b.records).collect::<Vec<_>>(), [3, 3]);
}

#[test]
fn damage_costs_what_it_hit_and_the_file_is_kept() {
    let disk = SimulatedDisk::default();
    let mut process = Process::start(&disk, Durability::Journal);
    process.record([0]);
    process.record([1]);
    process.writer.seal();
    process.record([2]);
    let name = disk.names()[0];
    disk.damage(name, |bytes| {
        let at = bytes.windows(7).position(|w| w == b"\"t\":67,").unwrap();
        bytes[at] = b'!';
    });

    let mut next = Process::start(&disk, Durability::Journal);
    let sealed = next.sealed();
    assert_eq!(numbers(&sealed), [0, 2], "each still in its own batch");
    assert_eq!(sealed.iter().map(|b| b.id.seq).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(
        disk.names(),
        [name],
        "it stays until what is left of it is settled"
    );
    next.forget(&ids(&sealed));
    assert_eq!((disk.names(), disk.names_aside()), (vec![], vec![name]));
}

#[test]
fn without_its_header_a_segment_is_known_by_its_name() {
    let disk = SimulatedDisk::default();
    let mut process = Process::start(&disk, Durability::Journal);
    process.record([0]);
    process.writer.seal();
    process.sync();
    let sealed = process.sealed();
    disk.damage(disk.names()[0], |bytes| bytes[20] ^= 1);
    let mut next = Process::start(&disk, Durability::Journal);
    assert_eq!(next.sealed(), sealed);
}

#[test]
fn a_segment_of_a_later_version_is_left_alone() {
    let disk = SimulatedDisk::default();
    let mut process = Process::start(&disk, Durability::Journal);
    process.record([0]);
    let name = disk.names()[0];
    let bytes = disk.bytes(name);
    let mut later = Vec::new();
    crate::spend::journal::frame::append(&mut later, 1, 0, |buffer| {
        buffer.extend_from_slice(br#"{"format":3,"producer":"?"}"#);
    });
    later.extend_from_slice(&bytes);
    disk.damage(name, |bytes| *bytes = later);
    let mut next = Process::start(&disk, Durability::Journal);
    assert!(next.sealed().is_empty());
    next.writer.close();
    assert_eq!(disk.names(), [name]);
}

#[test]
fn only_segments_with_charges_are_beyond_the_version_before_them() {
    let disk = SimulatedDisk::default();
    let mut process = Process::start(&disk, Durability::Journal);
    process.record([0]);
    let charged = UsageRecord {
        charge: Charge {
            nano_usd: 42,
            api_key: "abc".into(),
            payers: Arc::new([Payer {
                kind: EntityKind::Key,
                entity: "abc".into(),
                period: 0,
            }]),
        },
        ..record(1)
    };
    process
        .writer
        .append(&mut vec![(charged, None)], process.now);
    process.record([2]);
    let formats: Vec<bool> = disk
        .names()
        .into_iter()
        .map(|name| {
            let bytes = disk.bytes(name);
            let header = br#"{"format":2"#;
            bytes.windows(header.len()).any(|window| window == header)
        })
        .collect();
    assert_eq!(formats, [false, true]);
    let mut next = Process::start(&disk, Durability::Journal);
    let sealed = next.sealed();
    assert_eq!(numbers(&sealed), [0, 1, 2]);
    assert_eq!(sealed[1].spend[0].spent.nano_usd, 42);
}

#[test]
fn what_was_set_aside_is_not_committed() {
    let disk = SimulatedDisk::default();
    let mut process = Process::start(&disk, Durability::Journal);
    process.record(0..5);
    process.writer.seal();
    process.sync();
    let id = process.sealed()[0].id;
    process.writer.forget(&[Settlement { id, dead: 2 }]);
    let stats = &process.stats;
    let counts = (stats.recorded(), stats.committed(), stats.dead_lettered());
    assert_eq!((counts, stats.pending()), ((5, 3, 2), 0));
}
