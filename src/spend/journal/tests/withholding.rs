//! Answers that wait until another machine has their records.

use super::*;

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
    assert!(second[1].try_recv().is_err(), "and it never will be");
}

#[test]
fn with_redis_no_answer_waits_for_longer_than_the_limit() {
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
    // Nor does one that came later: nothing has been accepted all that time.
    assert_eq!(second[0].try_recv(), Ok(Ok(())));
    let third = process.record([2]);
    assert_eq!(process.writer.due(), Some(process.now));
    process.pass(Duration::ZERO);
    assert_eq!(answers(third), [Ok(())]);
    assert_eq!(process.stats.on_disk_only(), 3);
    assert_eq!(process.writer.due(), None, "nobody waits");

    // Their records are pending like any others.
    let stats = &process.stats;
    assert_eq!((stats.recorded(), stats.pending_in_journal()), (3, 3));
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
    assert_eq!(process.stats.pending_in_journal(), 0);
}

#[test]
fn without_redis_no_answer_waits_for_it() {
    let disk = SimulatedDisk::default();
    for durability in [Durability::Journal, Durability::Fsync] {
        let mut process = Process::start(&disk, durability);
        process.record([0]);
        assert_eq!(process.writer.due(), None);
    }
}
