//! Every target over its seeds, and over seeds that were changed at random.

use std::fs;
use std::path::{Path, PathBuf};

use fastrand::Rng;

use super::TARGETS;

/// Mutated inputs per target; those of whole files take milliseconds each.
const ROUNDS: usize = 4_000;
const ROUNDS_OF_FILES: usize = 60;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = fuzz_crate().join("seeds").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    entries
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect()
}

fn fuzz_crate() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// Changes, removes, duplicates or inserts bytes.
fn mutate(bytes: &mut Vec<u8>, rng: &mut Rng) {
    if bytes.is_empty() {
        bytes.push(rng.u8(..));
    }
    let at = rng.usize(..bytes.len());
    let end = (at + rng.usize(1..20)).min(bytes.len());
    match rng.u8(..4) {
        0 => bytes[at] = rng.u8(..),
        1 => drop(bytes.drain(at..end)),
        2 => bytes.extend_from_within(at..end),
        _ => bytes.insert(at, [0, 0x7f, 0x80, 0xff, b'"', b'{', b'['][rng.usize(..7)]),
    }
}

#[test]
fn seeds_and_changes_of_them_break_no_rule() {
    let mut rng = Rng::with_seed(42);
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        seeds.iter().for_each(|seed| target(seed));
        let is_file = name.starts_with("segment");
        for _ in 0..if is_file { ROUNDS_OF_FILES } else { ROUNDS } {
            let mut bytes = seeds[rng.usize(..seeds.len())].clone();
            for _ in 0..rng.usize(1..5) {
                mutate(&mut bytes, &mut rng);
            }
            target(&bytes);
        }
    }
}

/// Guarantees: each target has a binary for libFuzzer, and each binary a target.
#[test]
fn every_target_can_be_run_by_the_fuzzer() {
    let manifest = fs::read_to_string(fuzz_crate().join("Cargo.toml")).unwrap();
    let named = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("path = \"fuzz_targets/"));
    let mut named: Vec<&str> = named
        .filter_map(|name| name.strip_suffix(".rs\""))
        .collect();
    let mut targets = TARGETS.map(|(name, _)| name);
    named.sort_unstable();
    targets.sort_unstable();
    assert_eq!(named, targets);
}
