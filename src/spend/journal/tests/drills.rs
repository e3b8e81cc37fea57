//! One fault at a time.

use super::*;
use crate::domain::{EntityKind, Payer};

fn answers(answers: Vec<Answer>) -> Vec<Result<(), NotRecorded>> {
    answers
        .into_iter()
        .map(|mut answer| answer.try_recv().expect("answered"))
        .collect()
}

fn ids(batches: &[Arc<SealedBatch>]) -> Vec<BatchId> {
    batches.iter().map(|batch| batch.id).collect()
}

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

    disk.heal();
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
    disk.heal();
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
    disk.heal();
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
    disk.heal();
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
    disk.heal();
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
    let mut told = Vec::new();
    let (tell, heard) = channel();
    process
        .writer
        .when_settled(Box::new(move || tell.send(()).unwrap()));
    for _ in 0..30 {
        let sealed = process.sealed();
        assert!(sealed.len() < 8, "of {} rows", sealed.len());
        told.extend(numbers(&sealed));
        assert_eq!(
            heard.try_recv().is_ok(),
            told.len() == 20 && !sealed.is_empty()
        );
        process.forget(&ids(&sealed));
        process.load();
    }
    assert_eq!(told, (0..20).collect::<Vec<_>>());
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
    assert_eq!((second.stats.recorded(), second.stats.owed()), (40, 40));
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
    disk.heal();
    process.record([9]);
    process.writer.seal();
    process.load();
    assert_eq!(numbers(&process.sealed())[..2], [2, 3]);
}

#[test]
fn what_is_damaged_while_it_waits_is_set_aside_and_said() {
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
    assert_eq!((counts, stats.owed()), ((4, 3, 1), 0));
    assert_eq!((disk.names(), disk.names_aside()), (vec![], vec![name]));
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
fn with_redis_a_record_is_acknowledged_only_when_its_batch_is_held_or_applied() {
    let disk = SimulatedDisk::default();
    let mut process = Process::start(&disk, Durability::Redis);
    let (mut first, mut second) = (process.record([0]), Vec::new());
    process.writer.seal();
    second.append(&mut process.record([1]));
    process.writer.seal();
    second.append(&mut process.record([2]));
    process.sync();
    let sealed = ids(&process.sealed());
    assert!(first[0].try_recv().is_err(), "only the disk has it");
    process.writer.held(&sealed[..1]);
    assert_eq!(answers(first), [Ok(())]);
    assert!(second[0].try_recv().is_err());
    process.forget(&sealed[1..]);
    assert_eq!(second[0].try_recv(), Ok(Ok(())));
    assert!(second[1].try_recv().is_err(), "it is not even sealed");
    process.writer.close();
    assert!(second[1].try_recv().is_err(), "and nobody will say it is");
}

#[test]
fn with_redis_nobody_waits_for_longer_than_is_bearable() {
    let disk = SimulatedDisk::default();
    let mut process = Process::start(&disk, Durability::Redis);
    let mut first = process.record([0]);
    process.writer.seal();
    process.sync();
    process.pass(Duration::from_secs(4));
    let mut second = process.record([1]);
    let due = process.writer.due().unwrap();
    assert_eq!(due - process.now, Duration::from_secs(6), "for the first");
    process.pass(Duration::from_millis(5_999));
    assert!(first[0].try_recv().is_err());
    process.pass(Duration::from_millis(1));
    assert_eq!(first[0].try_recv(), Ok(Ok(())));
    // Nor does who came later: nobody has taken anything all that time.
    assert_eq!(second[0].try_recv(), Ok(Ok(())));
    let third = process.record([2]);
    assert_eq!(process.writer.due(), Some(process.now));
    process.pass(Duration::ZERO);
    assert_eq!(answers(third), [Ok(())]);
    assert_eq!(process.stats.on_disk_only(), 3);
    assert_eq!(process.writer.due(), None, "nobody waits");

    // Their records are owed like any others.
    let stats = &process.stats;
    assert_eq!((stats.recorded(), stats.owed()), (3, 3));
    // As soon as something arrives, it is waited for again.
    let arrived = ids(&process.sealed());
    process.writer.held(&arrived);
    let mut fourth = process.record([3]);
    process.pass(Duration::from_secs(9));
    assert!(fourth[0].try_recv().is_err());
    process.writer.seal();
    process.sync();
    let rest = ids(&process.sealed());
    process.forget(&rest);
    assert_eq!(answers(fourth), [Ok(())]);
    assert_eq!(process.stats.on_disk_only(), 3);
    process.forget(&arrived);
    assert_eq!(process.stats.owed(), 0);
}

#[test]
fn without_redis_nobody_waits_for_it() {
    let disk = SimulatedDisk::default();
    for durability in [Durability::Journal, Durability::Fsync] {
        let mut process = Process::start(&disk, durability);
        process.record([0]);
        assert_eq!(process.writer.due(), None);
    }
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
