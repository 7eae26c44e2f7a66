//! Runs the tests of kernels again under the thread sanitizer: no kernel has a race.
#![allow(unsafe_code, reason = "a kernel takes addresses")]

use std::collections::BTreeSet;

use wellspring_emulator::races::Watch;
use wellspring_emulator::{Extent, kernels, launch};

/// Tests that launch every kernel between them. A barrier of watched threads takes the longer the more there have
/// been, so the kernels with the largest blocks have a process of their own.
const TESTS: [&[&str]; 2] = [
    &["tests::kernels_equal_"],
    &[
        "tests::kernels_average_all_weights",
        "tests::kernels_move_all_weights",
        "tests::the_kernel_makes_what",
    ],
];

#[test]
fn kernels_have_no_races_and_a_planted_one_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let watch = Watch::new(folder.path()).unwrap();

    let mut watched = BTreeSet::new();
    for tests in TESTS {
        let seen = watch.run(tests).unwrap();
        assert!(seen.clean, "{tests:?}: {}", seen.said);
        watched.extend(seen.kernels);
    }
    let missed: Vec<_> = kernels().filter(|name| !watched.contains(*name)).collect();
    assert_eq!(missed, ["racy_f32"], "no test of these launches them");

    let sound = watch.run(&["planted::with_its_barrier"]).unwrap();
    assert!(sound.clean, "{}", sound.said);
    assert!(sound.kernels.contains("racy_f32"), "{}", sound.said);

    let racy = ["--ignored", "planted::without_its_barrier"];
    let said = watch.run(&racy).unwrap().said;
    let lines = include_str!("../../../tests/emulator/src/racy.cu").lines();
    let before = lines.take_while(|line| !line.contains("= row[")).count();
    assert!(
        said.contains("WARNING: ThreadSanitizer: data race"),
        "{said}"
    );
    assert!(said.contains(&format!("racy.cu:{}", before + 1)), "{said}");
}

mod planted {
    use super::*;

    /// 64 numbers turned around by `racy.cu`.
    fn turned_around(barrier: i32) -> Vec<f32> {
        let x: Vec<f32> = (0..64).map(|i| i as f32).collect();
        let mut y = vec![f32::NAN; 64];
        let mut arguments = [
            x.as_ptr().expose_provenance().to_ne_bytes().to_vec(),
            y.as_mut_ptr().expose_provenance().to_ne_bytes().to_vec(),
            barrier.to_ne_bytes().to_vec(),
        ];
        let extent = Extent {
            grid: [1; 3],
            threads: 64,
            shared: 0,
        };
        // SAFETY: both have a number for each thread.
        unsafe { launch("racy_f32", extent, &mut arguments) }.unwrap();
        y
    }

    #[test]
    fn with_its_barrier() {
        let expected: Vec<f32> = (0..64).rev().map(|i| i as f32).collect();
        assert_eq!(turned_around(1), expected);
    }

    #[test]
    #[ignore = "has the race that the sanitizer is to find"]
    fn without_its_barrier() {
        assert_eq!(turned_around(0).len(), 64);
    }
}
