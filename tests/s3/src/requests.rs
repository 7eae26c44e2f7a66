//! Answers requests as S3 does, or as Google's Cloud Storage where that differs.

use bytes::Bytes;
use percent_encoding::percent_decode_str;

use crate::http::{Answer, Request};
use crate::objects::{self, Condition, Object, Objects, Refusal};

/// The time that every object was written at.
const WRITTEN: &str = "Thu, 01 Jan 2026 00:00:00 GMT";
const LISTED: &str = "2026-01-01T00:00:00.000Z";

/// Objects in one page of a list: few, so that clients must ask for the next.
const PAGE: usize = 100;

pub(crate) fn answer(request: &Request, objects: &Objects) -> Answer {
    let upload = request.query("uploadId");
    match (request.method.as_str(), upload) {
        ("GET", _) if request.query("list-type").is_some() => list(request, objects),
        ("GET", _) => get(request, objects),
        ("HEAD", _) => {
            let mut answer = get(request, objects);
            answer.head = true;
            answer
        }
        ("PUT", Some(upload)) => {
            let part = request
                .query("partNumber")
                .and_then(|part| part.parse().ok());
            match part {
                Some(part) => written(objects.part(upload, part, request.body.clone())),
                None => Answer::error(400, "InvalidPart"),
            }
        }
        ("PUT", None) => put(request, objects),
        ("POST", Some(upload)) => {
            let done = objects.complete(&request.path, upload, &condition(request));
            let result = |tag| {
                format!(
                    "<CompleteMultipartUploadResult><ETag>{}</ETag></CompleteMultipartUploadResult>",
                    escaped(tag)
                )
            };
            match done {
                Ok(tag) => named(Answer::new(200, result(&tag)), &tag),
                refused => written(refused),
            }
        }
        ("POST", None) if request.query("uploads").is_some() => Answer::new(
            200,
            format!(
                "<InitiateMultipartUploadResult><UploadId>{}</UploadId></InitiateMultipartUploadResult>",
                objects.begin()
            ),
        ),
        ("POST", None) if request.query("delete").is_some() => delete_all(request, objects),
        ("DELETE", Some(upload)) => {
            objects.abort(upload);
            Answer::new(204, "")
        }
        ("DELETE", None) => {
            let found = objects.delete(&request.path);
            // To S3 it is all the same; to Google it is not.
            match found || request.header("x-amz-date").is_some() {
                true => Answer::new(204, ""),
                false => Answer::error(404, "NoSuchKey"),
            }
        }
        _ => Answer::error(405, "MethodNotAllowed"),
    }
}

fn get(request: &Request, objects: &Objects) -> Answer {
    match objects.get(&request.path) {
        Some(found) => object(request, found.bytes, &found.etag),
        None => Answer::error(404, "NoSuchKey"),
    }
}

/// An object, or what of it was asked for under which conditions.
pub(crate) fn object(request: &Request, bytes: Bytes, etag: &str) -> Answer {
    let is = |tag: &str| tag == "*" || tag.split(", ").any(|tag| tag == etag);
    if request.header("if-match").is_some_and(|tag| !is(tag)) {
        return Answer::error(412, "PreconditionFailed");
    }
    if request.header("if-none-match").is_some_and(is) {
        return Answer::new(304, "").with("etag", etag);
    }
    let size = bytes.len();
    let answer = match request.header("range").map(|range| range_of(range, size)) {
        None => Answer::new(200, bytes),
        Some(None) => return Answer::error(416, "InvalidRange"),
        Some(Some((start, end))) => Answer::new(206, bytes.slice(start..end))
            .with("content-range", format!("bytes {start}-{}/{size}", end - 1)),
    };
    named(answer, etag)
        .with("last-modified", WRITTEN)
        .with("accept-ranges", "bytes")
}

/// First byte and one past the last of `bytes=a-b`, `bytes=a-` or `bytes=-n`.
fn range_of(header: &str, size: usize) -> Option<(usize, usize)> {
    let (start, end) = header.strip_prefix("bytes=")?.split_once('-')?;
    let (start, end) = match (start.parse::<usize>(), end.parse::<usize>()) {
        (Ok(start), Ok(last)) => (start, last.saturating_add(1).min(size)),
        (Ok(start), Err(_)) if end.is_empty() => (start, size),
        (Err(_), Ok(count)) if start.is_empty() => (size.saturating_sub(count), size),
        _ => return None,
    };
    (start < end).then_some((start, end))
}

fn put(request: &Request, objects: &Objects) -> Answer {
    let source = request.header("x-amz-copy-source");
    let Some(source) = source.or(request.header("x-goog-copy-source")) else {
        let done = objects.put(&request.path, request.body.clone(), &condition(request));
        return written(done);
    };
    let source = percent_decode_str(source).decode_utf8_lossy();
    let source = format!("/{}", source.trim_start_matches('/'));
    let Some(object) = objects.get(&source) else {
        return Answer::error(404, "NoSuchKey");
    };
    match objects.put(&request.path, object.bytes, &condition(request)) {
        Ok(tag) => Answer::new(
            200,
            format!(
                "<CopyObjectResult><ETag>{}</ETag></CopyObjectResult>",
                escaped(&tag)
            ),
        ),
        refused => written(refused),
    }
}

fn condition(request: &Request) -> Condition {
    if let Some(generation) = request.header("x-goog-if-generation-match") {
        return match generation.parse().unwrap_or(0) {
            0 => Condition::Absent,
            other => Condition::Is(objects::tag(other)),
        };
    }
    match (request.header("if-none-match"), request.header("if-match")) {
        (Some(_), _) => Condition::Absent,
        (None, Some(tag)) => Condition::Is(tag.to_owned()),
        (None, None) => Condition::Always,
    }
}

fn written(done: Result<String, Refusal>) -> Answer {
    match done {
        Ok(tag) => named(Answer::new(200, ""), &tag),
        Err(Refusal::Condition) => Answer::error(412, "PreconditionFailed"),
        Err(Refusal::NoUpload) => Answer::error(404, "NoSuchUpload"),
    }
}

/// Says which version of an object an answer is about.
fn named(answer: Answer, tag: &str) -> Answer {
    let generation = objects::generation(tag).to_string();
    answer
        .with("etag", tag)
        .with("x-goog-generation", generation)
}

fn list(request: &Request, objects: &Objects) -> Answer {
    let bucket = format!("/{}/", request.path.trim_matches('/'));
    let prefix = format!("{bucket}{}", request.query("prefix").unwrap_or(""));
    let after = request
        .query("continuation-token")
        .or(request.query("start-after"));
    let after = after.map_or(String::new(), |after| format!("{bucket}{after}"));
    let page = request.query("max-keys").and_then(|keys| keys.parse().ok());
    let page = page.map_or(PAGE, |keys: usize| keys.min(PAGE));

    let found = objects.list(&prefix, &after);
    let truncated = found.len() > page;
    let (mut entries, mut folders, mut last) = (String::new(), Vec::new(), "");
    for (path, object) in found.iter().take(page) {
        last = &path[bucket.len()..];
        let below = &path[prefix.len()..];
        let delimiter = request.query("delimiter").filter(|text| !text.is_empty());
        match delimiter.and_then(|delimiter| below.find(delimiter)) {
            Some(end) => folders.push(&path[bucket.len()..=prefix.len() + end]),
            None => entries += &entry(last, object),
        }
    }
    folders.dedup();
    let folders = folders.iter().map(|folder| {
        let folder = escaped(folder);
        format!("<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>")
    });
    let next = match truncated {
        true => format!(
            "<NextContinuationToken>{}</NextContinuationToken>",
            escaped(last)
        ),
        false => String::new(),
    };
    let folders: String = folders.collect();
    Answer::new(
        200,
        format!(
            "<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{next}{entries}{folders}</ListBucketResult>"
        ),
    )
}

fn entry(key: &str, object: &Object) -> String {
    format!(
        "<Contents><Key>{}</Key><Size>{}</Size><LastModified>{LISTED}</LastModified><ETag>{}</ETag></Contents>",
        escaped(key),
        object.bytes.len(),
        escaped(&object.etag)
    )
}

fn delete_all(request: &Request, objects: &Objects) -> Answer {
    let text = String::from_utf8_lossy(&request.body);
    let bucket = request.path.trim_matches('/');
    let mut deleted = String::new();
    for key in text
        .split("<Key>")
        .skip(1)
        .filter_map(|rest| rest.split("</Key>").next())
    {
        let key = key.replace("&lt;", "<").replace("&gt;", ">");
        let key = key
            .replace("&quot;", "\"")
            .replace("&apos;", "'")
            .replace("&amp;", "&");
        objects.delete(&format!("/{bucket}/{key}"));
        deleted += &format!("<Deleted><Key>{}</Key></Deleted>", escaped(&key));
    }
    Answer::new(
        200,
        Bytes::from(format!("<DeleteResult>{deleted}</DeleteResult>")),
    )
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}
