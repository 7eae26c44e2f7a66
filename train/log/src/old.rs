//! `log.jsonl`, the log of old versions: an event in each line. It is read and never written.

use wellspring_store::{Location, Result};

use crate::{Event, LogRow};

/// Name of the file in a run's folder.
pub(crate) const NAME: &str = "log.jsonl";

/// The rows of an old log, and the number of lines that cannot be read.
pub(crate) async fn rows(place: &Location) -> Result<(Vec<LogRow>, usize)> {
    let bytes = place.get_opt().await?.unwrap_or_default();
    let (mut rows, mut damaged) = (Vec::new(), 0);
    for line in bytes.split(|&byte| byte == b'\n') {
        match serde_json::from_slice::<Event>(line) {
            _ if line.trim_ascii().is_empty() => {}
            Ok(event) => rows.push(event.into()),
            Err(_) => damaged += 1,
        }
    }
    Ok((rows, damaged))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"event":"start","step":0,"version":"0.1.0","device":"cpu"}
{"event":"step","step":1,"loss":0.5,"data":"waves","patch":"8x8","lr":0.001,"seconds":0.1,"waited":0.0}

{"event":"read","step":1,"data":"waves","traffic":{"requests":3,"bytes":9,"retries":0,"hits":1,"misses":2,"peak":9,"waited":0.1}}
{"event":"step","step":2,"lo"#;

    #[tokio::test]
    async fn old_lines_are_rows() {
        let place = Location::parse("memory:///run/log.jsonl").unwrap();
        assert_eq!(rows(&place).await.unwrap(), (Vec::new(), 0));
        place.put(TEXT).await.unwrap();
        let (rows, damaged) = rows(&place).await.unwrap();
        let told: Vec<_> = rows.iter().map(|row| (&*row.event, row.step)).collect();
        assert_eq!(told, [("start", 0), ("step", 1), ("read", 1)]);
        assert_eq!((rows[1].loss, rows[2].requests), (Some(0.5), Some(3)));
        assert_eq!(damaged, 1);
    }
}
