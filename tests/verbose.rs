//! What `-v` tells someone who is stuck.

use crate::program::{SMALL, Workplace};

#[test]
fn what_takes_how_long_is_told_on_demand() {
    let place = Workplace::new();
    place.lay(&[("odd/sound.hdf5", "src/data/train/a.hdf5")]);
    let has = |text: &str, words: &[&str]| {
        let line = |line: &str| words.iter().all(|word| line.contains(word));
        text.lines().any(line)
    };

    let told = place.do_it("ingest -v src ds").err;
    assert!(
        has(
            &told,
            &["INFO", "statistics{of=train 0, frames 0 to", "time.busy"]
        ),
        "{told}"
    );
    assert!(
        has(&told, &["INFO", "fill shard", "split=train", "rows="]),
        "{told}"
    );

    let train = format!("train {SMALL} --set train.steps=2");
    let told = place.do_it(&format!("{train} --out run -v")).err;
    assert!(has(&told, &["INFO", "checkpoint", "step=2"]), "{told}");
    assert!(!told.contains("DEBUG"), "{told}");

    let told = place.do_it(&format!("{train} --out more -vv")).err;
    for span in ["open shard", "batch", "step", "write"] {
        assert!(has(&told, &["DEBUG", span]), "no {span}: {told}");
    }

    let told = place.do_it(&format!("{train} --out still")).err;
    assert!(
        !told.contains("INFO") && !told.contains("time.busy"),
        "{told}"
    );
    assert_eq!(place.run("verify ds -v -q").code, 2);
}
