//! What is in the cache, and what makes room.

use std::sync::Arc;

use bytes::Bytes;

use super::known::Source;
use super::state::{Access, Begin, State};
use crate::mirror::digest::Digest;
use crate::mirror::error::Error;
use crate::mirror::folder::Found;
use crate::mirror::manifest::{Blob, MEDIA_TYPE, Manifest};
use crate::mirror::repository::Reference;

fn digest(name: char) -> Digest {
    Digest::parse(&format!("sha256:{}", name.to_string().repeat(64))).unwrap()
}

fn manifest(blobs: &[(char, u64)]) -> Arc<Manifest> {
    let blob = |(name, size): &(char, u64)| Blob {
        digest: digest(*name),
        size: *size,
    };
    Arc::new(Manifest {
        bytes: Bytes::new(),
        media_type: MEDIA_TYPE,
        blobs: blobs.iter().map(blob).collect(),
    })
}

fn reference(name: &str) -> Reference {
    Reference::of(name).unwrap()
}

fn source(name: char) -> Source {
    source_of("m", name)
}

fn source_of(model: &str, name: char) -> Source {
    Source {
        repository: reference(model).repository,
        digest: digest(name),
    }
}

/// What is found on the disk.
fn found(name: char, bytes: u64) -> Found {
    let digest = digest(name);
    Found { digest, bytes }
}

/// With these whole blobs, the first used longest ago.
fn state(limit: u64, known: &[(char, u64)], whole: &[(char, u64)]) -> State<u32> {
    let mut state = State::new(limit, Vec::new());
    state.learn(&reference("m").repository, &manifest(known));
    state.learn(&reference("m").repository, &manifest(whole));
    for (name, size) in whole {
        fetch(&mut state, *name, 0);
        state.ended(&digest(*name), true, *size, true);
        assert_eq!(state.left(&digest(*name)), None);
    }
    state
}

/// What a download begins with.
fn begin(state: &mut State<u32>, source: &Source) -> Begin {
    match state.read(source).unwrap() {
        Access::Fetch(begin) => {
            state.begun(source.digest.clone(), begin.size, 1);
            begin
        }
        other => panic!("{other:?}"),
    }
}

/// Begins to fetch it as this job; what went for it.
fn fetch(state: &mut State<u32>, name: char, job: u32) -> String {
    match state.read(&source(name)).unwrap() {
        Access::Fetch(begin) => {
            state.begun(digest(name), begin.size, job);
            let evicted = begin.evicted.iter();
            let names = evicted.filter_map(|(digest, _)| digest.as_str().chars().last());
            names.collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_blob_is_fetched_once_for_all_and_until_the_last_has_left() {
    let mut state = state(100, &[('a', 10)], &[]);
    assert_eq!(fetch(&mut state, 'a', 1), "");
    assert_eq!(state.read(&source('a')), Ok(Access::Running(1, 10)));
    assert_eq!(state.left(&digest('a')), None);
    assert_eq!(state.left(&digest('a')), Some(1), "it is told to stop");
    assert_eq!(state.read(&source('a')), Ok(Access::Later));
    state.ended(&digest('a'), false, 4, true);
    assert_eq!(state.bytes(), 4, "what has come stays");
    assert_eq!(fetch(&mut state, 'a', 2), "");
    state.ended(&digest('a'), true, 10, true);
    assert_eq!(state.read(&source('a')), Ok(Access::Whole(10)));
}

#[test]
fn a_pull_keeps_its_downloads_between_two_readers() {
    let mut state = state(100, &[], &[]);
    let pinned = manifest(&[('a', 10), ('b', 20)]);
    state.pin(1, reference("m"), Arc::clone(&pinned)).unwrap();
    assert_eq!(state.pinned(&reference("m:latest")), Some(&pinned));
    assert_eq!(fetch(&mut state, 'a', 1), "");
    assert_eq!(state.left(&digest('a')), None);
    assert_eq!(state.pinned_by(&source('a')), [1]);
    assert_eq!(state.released(1), [1]);
    assert_eq!(state.pinned(&reference("m")), None);
}

#[test]
fn what_was_used_longest_ago_and_is_not_wanted_makes_room() {
    let known = [('d', 20), ('e', 20), ('f', 30)];
    let mut state = state(50, &known, &[('a', 10), ('b', 10), ('c', 10)]);
    // Somebody reads the oldest.
    assert_eq!(state.read(&source('a')), Ok(Access::Whole(10)));
    assert_eq!(fetch(&mut state, 'd', 1), "");
    assert_eq!(fetch(&mut state, 'e', 2), "bc", "50 are there and 20 come");
    assert_eq!(state.bytes(), 50);
    let refused = state.read(&source('f'));
    assert!(matches!(refused, Err(Error::NoRoom { .. })), "{refused:?}");
}

#[test]
fn more_than_may_be_there_is_not() {
    let all = ['a', 'b', 'c'].map(|name| found(name, 10));
    let mut state = State::<u32>::new(25, all.to_vec());
    let surplus = state.surplus();
    assert_eq!(surplus, [(digest('a'), false)]);
    assert_eq!(state.bytes(), 20);
    let refused = state.pin(1, reference("m"), manifest(&[('e', 20), ('f', 6)]));
    let error = Error::TooLarge {
        needs: 26,
        limit: 25,
    };
    assert_eq!(refused, Err(error));
}

#[test]
fn what_fails_leaves_nothing_and_what_nobody_knows_is_not_fetched() {
    let mut state = state(100, &[('a', 10)], &[('b', 5)]);
    let unknown = Error::Unknown(digest('f'));
    assert_eq!(state.read(&source('f')), Err(unknown.clone()));
    assert_eq!(state.size(&source('f')), Err(unknown));
    assert_eq!(
        (state.size(&source('a')), state.size(&source('b'))),
        (Ok(10), Ok(5))
    );
    fetch(&mut state, 'a', 1);
    state.ended(&digest('a'), false, 0, true);
    assert_eq!(state.left(&digest('a')), None);
    assert_eq!(state.bytes(), 5);
    // A file that is gone.
    assert_eq!(state.read(&source('b')), Ok(Access::Whole(5)));
    assert!(state.lost(&digest('b')));
    assert!(!state.lost(&digest('b')), "once is enough");
    assert_eq!(state.left(&digest('b')), None);
    assert_eq!(state.bytes(), 0);
}

#[test]
fn what_an_earlier_process_has_left_stays_in_doubt_until_it_has_been_checked() {
    let mut state = State::new(100, vec![found('a', 4)]);
    state.learn(&reference("m").repository, &manifest(&[('a', 10)]));
    assert_eq!(begin(&mut state, &source('a')).good, 0);
    // Stopped on the way: what has come was added to what may be wrong.
    state.ended(&digest('a'), false, 7, false);
    assert_eq!(begin(&mut state, &source('a')).good, 0);
    // Emptied, and begun anew.
    state.ended(&digest('a'), false, 5, true);
    assert_eq!(begin(&mut state, &source('a')).good, 5);
    state.ended(&digest('a'), true, 10, true);
    assert_eq!(state.read(&source('a')), Ok(Access::Whole(10)));
}

#[test]
fn another_models_manifest_changes_nothing_for_a_pull_that_runs() {
    let mut state = state(100, &[], &[]);
    let honest = manifest(&[('a', 10)]);
    state.pin(1, reference("m"), honest).unwrap();
    let wrong = manifest(&[('a', 3)]);
    state.learn(&reference("other").repository, &wrong);
    state.learn(&reference("m:7b").repository, &wrong);
    assert_eq!(state.size(&source('a')), Ok(10));
    assert_eq!(state.size(&source_of("other", 'a')), Ok(3));
    assert_eq!(begin(&mut state, &source('a')).size, 10);
    // What fails elsewhere is not this pull's failure.
    assert_eq!(state.pinned_by(&source('a')), [1]);
    assert!(state.pinned_by(&source_of("other", 'a')).is_empty());
    state.ended(&digest('a'), true, 10, true);
    assert_eq!(
        state.size(&source_of("other", 'a')),
        Ok(10),
        "it is checked"
    );
}
