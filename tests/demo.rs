//! The demo at its smallest size.

use crate::program::Workplace;

#[test]
fn the_demo_goes_the_whole_way_and_can_be_done_again() {
    let place = Workplace::new();
    let mut said = place.do_it("demo --size tiny --out demo");
    for _ in 0..2 {
        for part in [
            "persistence",
            "fixed4",
            "fixed16",
            "4,8,16",
            "report: demo/report.html",
            "Try next:",
        ] {
            assert!(said.out.contains(part), "{part}: {}", said.out);
        }
        said = place.do_it("demo --size tiny --out demo");
    }
    let page = std::fs::read_to_string(place.path("demo/report.html")).unwrap();
    assert!(page.starts_with("<!doctype html>"));
    for part in [
        "<svg",
        "data:image/png;base64,",
        "<h2>Residual spectrum</h2>",
        "<summary>SQL</summary>",
    ] {
        assert!(page.contains(part), "{part}");
    }
    for outside in ["http://", "https://", "src=\"/", "url("] {
        let own = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!own.contains(outside), "the page refers to {outside}");
    }
    // What it names to try next works as it stands.
    let scores = place.ask("demo/results", "SELECT * FROM table1 ORDER BY name");
    assert_eq!(scores.len(), 6);
    let lines = said.out.lines().map(str::trim);
    let words = lines.filter_map(|line| line.strip_prefix("wellspring "));
    let (asked, run): (Vec<&str>, Vec<&str>) = words.partition(|words| words.starts_with("sql"));
    assert_eq!((asked.len(), run.len()), (1, 2), "{}", said.out);
    for words in run {
        place.do_it(words);
    }
}

#[test]
fn the_demo_leaves_other_folders_alone() {
    let place = Workplace::new();
    std::fs::create_dir(place.path("mine")).unwrap();
    std::fs::write(place.path("mine/precious"), "x").unwrap();
    let said = place.run("demo --size tiny --out mine");
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("holds something else"), "{}", said.err);
    assert_eq!(place.files("mine").len(), 1);
}
